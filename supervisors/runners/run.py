"""One start of a runner, and what is known of it."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from domain.errors import EngineFailed
from domain.event import Event
from eventlog.envelope import Origin, StreamAppend
from eventlog.errors import StreamConflictError
from eventlog.log import EventLog
from supervisors.commands.stream_end import StreamEnds
from supervisors.engines.protocol import Endpoint, Exit, RunnerSpec

_DEATH_NOTICE_SECONDS = 2.0
"""Twice as long as an engine takes at most to tell of the end of a runner."""


@dataclass(slots=True, eq=False)
class Run:
    """From the wish for a runner to its end. `version` is that of its event stream, `owner` the agent's user."""

    runner_id: str
    origin: Origin
    key: str
    owner: str
    spec: RunnerSpec | None = None
    endpoint: Endpoint | None = None
    version: int = 0
    requested_at: float = field(default_factory=trio.current_time)
    started_at: float = field(default_factory=time.time)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    start_over: trio.Event = field(default_factory=trio.Event)
    exited: trio.Event = field(default_factory=trio.Event)
    exit: Exit | None = None
    ready_at: float = math.inf
    """When it became ready, on trio's clock."""
    closed: trio.Event = field(default_factory=trio.Event)
    """Nothing of it is left in the engine, and its end is in the log."""
    stale: bool = False
    """It was made with values that have changed since: nobody new may use it."""
    on_closed: Callable[[], None] | None = None
    sessions: set[str] = field(default_factory=set)
    """Sessions that the agent has been asked in."""

    def close(self) -> None:
        """Note that nothing is left of it."""
        if not self.closed.is_set():
            self.closed.set()
            if self.on_closed:
                self.on_closed()

    def refuse_if_over(self) -> None:
        """Raise EngineFailed when it has ended, though it is only just starting."""
        if self.exit:
            raise EngineFailed(f"The agent ended while it was starting: {self.exit}.")

    async def dies_soon(self) -> bool:
        """Wait a moment for the notice that the runner has ended; tell whether it came."""
        with trio.move_on_after(_DEATH_NOTICE_SECONDS):
            await self.exited.wait()
        return self.exited.is_set()

    async def why_broken(self, error: Exception) -> str:
        """Return what a connection to the runner that broke off means: often that it has ended, and then how.

        It waits for that notice: who hears that the agent is dead, and asks again at once, must not be given the
        same one.
        """
        if await self.dies_soon():
            return f"The agent ended in the middle of its answer: {self.exit}. Ask again to start a fresh one."
        return f"The connection to the agent broke: {error or type(error).__name__}. Ask again."

    async def record(self, log: EventLog, event: Event, origin: Origin | None = None) -> int:
        """Append to the runner's stream and return the event's position."""
        stream, by = f"runner:{self.runner_id}", origin or self.origin
        try:
            recorded = await log.append(StreamAppend(stream, self.version, [event], self.owner), origin=by)
        except StreamConflictError:  # An adopted one: the read model had missed an event of it.
            self.version = await StreamEnds(log).version(stream)
            recorded = await log.append(StreamAppend(stream, self.version, [event], self.owner), origin=by)
        self.version += 1
        return recorded[0].position
