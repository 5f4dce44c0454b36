"""The log as it was: a copy that ends at an earlier commit. Its hash chain verifies, as it did then."""

import sqlite3
from contextlib import closing
from pathlib import Path

from eventlog.errors import EventLogError
from eventlog.transaction import transaction


def copy_until(log: Path, position: int, to: Path) -> int:
    """Copy a log up to the last commit that ends at `position` or before; return where that is. Blocking.

    The log may be in use. Raises EventLogError when there is something at `to`.
    """
    if to.exists():
        raise EventLogError(f"{to} exists already. Name a new folder.")
    to.touch(0o600)
    with (
        closing(sqlite3.connect(f"{log.absolute().as_uri()}?mode=ro", uri=True)) as source,
        closing(sqlite3.connect(to, isolation_level=None)) as copy,
    ):
        source.backup(copy)
        ends = "SELECT MAX(last_position) FROM commits WHERE last_position <= ?"
        last = int(copy.execute(ends, (position,)).fetchone()[0] or 0)
        with transaction(copy):
            copy.execute("DELETE FROM stored_events WHERE position > ?", (last,))
            copy.execute("DELETE FROM commits WHERE last_position > ?", (last,))
            copy.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'stored_events'", (last,))
        copy.execute("VACUUM")
        copy.execute("PRAGMA journal_mode=WAL")
    return last
