"""Loading a stream's state, deciding, appending: the loop that every command goes through."""

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

import structlog
import trio

from eventlog.envelope import Origin, Recorded, StreamAppend
from eventlog.errors import StreamConflictError
from eventlog.filter import Filter
from eventlog.log import EventLog
from eventlog.reader import is_last_batch

S = TypeVar("S")
T_co = TypeVar("T_co", covariant=True)
_ATTEMPTS = 5
KEPT_WEIGHT = 64 << 20
"""How much the states in a cache may weigh together, unless a single one weighs more."""

_logger = structlog.get_logger("eventlog.repository")


class Folding(Protocol[T_co]):
    """A state into which many events are folded, each at a cost that does not grow with it."""

    def apply(self, event: Any, at: float) -> None:
        """Fold one event, which happened at `at` (unix seconds)."""

    def state(self) -> T_co:
        """Return the state after all of them."""


class _OneByOne(Generic[S]):
    """Folds by making one state of the other, as is good enough for small ones."""

    def __init__(self, evolve: Callable[[S, Any, float], S], initial: S) -> None:
        self._evolve = evolve
        self._state = initial

    def apply(self, event: Any, at: float) -> None:
        self._state = self._evolve(self._state, event, at)

    def state(self) -> S:
        return self._state


@dataclass(frozen=True, slots=True)
class Versioned(Generic[S]):
    """A state and the version of its stream."""

    state: S
    version: int


class Repository(Generic[S]):
    """States of the streams `<kind>:<id>`, folded from their events and kept in a bounded cache.

    The cache follows the log's commits, so it is right whoever appended. Commands on one stream go one
    after the other; if another writer still came first, the decision is taken again on the newer state.

    `folding` begins to fold from a state; without it, `evolve` makes one state of the other. `weigh` tells what a
    state takes of the cache, roughly in bytes, which keeps `keep` states and KEPT_WEIGHT at the most.
    """

    def __init__(
        self,
        log: EventLog,
        kind: str,
        initial: S,
        evolve: Callable[[S, Any, float], S],
        *,
        folding: Callable[[S], Folding[S]] | None = None,
        weigh: Callable[[S], int] = lambda _: 1,
        keep: int = 512,
    ) -> None:
        self._log = log
        self._kind = kind
        self._initial = initial
        self._folding = folding or partial(_OneByOne, evolve)
        self._weigh = weigh
        self._weight = 0
        self._keep = keep
        self._cache: OrderedDict[str, Versioned[S]] = OrderedDict()
        self._locks: dict[str, trio.Lock] = {}
        self._loading: dict[str, trio.Lock] = {}
        log.listen(self._follow)

    async def load(self, id_: str) -> Versioned[S]:
        """Return the state of one stream: the initial one, at version 0, when it has no events."""
        stream = f"{self._kind}:{id_}"
        cached = self._cached(stream)
        if cached:
            return cached
        # Who comes while it is being loaded waits, and finds it.
        async with self._alone(self._loading, stream):
            return self._cached(stream) or await self._load(stream)

    async def _load(self, stream: str) -> Versioned[S]:
        while True:
            before = self._log.position
            folding, version, position = self._folding(self._initial), 0, 0
            is_last = False
            while not is_last:
                found = await self._log.read(Filter(stream=stream, after=position))
                self._fold(folding, found)
                version, position = (found[-1].version, found[-1].position) if found else (version, position)
                is_last = is_last_batch(found)
            # A commit during the read may be missing from what was read: then read again.
            missed = self._log.recent(before, stream)
            if missed is not None and all(r.version <= version for r in missed):
                loaded = Versioned(folding.state(), version)
                self._remember(stream, loaded)
                return loaded

    async def execute(
        self, id_: str, decide: Callable[[S], Sequence[Any]], origin: Origin, *, owner: str = ""
    ) -> list[Recorded[Any]]:
        """Append what `decide` makes of the current state, and return it as recorded ([] for no change).

        `decide` is pure: it may be called more than once. What it raises is passed on. `owner` is whose key
        encrypts what is private in the events.
        """
        stream = f"{self._kind}:{id_}"
        async with self._alone(self._locks, stream):
            for attempt in range(_ATTEMPTS):
                current = await self.load(id_)
                events = decide(current.state)
                if not events:
                    return []
                try:
                    append = StreamAppend(stream, current.version, events, owner)
                    return await self._log.append(append, origin=origin)
                except StreamConflictError:
                    self._forget(stream)
                    if attempt == _ATTEMPTS - 1:
                        raise
        raise AssertionError("unreachable")

    @staticmethod
    @asynccontextmanager
    async def _alone(locks: dict[str, trio.Lock], stream: str) -> AsyncIterator[None]:
        lock = locks.setdefault(stream, trio.Lock())
        try:
            async with lock:
                yield
        finally:
            if not lock.statistics().tasks_waiting and not lock.locked():
                locks.pop(stream, None)

    def _cached(self, stream: str) -> Versioned[S] | None:
        cached = self._cache.get(stream)
        if cached:
            self._cache.move_to_end(stream)
        return cached

    def _follow(self, records: Sequence[Recorded[Any]]) -> None:
        for record in records:
            cached = self._cache.get(record.stream)
            if cached is None:
                continue
            if record.version == cached.version + 1:
                folding = self._folding(cached.state)
                self._fold(folding, [record])
                self._remember(record.stream, Versioned(folding.state(), record.version))
            elif record.version > cached.version:
                self._forget(record.stream)

    @staticmethod
    def _fold(folding: Folding[S], records: Sequence[Recorded[Any]]) -> None:
        """Fold events. One that does not fit changes nothing: the stream goes on without it."""
        for r in records:
            try:
                folding.apply(r.event, r.time)
            except Exception:
                _logger.exception("event_not_folded", position=r.position, stream=r.stream, type=r.type)

    def _remember(self, stream: str, found: Versioned[S]) -> None:
        known = self._cache.get(stream)
        self._weight += self._weigh(found.state) - (self._weigh(known.state) if known else 0)
        self._cache[stream] = found
        self._cache.move_to_end(stream)
        while len(self._cache) > self._keep or (self._weight > KEPT_WEIGHT and len(self._cache) > 1):
            self._forget(next(iter(self._cache)))

    def _forget(self, stream: str) -> None:
        known = self._cache.pop(stream, None)
        if known:
            self._weight -= self._weigh(known.state)
