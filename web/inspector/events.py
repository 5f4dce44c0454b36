"""/api/admin/events: finding, following and taking events along."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Self

import orjson
import trio
from quart import Blueprint, Response, jsonify, request
from quart_schema import document_response, tag_blueprint

from domain.errors import Invalid, NotFound
from eventlog.envelope import Recorded
from eventlog.filter import Filter
from eventlog.reader import EXPORT_BATCH
from web.context import admin_origin, services, still_good
from web.inspector.query import limit, number, shown, wanted, with_email
from web.schemas import Answer
from web.services import COMMITS, SHUTDOWN, Services
from web.sse import event_stream, frame

blueprint = Blueprint("events", __name__, url_prefix="/api/admin/events")
tag_blueprint(blueprint, ["inspector"])

_MOST_RELATED = 200
_PAGE_BYTES = 2 << 20
"""Of the payloads on one page of events."""
_DAY = 86400
_MOST_BUCKETS = 500


class EventInfo(Answer):
    """An event with its envelope. Secrets are masked; `erased` tells that private parts cannot be read any more.

    `problem` says why the event, or a part of it, cannot be read; "" when all of it was.
    """

    position: int
    stream: str
    version: int
    type: str
    time: int
    time_us: int
    actor: str
    correlation: str
    causation: int | None
    owner: str
    owner_email: str
    payload: dict[str, Any]
    erased: bool
    problem: str


class EventList(Answer):
    """Events in the order that was asked for; `more` tells whether there are others beyond."""

    events: list[EventInfo]
    head: int
    more: bool


class CommitInfo(Answer):
    """The commit that wrote an event: its first and last position, its time and its place in the hash chain."""

    first: int
    last: int
    at: int
    hash: str


class OneEvent(Answer):
    """An event, its commit, the events of the same request or job, and those that it brought about itself."""

    event: EventInfo
    commit: CommitInfo | None
    related: list[EventInfo]
    effects: list[EventInfo]


class TypeList(Answer):
    """The types of which there are events."""

    types: list[str]


class Bucket(Answer):
    """How many events of each type came in one span of time, which begins at `at`."""

    at: int
    counts: dict[str, int]


class Timeline(Answer):
    """Spans of `seconds` in which there are events."""

    since: int
    until: int
    seconds: int
    buckets: list[Bucket]


@blueprint.get("")
@document_response(EventList)
async def events() -> Response:
    """Find events: by stream, type, user, correlation, time or position."""
    admin_origin()
    order = request.args.get("order", "newest")
    if order not in {"newest", "oldest"}:
        raise Invalid("`order` must be `newest` or `oldest`.", code="bad_query")
    most = limit()
    reader = services().log.reader
    chosen = wanted(newest_first=order == "newest")
    found, more = await trio.to_thread.run_sync(reader.page, chosen, most, _PAGE_BYTES)
    listed = [with_email(services(), one) for one in found]
    return jsonify({"events": listed, "head": services().log.position, "more": more})


@blueprint.get("/types")
@document_response(TypeList)
async def types() -> Response:
    """List the types of events that there are."""
    admin_origin()
    return jsonify({"types": await trio.to_thread.run_sync(services().log.reader.types)})


@blueprint.get("/<int:position>")
@document_response(OneEvent)
async def event(position: int) -> Response:
    """Show one event in full, with what belongs to it."""
    admin_origin()
    log = services().log
    found = await log.read(Filter(after=position - 1, until=position)) if 0 < position <= log.position else []
    if not found:
        raise NotFound(f"There is no event at position {position}.")
    commit = await trio.to_thread.run_sync(log.reader.commit_of, position)
    correlation = found[0].origin.correlation
    most = (_MOST_RELATED, _PAGE_BYTES)
    related = await log.read(Filter(correlation=correlation), *most) if correlation else found
    effects = await log.read(Filter(after=position, correlation=correlation, causation=position), *most)
    about = None
    if commit:
        about = {
            "first": commit.first,
            "last": commit.last,
            "at": commit.at // 1_000_000,
            "hash": commit.hash.hex(),
        }
    return jsonify(
        {
            "event": shown(services(), found[0]),
            "commit": about,
            "related": [shown(services(), r) for r in related],
            "effects": [shown(services(), r) for r in effects],
        }
    )


@blueprint.get("/timeline")
@document_response(Timeline)
async def timeline() -> Response:
    """Count events by type over time: in the last day, unless `since` and `until` say otherwise."""
    admin_origin()
    now = int(time.time())
    until = number("until", now + 1) or now + 1
    since = number("since", until - _DAY) or 0
    buckets = number("buckets", 60, least=1, most=_MOST_BUCKETS) or 60
    if since >= until:
        raise Invalid("`since` must be before `until`.", code="bad_query")
    seconds = max(1, -(-(until - since) // buckets))
    spans: dict[int, dict[str, int]] = {}
    chosen = replace(wanted(), since_us=since * 1_000_000, until_us=until * 1_000_000)
    for at, type_, count in await trio.to_thread.run_sync(services().log.reader.counts, chosen, seconds):
        spans.setdefault(at, {})[type_] = count
    found = [{"at": at, "counts": counts} for at, counts in spans.items()]
    return jsonify({"since": since, "until": until, "seconds": seconds, "buckets": found})


@blueprint.get("/live")
async def live() -> Response:
    """Follow the log as server-sent events, from now or from the header Last-Event-ID on."""
    admin_origin()
    last = request.headers.get("Last-Event-ID", "")
    after = int(last) if last.isdecimal() and len(last) < 18 else services().log.position
    return event_stream(LiveEvents(services(), wanted(), min(after, services().log.position)), services().lifecycle)


@blueprint.get("/export")
async def export() -> Response:
    """Return the events that fit as a file, one JSON object a line, oldest first."""
    admin_origin()
    headers = {"Content-Disposition": 'attachment; filename="events.ndjson"', "Cache-Control": "no-store"}
    body = ExportedEvents(services(), wanted(newest_first=False), still_good())
    return Response(body, content_type="application/x-ndjson", headers=headers)


class LiveEvents:
    """New events that fit a filter."""

    def __init__(self, services: Services, filter_: Filter, after: int) -> None:
        self.watch = services.signals.watch(COMMITS, SHUTDOWN)
        self._services = services
        self._filter = filter_
        self._events = services.log.subscribe(after)
        self._greeted = False
        self.over = False

    async def take(self) -> bytes:
        """Return the frames of what is new."""
        news = b""
        if not self._greeted:
            self._greeted = True
            hello = {"kind": "hello", "payload": {"head": self._services.log.position}}
            news = frame(hello, str(self._events.position))
        found = await self._events.take()
        if self._events.position < self._services.log.position:
            self.watch.wake()  # There is more.
        for record in found:
            if fits(self._filter, record):
                news += frame({"kind": "event", "payload": shown(self._services, record)}, str(record.position))
        return news


class ExportedEvents:
    """A file of events, in batches: it may be larger than memory."""

    def __init__(self, services: Services, filter_: Filter, still_good: Callable[[], bool]) -> None:
        self._services = services
        self._filter = filter_
        self._last = services.log.position if filter_.until is None else filter_.until
        self._still_good = still_good

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._filter.after >= self._last or not self._still_good():
            raise StopAsyncIteration
        after, data = await trio.to_thread.run_sync(self._batch)
        if not data:
            raise StopAsyncIteration
        self._filter = replace(self._filter, after=after)
        return data

    def _batch(self) -> tuple[int, bytes]:
        reader = self._services.log.reader
        found = reader.stored(replace(self._filter, until=self._last), EXPORT_BATCH)
        is_marked = self._services.views.unreadable.is_marked
        lines = [orjson.dumps(with_email(self._services, one)) for one in reader.exported(found, is_marked)]
        return (found[-1].position, b"\n".join(lines) + b"\n") if found else (0, b"")


def fits(filter_: Filter, record: Recorded[Any]) -> bool:
    """Tell whether an event fits what a filter says of streams, types, users and correlations."""
    user = filter_.user
    return (
        (filter_.stream is None or record.stream == filter_.stream)
        and (filter_.stream_prefix is None or record.stream.startswith(filter_.stream_prefix))
        and (not filter_.types or record.type in filter_.types)
        and (user is None or record.owner == user or record.origin.actor == f"user:{user}")
        and (filter_.correlation is None or record.origin.correlation == filter_.correlation)
    )
