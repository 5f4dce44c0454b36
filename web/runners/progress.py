"""The stream of a cold start."""

from dataclasses import asdict

from projections.agents import Agent
from supervisors.runners.progress import SNAPSHOT, Progress
from web.services import SHUTDOWN, Services
from web.sse import frame


class ProgressSource:
    """First a snapshot (100 % when the runner runs, else 0), then every report, until the start is over."""

    def __init__(self, services: Services, agent: Agent) -> None:
        self.watch = services.signals.watch(agent.id, SHUTDOWN)
        self.over = False
        self._board = services.pool.supervise(agent).board
        self._shown: Progress | None = None

    async def take(self) -> bytes:
        """Return the newest report if it was not shown yet."""
        now, first = self._board.current, self._shown is None
        if now == self._shown:
            return b""
        self._shown = now
        if first:
            running = now.stage == "ready"
            message = now.message if running else "Not running"
            snapshot = frame(asdict(Progress(SNAPSHOT, 100 if running else 0, message)))
            # A start that is under way is shown at once; one that has ended is not this client's.
            return snapshot if now.final or now.stage == SNAPSHOT else snapshot + frame(asdict(now))
        if now.stage == SNAPSHOT:
            return b""
        self.over = now.final
        return frame(asdict(now))
