"""Pinning a runner for as long as it is used."""

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from domain.errors import EngineFailed
from eventlog.envelope import Origin
from supervisors.runners.run import Run

if TYPE_CHECKING:
    from supervisors.runners.supervisor import RunnerSupervisor

SILENCE_SECONDS = 600.0
"""How long an agent may send nothing."""
SILENT = f"The agent said nothing for {SILENCE_SECONDS / 60:.0f} minutes"


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


async def ask_runner(
    supervisor: "RunnerSupervisor",
    origin: Origin,
    ask: Callable[[Run], Awaitable[None]],
    *,
    refused: type[Exception],
    broken: type[Exception] | tuple[type[Exception], ...],
) -> None:
    """Call `ask` with a leased runner, and once more with a fresh one when the first had just died.

    `refused` and `broken` are what the HTTP client in use raises for a connection that was not made, or that broke.
    Raises EngineFailed in their place; when a connection broke, only after there was time to hear of a death.
    """
    for attempt in (1, 2):
        async with supervisor.lease(origin) as lease:
            try:
                await ask(lease.run)
            except refused as error:
                # It died a moment ago and nobody was told yet: with the notice, a fresh one is started.
                if attempt == 2 or not await lease.run.dies_soon():
                    text = f"The agent does not take connections: {error}."
                    raise EngineFailed(text, code="agent_unreachable") from None
            except broken as error:
                raise EngineFailed(await lease.run.why_broken(error), code="answer_broken") from None
            else:
                return
