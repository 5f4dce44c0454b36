"""/api/admin/projections, /audit and /disk: whether the log and what is made of it are well."""

import math
from dataclasses import asdict
from typing import Any

import trio
from quart import Blueprint, Response, jsonify, request
from quart_schema import document_response, tag_blueprint

from eventlog.errors import BrokenChainError
from web.context import admin_origin, services
from web.schemas import Answer
from web.services import SHUTDOWN, Services
from web.sse import event_stream, frame

blueprint = Blueprint("health", __name__, url_prefix="/api/admin")
tag_blueprint(blueprint, ["inspector"])


class RebuildInfo(Answer):
    """How far a rebuild is, in events."""

    done: int
    total: int


class ProjectionInfo(Answer):
    """A read model: where it is, how far its saved copy lags behind the log, and how many rows it has."""

    name: str
    version: int
    position: int
    saved_position: int
    lag: int
    rows: int
    events_per_second: float
    error: str
    rebuilding: RebuildInfo | None


class ProjectionList(Answer):
    """Every read model, and the newest position of the log."""

    head: int
    projections: list[ProjectionInfo]


class Rebuilding(Answer):
    """It has begun."""

    rebuilding: bool = True


class ChainHead(Answer):
    """The newest commit, and a signed checkpoint of it to keep elsewhere, with the key that it is signed with."""

    position: int
    hash: str
    at: int
    checkpoint: str
    key: str


class Verified(Answer):
    """Whether the chain holds; else the first bad position and what is wrong there."""

    ok: bool
    events: int
    position: int | None
    problem: str


class DiskKind(Answer):
    """Files of one kind in the data folder."""

    kind: str
    bytes: int
    files: int


class TypeSize(Answer):
    """What the events of one type take."""

    type: str
    count: int
    bytes: int


class Disk(Answer):
    """What lies in the data folder, and how much room there is beside it."""

    total: int
    free: int
    kinds: list[DiskKind]
    events: list[TypeSize]


@blueprint.get("/projections")
@document_response(ProjectionList)
async def projections() -> Response:
    """Show how the read models are."""
    admin_origin()
    views, log, rebuilder = services().views, services().log, services().rebuilder
    found = []
    for projection in views.all:
        running = rebuilder.running.get(projection.name)
        saved = min(projection.position, views.saved_position)
        found.append(
            {
                "name": projection.name,
                "version": projection.version,
                "position": projection.position,
                "saved_position": saved,
                "lag": log.position - saved,
                "rows": sum(map(len, projection.tables)),
                "events_per_second": round(rebuilder.speeds.get(projection.name, 0.0)),
                "error": rebuilder.errors.get(projection.name, "") or projection.remark,
                "rebuilding": asdict(running) if running else None,
            }
        )
    return jsonify({"head": log.position, "projections": found})


@blueprint.post("/projections/<name>/rebuild")
@document_response(Rebuilding, 202)
async def rebuild(name: str) -> tuple[Response, int]:
    """Make a read model anew from the log, while it is in use."""
    admin_origin()
    services().rebuilder.start(name)
    return jsonify({"rebuilding": True}), 202


@blueprint.get("/audit/head")
@document_response(ChainHead)
async def head() -> Response:
    """Return how the chain ends, as a signed checkpoint."""
    admin_origin()
    newest = await trio.to_thread.run_sync(services().log.reader.head)
    signer = services().signer
    about = {"position": newest.position, "hash": newest.hash.hex(), "at": newest.at // 1_000_000}
    return jsonify({**about, "checkpoint": signer.note(newest), "key": signer.verifier_key})


@blueprint.get("/audit/verify")
@document_response(Verified)
async def verify() -> Response:
    """Check the whole hash chain; with `Accept: text/event-stream`, progress comes as server-sent events."""
    admin_origin()
    if "text/event-stream" in request.headers.get("Accept", ""):
        return event_stream(Verification(services()), services().lifecycle)
    return jsonify(await trio.to_thread.run_sync(_verified, services(), abandon_on_cancel=True))


@blueprint.get("/disk")
@document_response(Disk)
async def disk() -> Response:
    """Tell what takes how much room."""
    admin_origin()
    found = await trio.to_thread.run_sync(services().disk.measure)
    sizes = await trio.to_thread.run_sync(services().log.reader.sizes)
    events = [{"type": type_, "count": count, "bytes": size} for type_, count, size in sizes]
    return jsonify({**asdict(found), "events": events})


_STEPS = 50
"""Into how many parts a verification is cut: each tells how far it is, and ends with the client."""


class Verification:
    """A walk along the chain, as a stream. It begins when somebody reads, and goes on in steps as they do."""

    def __init__(self, services: Services) -> None:
        self.watch = services.signals.watch(SHUTDOWN)
        self.over = False
        self._services = services
        self._done = 0
        self._total = services.log.position

    async def take(self) -> bytes:
        """Check the next part and tell how far it is, or what came of it."""
        if self.over:
            return b""
        reader, step = self._services.log.reader, max(1, math.ceil(self._total / _STEPS))
        until = min(self._done + step, self._total)
        try:
            self._done = await trio.to_thread.run_sync(
                reader.verify_part, self._done, until, abandon_on_cancel=True
            )
            if self._done < until:
                raise BrokenChainError(self._done + 1, "the newest events were removed")
        except BrokenChainError as error:
            return self._result(ok=False, position=error.position, problem=str(error))
        if self._done >= self._total:
            return self._result(ok=True, position=None, problem="")
        self.watch.wake()
        payload = {"done": self._done, "total": self._total}
        return frame({"kind": "progress", "payload": payload})

    def _result(self, **told: Any) -> bytes:
        self.over = True
        return frame({"kind": "result", "payload": {"events": self._done, **told}})


def _verified(services: Services) -> dict[str, Any]:
    try:
        count = services.log.reader.verify()
    except BrokenChainError as error:
        return {"ok": False, "events": 0, "position": error.position, "problem": str(error)}
    return {"ok": True, "events": count, "position": None, "problem": ""}
