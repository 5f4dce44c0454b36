"""Events that cannot be read, all of them or in part: a replay marks them here and goes on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from domain.conversations.events import ConversationDeleted
from domain.users.events import UserDeleted
from eventlog.envelope import UNREADABLE, Recorded
from eventlog.filter import Filter
from eventlog.reader import Reader
from projections.projection import Projection
from projections.table import Table

MOST = 1000
"""Events that are listed. More than a few come of a fault of the program, and then any of them tells it."""

_logger = structlog.get_logger("projections")


@dataclass(frozen=True, slots=True)
class UnreadableEvent:
    """One event. `lost` is 1 when nothing is known but its envelope, 0 when only a part of it is left out."""

    key: str
    position: int
    stream: str
    type: str
    owner: str
    lost: int
    problem: str


@dataclass(frozen=True, slots=True)
class Unlisted:
    """How many there are beyond those that are listed."""

    key: str
    count: int


class UnreadableEvents(Projection):
    """Which events cannot be read. Those of a conversation or a user who was deleted concern nobody any more."""

    name = "unreadable"

    def __init__(self) -> None:
        super().__init__()
        self._events: Table[UnreadableEvent] = Table("unreadable_events", UnreadableEvent)
        self._unlisted: Table[Unlisted] = Table("unreadable_unlisted", Unlisted)
        self._by_stream = self._events.index(lambda e: e.stream)
        self._by_owner = self._events.index(lambda e: e.owner)
        self.tables = (self._events, self._unlisted)
        self.on = {
            ConversationDeleted: lambda e, _: self._drop(self._by_stream.all(f"conversation:{e.conversation_id}")),
            UserDeleted: lambda e, _: self._drop(self._by_owner.all(e.user_id)),
        }

    def listed(self) -> list[UnreadableEvent]:
        """Return the first of them, in order."""
        return list(self._events)

    @property
    def count(self) -> int:
        """How many there are."""
        unlisted = self._unlisted.get("all")
        return len(self._events) + (unlisted.count if unlisted else 0)

    @property
    def lost(self) -> int:
        """Of how many of those that are listed nothing is known but the envelope."""
        return sum(e.lost for e in self._events)

    @property
    def summary(self) -> str:
        """How many there are, and which come first, for a person; "" when there are none."""
        if not self.count:
            return ""
        listed = self.listed()
        named = ", ".join(f"#{e.position} ({e.type})" for e in listed[:3])
        more = f" and {self.count - 3} more" if self.count > 3 else ""
        kind = f"{self.lost} of them lost but for their envelope" if self.lost else "parts of them are left out"
        return f"{self.count} event{'s' * (self.count > 1)} cannot be read as written, {kind}: {named}{more}"

    def readable_again(self, reader: Reader) -> bool:
        """Tell whether this program reads one of them better than the one that marked it. Blocking."""
        return any(
            (r.event is UNREADABLE, bool(r.problem)) != (bool(e.lost), True)
            for e in self._events
            for r in reader.events(Filter(after=e.position - 1, until=e.position))
        )

    def apply(self, records: Sequence[Recorded[Any]]) -> None:
        """Mark what cannot be read, whatever its type."""
        for record in records:
            if record.problem and record.position > self.position:
                self._mark(record)
        super().apply(records)

    def _mark(self, record: Recorded[Any]) -> None:
        if len(self._events) >= MOST:
            unlisted = self._unlisted.get("all")
            self._unlisted.put(Unlisted("all", (unlisted.count if unlisted else 0) + 1))
            return
        lost = record.event is UNREADABLE
        place = (record.position, record.stream, record.type, record.owner)
        self._events.put(UnreadableEvent(str(record.position), *place, int(lost), record.problem))
        _logger.warning("event_unreadable", position=record.position, stream=record.stream, problem=record.problem)

    def _drop(self, events: list[UnreadableEvent]) -> None:
        for event in events:
            self._events.remove(event.key)
