"""A log that nothing is appended to, for looking at how things were.

Sign-ins are the exception, or nobody could look: they are made known to the read models and kept nowhere.
"""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import trio

from eventlog.codec import EventMapper
from eventlog.envelope import Origin, Recorded, StreamAppend
from eventlog.errors import ReadOnlyError
from eventlog.folder import FolderLock, refuse_network_file_system
from eventlog.log import FILE_NAME, TAIL_EVENTS, EventLog
from eventlog.reader import Reader


class ReadOnlyLog(EventLog):
    """Reads like any log. `is_volatile` tells which events may be made known without being kept."""

    is_read_only = True

    def __init__(
        self, path: Path, mapper: EventMapper, reader: Reader, position: int, is_volatile: Callable[[Any], bool]
    ) -> None:
        super().__init__(path, mapper, reader, position)
        self._is_volatile = is_volatile
        self._next = position

    async def append(self, *appends: StreamAppend, origin: Origin) -> list[Recorded[Any]]:
        """Make volatile events known. Raises ReadOnlyError for all others."""
        await trio.lowlevel.checkpoint()
        recorded: list[Recorded[Any]] = []
        for append in appends:
            for version, event in enumerate(append.events, start=append.expected + 1):
                if not self._is_volatile(event):
                    raise ReadOnlyError
                self._next += 1
                place = (self._next, append.stream, version, event.TOPIC, time.time())
                recorded.append(Recorded(*place, origin, event, append.owner))
        self._tell(recorded)
        return recorded

    async def is_writable(self) -> bool:
        """Tell that this log is as it should be."""
        await trio.lowlevel.checkpoint()
        return True


@asynccontextmanager
async def open_read_only(
    folder: Path, mapper: EventMapper, is_volatile: Callable[[Any], bool]
) -> AsyncIterator[ReadOnlyLog]:
    """Open the log in a folder without writing to it. Raises as `open_log` does."""
    refuse_network_file_system(folder)
    lock = FolderLock(folder)
    try:
        reader = Reader(folder / FILE_NAME, mapper)
        try:
            head = await trio.to_thread.run_sync(reader.head)
            await trio.to_thread.run_sync(partial(reader.verify, after=max(0, head.position - TAIL_EVENTS)))
            await trio.to_thread.run_sync(reader.refuse_newer)
            yield ReadOnlyLog(folder / FILE_NAME, mapper, reader, head.position, is_volatile)
        finally:
            reader.close()
    finally:
        lock.close()
