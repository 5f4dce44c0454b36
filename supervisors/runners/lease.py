"""Pinning a runner for as long as it is used."""

from types import TracebackType
from typing import TYPE_CHECKING, Self

from eventlog.envelope import Origin
from supervisors.runners.run import Run

if TYPE_CHECKING:
    from supervisors.runners.supervisor import RunnerSupervisor


class Lease:
    """Pins a ready runner: while it is held, the runner is not stopped for idling.

    Use as an async context manager. It holds `run`: the endpoint, the key and the sessions of this start.
    """

    def __init__(self, supervisor: "RunnerSupervisor", origin: Origin) -> None:
        self._supervisor = supervisor
        self._origin = origin
        self.run: Run

    async def __aenter__(self) -> Self:
        self.run = await self._supervisor.acquire(self._origin)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._supervisor.release()
