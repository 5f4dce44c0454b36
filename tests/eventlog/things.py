"""Events, a mapper and shorthands for the tests of the log."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256

import trio

from domain.event import Event
from eventlog.codec import EventMapper
from eventlog.envelope import Origin, Recorded, StoredRecord, StreamAppend
from eventlog.log import EventLog


class Happened(Event):
    """Something with a number."""

    TOPIC = "test.happened"

    n: int = 0
    text: str = ""


class Noted(Event):
    """Something else."""

    TOPIC = "test.noted"

    text: str = ""


MAPPER = EventMapper([Happened, Noted])
ORIGIN = Origin("user:u1", "request-1", 7)


def stored(topic: str, payload: bytes) -> StoredRecord:
    """Return an event as it is stored: the second one of `thing:1`, at position 5."""
    return StoredRecord(5, "thing:1", 2, topic, payload, 1_500_000, "system", "job", None, sha256(payload).digest())


def to(stream: str, expected: int, *numbers: int) -> StreamAppend:
    """Return an append of one event for each number."""
    return StreamAppend(stream, expected, [Happened(n=n) for n in numbers])


async def append(log: EventLog, stream: str, expected: int, *numbers: int) -> list[Recorded[Happened]]:
    """Append one event for each number to one stream."""
    return await log.append(to(stream, expected, *numbers), origin=ORIGIN)


class Gate:
    """An `on_point` that can hold the writer at the start of a commit, so that requests gather behind it."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._open.set()
        self._reached = threading.Event()

    def __call__(self, point: str) -> None:
        if point == "before_begin":
            self._reached.set()
            self._open.wait()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the next commit until the block ends."""
        self._reached.clear()
        self._open.clear()
        try:
            yield
        finally:
            self._open.set()

    async def reached(self) -> None:
        """Wait until the writer stands at the gate."""
        await trio.to_thread.run_sync(self._reached.wait)
