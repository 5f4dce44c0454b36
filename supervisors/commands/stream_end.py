"""Appending to the end of a stream, wherever that is: for events that are right in every state."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import trio

from domain.event import Event
from eventlog.envelope import Origin, Recorded, StreamAppend
from eventlog.errors import StreamConflictError
from eventlog.filter import Filter
from eventlog.log import EventLog


class StreamEnds:
    """Appends of one process to one stream go one after the other."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._locks: dict[str, trio.Lock] = {}

    async def append(self, stream: str, event: Event, origin: Origin, *, owner: str = "") -> None:
        """Append one event; `owner` is whose key encrypts what is private in it."""
        await self.append_all(stream, [event], origin, owner=owner)

    async def append_all(self, stream: str, events: Sequence[Event], origin: Origin, *, owner: str = "") -> None:
        """Append events, all or none."""
        lock = self._locks.setdefault(stream, trio.Lock())
        try:
            async with lock:
                while True:
                    append = StreamAppend(stream, await self.version(stream), events, owner)
                    with suppress(StreamConflictError):  # Somebody who appends to several streams was faster.
                        await self._log.append(append, origin=origin)
                        return
        finally:
            if not lock.locked() and not lock.statistics().tasks_waiting:
                self._locks.pop(stream, None)

    async def version(self, stream: str) -> int:
        """Return the version of a stream, 0 when it does not exist."""
        newest = await self.newest(stream)
        return newest.version if newest else 0

    async def newest(self, stream: str) -> Recorded[Any] | None:
        """Return the newest event of a stream, None when it does not exist."""
        found = await self._log.read(Filter(stream=stream, newest_first=True), limit=1)
        return found[0] if found else None
