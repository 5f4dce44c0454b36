"""Events that cannot be read, all of them or in part: a replay marks them here and goes on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import structlog

from domain.catalogue import EVENT_TYPES
from domain.conversations.events import ConversationDeleted
from domain.users.events import BudgetSet, PasswordChanged, UserDeleted
from eventlog.envelope import UNREADABLE, Recorded
from eventlog.filter import Filter
from eventlog.reader import Reader
from projections.projection import Projection
from projections.table import Table

MOST = 1000
"""Events that are listed. More than a few come of a fault of the program, and then any of them tells it."""

_NAMED = 3

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
    """How many there are in a stream beyond those that are listed."""

    stream: str
    owner: str
    count: int


def _shapes() -> int:
    """Return a number that stands for the shapes of all events that this program knows."""
    known = [
        (t.TOPIC, t.class_version, [(name, repr(f.annotation)) for name, f in t.model_fields.items()])
        for t in EVENT_TYPES
    ]
    return 1 + crc32(repr(known).encode()) % 0xFFFF


class UnreadableEvents(Projection):
    """Which events cannot be read.

    Those of a conversation or a user who was deleted concern nobody any more, nor do those that say what another
    one has said anew since.
    """

    name = "unreadable"
    version = _shapes()
    """A program that knows other shapes looks through the whole log again."""

    def __init__(self) -> None:
        super().__init__()
        self._events: Table[UnreadableEvent] = Table("unreadable_events", UnreadableEvent)
        self._unlisted: Table[Unlisted] = Table("unreadable_unlisted", Unlisted)
        self._by_stream = self._events.index(lambda e: e.stream)
        self._by_owner = self._events.index(lambda e: e.owner)
        self._unlisted_by_owner = self._unlisted.index(lambda u: u.owner)
        self.tables = (self._events, self._unlisted)
        self.is_postponed = False
        """Whether the log is still to be looked through."""
        self.on = {
            ConversationDeleted: self._conversation_deleted,
            UserDeleted: self._user_deleted,
            PasswordChanged: self._replaced,
            BudgetSet: self._replaced,
        }

    def listed(self) -> list[UnreadableEvent]:
        """Return the first of them, in order."""
        return list(self._events)

    def is_marked(self, position: int) -> bool:
        """Tell whether an event is listed."""
        return self._events.get(str(position)) is not None

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._events) + sum(u.count for u in self._unlisted)

    @property
    def summary(self) -> str:
        """How many there are, and which come first, for a person; "" when there are none."""
        if not self.count:
            return ""
        named = ", ".join(f"#{e.position} ({e.type})" for e in self.listed()[:_NAMED])
        rest = self.count - min(_NAMED, len(self._events))
        return (
            f"{self.count} event{'s' * (self.count > 1)} cannot be read as written: {named}"
            f"{f' and {rest} more' * bool(rest)}. `agentstack events unreadable` says why."
        )

    @property
    def problem(self) -> str:
        """What is wrong with the rows, for a person; "" when nothing is."""
        return "The log is still being looked through." if self.is_postponed else super().problem

    @property
    def remark(self) -> str:
        """What a person who looks at the read models should know of this one; "" when that is nothing."""
        return self.problem or self.summary

    def postpone(self, position: int) -> None:
        """Pass over the log up to a position for now: it is to be looked through while the server runs."""
        self.position, self.is_postponed = position, True

    def replace_with(self, fresh: Projection) -> None:
        """Take over the rows of another one, which has looked through the whole log."""
        super().replace_with(fresh)
        self.is_postponed = False

    def readable_again(self, reader: Reader) -> bool:
        """Tell whether this program reads one of them better than the one that marked it. Blocking."""
        return any(
            (r.event is UNREADABLE, bool(r.problem)) != (bool(e.lost), True)
            for e in self._events
            for r in reader.events(Filter(after=e.position - 1, until=e.position))
        )

    def apply(self, records: Sequence[Recorded[Any]]) -> None:
        """Mark what cannot be read, whatever its type."""
        if not any(record.problem for record in records):
            super().apply(records)
            return
        for record in records:  # One by one: what is deleted later in the same batch was marked before.
            if record.problem and record.position > self.position:
                self._mark(record)
            super().apply((record,))

    def _mark(self, record: Recorded[Any]) -> None:
        if len(self._events) >= MOST:
            unlisted = self._unlisted.get(record.stream)
            self._unlisted.put(Unlisted(record.stream, record.owner, (unlisted.count if unlisted else 0) + 1))
            return
        lost = record.event is UNREADABLE
        place = (record.position, record.stream, record.type, record.owner)
        self._events.put(UnreadableEvent(str(record.position), *place, int(lost), record.problem))
        _logger.warning("event_unreadable", position=record.position, stream=record.stream, problem=record.problem)

    def _conversation_deleted(self, event: ConversationDeleted, _: Recorded[Any]) -> None:
        stream = f"conversation:{event.conversation_id}"
        self._unlisted.remove(stream)
        for marked in self._by_stream.all(stream):
            self._events.remove(marked.key)

    def _replaced(self, _: PasswordChanged | BudgetSet, record: Recorded[Any]) -> None:
        """Forget those that say what this one says anew."""
        if not record.problem:
            for marked in [m for m in self._by_stream.all(record.stream) if m.type == record.type]:
                self._events.remove(marked.key)

    def _user_deleted(self, event: UserDeleted, _: Recorded[Any]) -> None:
        for unlisted in self._unlisted_by_owner.all(event.user_id):
            self._unlisted.remove(unlisted.stream)
        for marked in self._by_owner.all(event.user_id):
            self._events.remove(marked.key)
