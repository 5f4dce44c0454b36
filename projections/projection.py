"""What a projection is: some tables and how each event changes them."""

from collections.abc import Callable
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

    def apply(self, record: Recorded[Any]) -> None:
        """Apply one event; one that was applied before is passed over."""
        if record.position <= self.position:
            return
        handler = self.on.get(type(record.event))
        if handler:
            handler(record.event, record)
        self.position = record.position
