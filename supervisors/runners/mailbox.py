"""What a supervisor is told."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import trio

from domain.errors import DomainError
from domain.runners.events import StopReason
from domain.runners.machine import Input
from eventlog.envelope import Origin
from supervisors.runners.run import Run


@dataclass(slots=True, eq=False)
class Wish:
    """Somebody waits for the runner to be ready, and gets a lease or an error."""

    origin: Origin
    answered: trio.Event = field(default_factory=trio.Event)
    run: Run | None = None
    error: Exception | None = None
    withdrawn: bool = False
    """Whoever waited has gone: it gets no lease."""


@dataclass(frozen=True, slots=True)
class StopWish:
    """Somebody wants the runner stopped."""

    reason: StopReason
    origin: Origin


@dataclass(frozen=True, slots=True)
class Renewal:
    """The runner was made with values that have changed: it is to be stopped once nobody uses it, or at once.

    Who waits meanwhile gets a fresh one.
    """

    run: Run
    at_once: bool


@dataclass(frozen=True, slots=True)
class Happened:
    """A child task reports."""

    input: Input
    run: Run
    error: DomainError | None = None


@dataclass(frozen=True, slots=True)
class Nudge:
    """The idle time changed: look again."""


Message = Wish | StopWish | Renewal | Happened | Nudge


def drained(channel: trio.MemoryReceiveChannel[Message]) -> Iterator[Message]:
    """Yield what is in the mailbox now."""
    with suppress(trio.WouldBlock, trio.EndOfChannel):
        while True:
            yield channel.receive_nowait()
