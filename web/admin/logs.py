"""/api/admin/runners/{id}/logs: what an agent has printed, as server-sent events."""

import trio
from quart import Blueprint, Response, request
from quart_schema import tag_blueprint

from domain.errors import NotFound
from supervisors.engines.protocol import Engine, EngineError
from supervisors.runners.failure import printed
from supervisors.runners.run import Run
from web.context import admin_origin, services
from web.inspector.query import number
from web.services import SHUTDOWN, Services
from web.sse import event_stream, frame

blueprint = Blueprint("runner_logs", __name__, url_prefix="/api/admin/runners")
tag_blueprint(blueprint, ["admin"])

_USUAL, _MOST = 200, 5000
_POLL_SECONDS = 1.0


@blueprint.get("/<runner_id>/logs")
async def logs(runner_id: str) -> Response:
    """Return the last `tail` lines of a runner that is up; with `follow=true`, go on with what it prints."""
    admin_origin()
    supervisor = next((s for s in services().pool.all() if s.run_now and s.run_now.runner_id == runner_id), None)
    if supervisor is None or supervisor.run_now is None:
        raise NotFound("No runner with this id is up. GET /api/admin/runners lists those that are.")
    tail = number("tail", _USUAL, least=1, most=_MOST) or _USUAL
    follow = request.args.get("follow", "").lower() in {"1", "true", "yes"}
    source = RunnerLog(services(), supervisor.engine, supervisor.run_now, tail, follow=follow)
    return event_stream(source, services().lifecycle)


class RunnerLog:
    """The lines of one runner, secrets blotted out. Engines do not tell of new ones, so it asks again and again."""

    def __init__(self, services: Services, engine: Engine, run: Run, tail: int, *, follow: bool) -> None:
        self.watch = services.signals.watch(SHUTDOWN)
        self.over = False
        self._engine = engine
        self._run = run
        self._tail = tail
        self._follow = follow
        self._shown: list[str] = []
        self._first = True

    async def take(self) -> bytes:
        """Return the lines that are new."""
        if self.over:
            return b""
        if not self._first:
            await trio.sleep(_POLL_SECONDS)
        try:
            text = await printed(self._engine, self._run, self._tail)
        except EngineError as error:
            self.over = True
            return frame({"kind": "error", "payload": {"message": str(error)}})
        lines = text.splitlines()
        new, self._shown = lines[_overlap(self._shown, lines) :], lines
        news = frame({"kind": "lines", "payload": {"lines": new}}) if new or self._first else b""
        self._first = False
        gone = self._run.exited.is_set() or self._run.closed.is_set()
        if gone or not self._follow:
            self.over = True
            news += frame({"kind": "end", "payload": {"running": not gone}})
        else:
            self.watch.wake()
        return news


def _overlap(before: list[str], now: list[str]) -> int:
    """Return how many lines at the beginning of `now` are the end of what was shown."""
    for length in range(min(len(before), len(now)), 0, -1):
        if before[-length:] == now[:length]:
            return length
    return 0
