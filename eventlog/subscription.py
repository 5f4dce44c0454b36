"""Following the log: stored events first, then live ones, without a gap or a duplicate."""

from typing import TYPE_CHECKING, Any, Self

from eventlog.envelope import Recorded
from eventlog.filter import Filter

if TYPE_CHECKING:
    from eventlog.log import EventLog

_BATCH = 500
_BATCH_BYTES = 2 << 20
"""Of the payloads of one batch: whoever follows may have to write them out at once."""


class Subscription:
    """An endless `async for` over events. It keeps nothing but a position, so a slow reader costs no memory.

    There are three cases: far behind it reads from disk, nearly up to date it reads the events that the log
    keeps in memory, and at the head it waits. The position alone decides, so moving from one case to the
    next can neither lose nor repeat an event.
    """

    def __init__(self, log: "EventLog", after: int, stream: str | None) -> None:
        self._log = log
        self.position = after
        """Everything up to here has been seen."""
        self._stream = stream
        self._ready: list[Recorded[Any]] = []

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Recorded[Any]:
        while not self._ready:
            self._ready = (await self.next_batch())[::-1]
        return self._ready.pop()

    async def next_batch(self) -> list[Recorded[Any]]:
        """Wait for, and return, the next one to 500 events."""
        while not (found := await self.take()):
            await self._log.wait_past(self.position, self._stream)
        return found

    async def take(self) -> list[Recorded[Any]]:
        """Return the next events that are there already, [] when all have been seen."""
        while self.position < (head := self._log.position):
            found = self._log.recent(self.position, self._stream)
            if found is None:
                wanted = Filter(after=self.position, until=head, stream=self._stream)
                found = await self._log.read(wanted, _BATCH, _BATCH_BYTES)
                is_all = len(found) < _BATCH and sum(r.size for r in found) < _BATCH_BYTES
            else:
                whole, found = found, _first_of(found)
                is_all = len(found) == len(whole)
            self.position = head if is_all else found[-1].position
            if found:
                return found
        return []


def _first_of(records: list[Recorded[Any]]) -> list[Recorded[Any]]:
    """Return as many as make up one batch."""
    size = 0
    for number, record in enumerate(records, start=1):
        size += record.size
        if size >= _BATCH_BYTES:
            return records[:number]
    return records
