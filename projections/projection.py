"""What a projection is: some tables and how each event changes them."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from eventlog.envelope import Recorded
from projections.table import Table

Handler = Callable[[Any, Recorded[Any]], None]


class Projection:
    """A read model. Subclasses fill `tables` and `on` (event type to handler) in their constructor.

    Raise `version` when the tables or the handlers change their meaning: the saved copy is then rebuilt.
    A handler must be a pure function of the tables and the event, for a replay to give the same rows.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1

    def __init__(self) -> None:
        self.position = 0
        """Everything up to here has been applied."""
        self.tables: tuple[Table[Any], ...] = ()
        self.on: dict[type, Handler] = {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {self.position}: {', '.join(map(repr, self.tables))}>"

    def replace_with(self, fresh: "Projection") -> None:
        """Take over the rows of another projection of the same kind, which is not used afterwards."""
        for mine, new in zip(self.tables, fresh.tables, strict=True):
            mine.replace_with(new)
        self.position = fresh.position

    def apply(self, records: Sequence[Recorded[Any]]) -> None:
        """Apply events in order; those that were applied before are passed over."""
        on, seen = self.on, self.position
        for record in records:
            handler = on.get(type(record.event))
            if handler is not None and record.position > seen:
                handler(record.event, record)
        if records:
            self.position = max(seen, records[-1].position)
