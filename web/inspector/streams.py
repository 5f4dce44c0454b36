"""/api/admin/streams: the histories that the log is made of, and what they add up to."""

from typing import Any

import trio
from quart import Blueprint, Response, jsonify, request
from quart_schema import document_response, tag_blueprint

from domain.errors import Invalid, NotFound
from eventlog.envelope import StoredRecord
from eventlog.filter import Filter
from projections.stream_state import changes, state_after
from web.context import admin_origin, services
from web.inspector.events import EventInfo
from web.inspector.query import limit, number, shown, wanted, with_email
from web.schemas import Answer

blueprint = Blueprint("streams", __name__, url_prefix="/api/admin/streams")
tag_blueprint(blueprint, ["inspector"])


class StreamInfo(Answer):
    """A stream: how many events it has, where and when the newest one is, and whom it is about."""

    stream: str
    version: int
    position: int
    changed_at: int
    owner: str
    owner_email: str


class StreamList(Answer):
    """Streams in the order that was asked for."""

    streams: list[StreamInfo]
    more: bool


class DatedStream(StreamInfo):
    """A stream and when it began."""

    created_at: int


class Change(Answer):
    """What is different at a path of the state; null for what is not there."""

    path: str
    before: Any
    after: Any


class StreamState(Answer):
    """The state at a version, the one before, and what is different."""

    stream: str
    version: int
    event: EventInfo
    state: dict[str, Any]
    previous: dict[str, Any] | None
    changes: list[Change]


@blueprint.get("")
@document_response(StreamList)
async def streams() -> Response:
    """List streams: those that changed last, or those with the most changes; by `prefix` and by `user`."""
    admin_origin()
    order = request.args.get("order", "newest")
    if order not in {"newest", "changes"}:
        raise Invalid("`order` must be `newest` or `changes`.", code="bad_query")
    most = limit()
    reader = services().log.reader
    if order == "changes":
        prefix, user = request.args.get("prefix", ""), request.args.get("user", "")
        found = await trio.to_thread.run_sync(reader.longest, prefix, user, most + 1)
    else:
        found = await trio.to_thread.run_sync(reader.heads, wanted(), most + 1)
    return jsonify({"streams": [_shown(r) for r in found[:most]], "more": len(found) > most})


@blueprint.get("/<path:stream>/state")
@document_response(StreamState)
async def state(stream: str) -> Response:
    """Show what a stream adds up to at a `version` (the newest unless given), beside the version before."""
    admin_origin()
    records = await services().log.read_stream(stream)
    if not records:
        raise NotFound("There is no such stream.")
    version = number("version", records[-1].version, least=1) or 1
    if version > records[-1].version:
        raise Invalid(f"The stream has {records[-1].version} versions.", code="bad_query")
    until = [r for r in records if r.version <= version]
    now = await trio.to_thread.run_sync(state_after, until)
    previous = await trio.to_thread.run_sync(state_after, until[:-1]) if len(until) > 1 else None
    return jsonify(
        {
            "stream": stream,
            "version": version,
            "event": shown(services(), until[-1]),
            "state": now,
            "previous": previous,
            "changes": list(changes(previous or {}, now)),
        }
    )


@blueprint.get("/<path:stream>")
@document_response(DatedStream)
async def stream(stream: str) -> Response:
    """Describe one stream; its events are those of /api/admin/events?stream=..."""
    admin_origin()
    reader = services().log.reader
    newest = await trio.to_thread.run_sync(reader.stored, Filter(stream=stream, newest_first=True), 1)
    oldest = await trio.to_thread.run_sync(reader.stored, Filter(stream=stream), 1)
    if not newest:
        raise NotFound("There is no such stream.")
    return jsonify({**_shown(newest[0]), "created_at": oldest[0].at // 1_000_000})


def _shown(head: StoredRecord) -> dict[str, Any]:
    return with_email(
        services(),
        {
            "stream": head.originator_id,
            "version": head.originator_version,
            "position": head.position,
            "changed_at": head.at // 1_000_000,
            "owner": head.owner,
        },
    )
