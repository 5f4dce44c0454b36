"""Loading a stream's state, deciding, appending: the loop that every command goes through."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import structlog
import trio

from eventlog.envelope import Origin, Recorded, StreamAppend
from eventlog.errors import StreamConflictError
from eventlog.log import EventLog

S = TypeVar("S")
_ATTEMPTS = 5

_logger = structlog.get_logger("eventlog.repository")


@dataclass(frozen=True, slots=True)
class Versioned(Generic[S]):
    """A state and the version of its stream."""

    state: S
    version: int


class Repository(Generic[S]):
    """States of the streams `<kind>:<id>`, folded from their events and kept in a bounded cache.

    The cache follows the log's commits, so it is right whoever appended. Commands on one stream go one
    after the other; if another writer still came first, the decision is taken again on the newer state.
    """

    def __init__(
        self,
        log: EventLog,
        kind: str,
        initial: S,
        evolve: Callable[[S, Any, float], S],
        *,
        keep: int = 512,
    ) -> None:
        self._log = log
        self._kind = kind
        self._initial = initial
        self._evolve = evolve
        self._keep = keep
        self._cache: OrderedDict[str, Versioned[S]] = OrderedDict()
        self._locks: dict[str, trio.Lock] = {}
        log.listen(self._follow)

    async def load(self, id_: str) -> Versioned[S]:
        """Return the state of one stream: the initial one, at version 0, when it has no events."""
        stream = f"{self._kind}:{id_}"
        while True:
            cached = self._cache.get(stream)
            if cached:
                self._cache.move_to_end(stream)
                return cached
            before = self._log.position
            state, version = self._initial, 0
            for record in await self._log.read_stream(stream):
                state, version = self._evolved(state, record), record.version
            # A commit during the read may be missing from what was read: then read again.
            missed = self._log.recent(before, stream)
            if missed is not None and all(r.version <= version for r in missed):
                self._remember(stream, Versioned(state, version))
                return Versioned(state, version)

    async def execute(
        self, id_: str, decide: Callable[[S], Sequence[Any]], origin: Origin, *, owner: str = ""
    ) -> list[Recorded[Any]]:
        """Append what `decide` makes of the current state, and return it as recorded ([] for no change).

        `decide` is pure: it may be called more than once. What it raises is passed on. `owner` is whose key
        encrypts what is private in the events.
        """
        stream = f"{self._kind}:{id_}"
        lock = self._locks.setdefault(stream, trio.Lock())
        try:
            async with lock:
                for attempt in range(_ATTEMPTS):
                    current = await self.load(id_)
                    events = decide(current.state)
                    if not events:
                        return []
                    try:
                        append = StreamAppend(stream, current.version, events, owner)
                        return await self._log.append(append, origin=origin)
                    except StreamConflictError:
                        self._cache.pop(stream, None)
                        if attempt == _ATTEMPTS - 1:
                            raise
        finally:
            if not lock.statistics().tasks_waiting and not lock.locked():
                self._locks.pop(stream, None)
        raise AssertionError("unreachable")

    def _follow(self, records: Sequence[Recorded[Any]]) -> None:
        for record in records:
            cached = self._cache.get(record.stream)
            if cached is None:
                continue
            if record.version == cached.version + 1:
                state = self._evolved(cached.state, record)
                self._cache[record.stream] = Versioned(state, record.version)
            elif record.version > cached.version:
                del self._cache[record.stream]

    def _evolved(self, state: S, record: Recorded[Any]) -> S:
        """Return the state after an event. One that does not fit changes nothing: the stream goes on without it."""
        try:
            return self._evolve(state, record.event, record.time)
        except Exception:
            _logger.exception("event_not_folded", position=record.position, stream=record.stream, type=record.type)
            return state

    def _remember(self, stream: str, found: Versioned[S]) -> None:
        self._cache[stream] = found
        if len(self._cache) > self._keep:
            self._cache.popitem(last=False)
