"""How much of the log is about whom: in all, and on the last day (UTC) on which something was."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from domain.users.events import UserDeleted, UserRegistered
from eventlog.envelope import Recorded
from projections.projection import Projection
from projections.table import Table
from projections.usage import DAY

ENVELOPE_BYTES = 512
"""About what an event takes beside its payload: the envelope, and its places in the indexes."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes of one user in the log; `today` are those of the day `day`, counted from the epoch."""

    user_id: str
    day: int
    today: int
    total: int

    def on(self, day: int) -> int:
        """Return the bytes of a day, which must be the last one or a later one."""
        return self.today if day == self.day else 0


class Footprints(Projection):
    """Bytes in the log by user. Events that are in it without an owner, from early versions, are nobody's."""

    name = "footprints"

    def __init__(self) -> None:
        super().__init__()
        self._rows: Table[Footprint] = Table("footprints", Footprint)
        self.tables = (self._rows,)
        self.on = {
            UserRegistered: lambda e, _: self._rows.put(Footprint(e.user_id, 0, 0, 0)),
            UserDeleted: lambda e, _: self._rows.remove(e.user_id),
        }

    def of(self, user_id: str) -> Footprint:
        """Return the footprint of a user."""
        return self._rows.get(user_id) or Footprint(user_id, 0, 0, 0)

    def apply(self, records: Sequence[Recorded[Any]]) -> None:
        """Count every event, whatever its type, that is about somebody who is there."""
        before = self.position
        for record in records:
            if type(record.event) in self.on:
                super().apply((record,))
            if record.position > before:
                self._count(record)
        super().apply(records)

    def _count(self, record: Recorded[Any]) -> None:
        row = self._rows.get(record.owner)
        if row:
            day, size = int(record.time // DAY), record.size + ENVELOPE_BYTES
            self._rows.put(Footprint(row.user_id, day, row.on(day) + size, row.total + size))
