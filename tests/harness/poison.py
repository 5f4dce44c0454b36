"""Events that today's program would not write: as an earlier version did, or as a fault of the program might."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from domain.conversations.events import MessagePosted
from domain.event import Event
from eventlog.codec import EventMapper
from eventlog.envelope import Origin, Recorded, StoredRecord, StreamAppend
from eventlog.log import EventLog

ORIGIN = Origin("system", "poison")


def nested(levels: int) -> Any:
    """Return an object of so many levels."""
    found: Any = {}
    for _ in range(levels - 1):
        found = {"a": found}
    return found


@contextmanager
def unchecked() -> Iterator[None]:
    """Have events appended without looking whether they can be read back, as early versions did."""
    with patch.object(EventMapper, "_check_readable", lambda *_: None):
        yield


@contextmanager
def unreadable_when(is_chosen: Callable[[StoredRecord], bool]) -> Iterator[None]:
    """Have some events be such that their payload cannot be read."""
    original = EventMapper.record

    def record(self: EventMapper, stored: StoredRecord) -> Recorded[Any]:
        return original(self, stored._replace(state=b"\xff noise") if is_chosen(stored) else stored)

    with patch.object(EventMapper, "record", record):
        yield


async def append_unreadable(
    log: EventLog, stream: str, event_type: type[Event], owner: str = "", **fields: Any
) -> Recorded[Any]:
    """Append an event with a field that it cannot have; those that are not given are missing."""
    newest = await log.read_stream(stream)
    event = event_type.model_construct(None, **fields)
    event.__dict__["odd"] = True
    with unchecked():
        append = StreamAppend(stream, len(newest), [event], owner)
        return (await log.append(append, origin=ORIGIN))[0]


async def append_deep(log: EventLog, conversation: str, owner: str, content: str, levels: int = 230) -> None:
    """Append a message that came with something nested as deep as early versions wrote, and could not read."""
    newest = await log.read_stream(f"conversation:{conversation}")
    event = MessagePosted(
        conversation_id=conversation,
        message_id=f"deep{levels}",
        role="assistant",
        content=content,
        extra=nested(levels),
    )
    with unchecked():
        await log.append(StreamAppend(f"conversation:{conversation}", len(newest), [event], owner), origin=ORIGIN)
