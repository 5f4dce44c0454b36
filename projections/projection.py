"""What a projection is: some tables and how each event changes them."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import structlog

from eventlog.envelope import Recorded
from projections.table import Table

Handler = Callable[[Any, Recorded[Any]], None]
_MOST_NAMED = 20
"""Missed events of which the positions are kept and logged: a handler that is broken may miss a million."""

_logger = structlog.get_logger("projections")


class Projection:
    """A read model. Subclasses fill `tables` and `on` (event type to handler) in their constructor.

    Raise `version` when the tables or the handlers change their meaning: the saved copy is then rebuilt.
    A handler must be a pure function of the tables and the event, for a replay to give the same rows.

    A handler that raises misses its event, and the projection goes on with the next one: it is broken, says so, and
    is made anew at the next start, in case a newer program does better. A handler of `Unreadable` is for events of
    which nothing is known but their envelope: what ends a right is taken at its word, whatever else it said.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1

    def __init__(self) -> None:
        self.position = 0
        """Everything up to here has been applied."""
        self.tables: tuple[Table[Any], ...] = ()
        self.on: dict[type, Handler] = {}
        self.missed: list[int] = []
        """Positions of the first events whose handler raised."""
        self.missed_count = 0
        self.unsaved = ""
        """What kept rows from being saved; "" when nothing did."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {self.position}: {', '.join(map(repr, self.tables))}>"

    @property
    def problem(self) -> str:
        """What is wrong with the rows, for a person; "" when nothing is."""
        if not self.missed:
            return f"Its rows cannot be saved ({self.unsaved}), so every start makes it anew." * bool(self.unsaved)
        named = ", ".join(f"#{position}" for position in self.missed[:3])
        more = f" and {self.missed_count - 3} more" if self.missed_count > 3 else ""
        return f"Events could not be applied: {named}{more}. The log of the server says why."

    @property
    def remark(self) -> str:
        """What a person who looks at the read models should know of this one; "" when that is nothing."""
        return self.problem

    def replace_with(self, fresh: "Projection") -> None:
        """Take over the rows of another projection of the same kind, which is not used afterwards."""
        for mine, new in zip(self.tables, fresh.tables, strict=True):
            mine.replace_with(new)
        self.position = fresh.position
        self.missed, self.missed_count, self.unsaved = fresh.missed, fresh.missed_count, ""

    def apply(self, records: Sequence[Recorded[Any]]) -> None:
        """Apply events in order; those that were applied before are passed over."""
        on, seen = self.on, self.position
        for record in records:
            handler = on.get(type(record.event))
            if handler is not None and record.position > seen:
                try:
                    handler(record.event, record)
                except Exception:
                    self._miss(record)
        if records:
            self.position = max(seen, records[-1].position)

    def _miss(self, record: Recorded[Any]) -> None:
        self.missed_count += 1
        if len(self.missed) < _MOST_NAMED:
            self.missed.append(record.position)
            _logger.exception("event_not_applied", projection=self.name, position=record.position, type=record.type)
