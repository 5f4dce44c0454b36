"""The tables of the log, on the library's SQLite recorder."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, cast

from eventsourcing.persistence import StoredEvent
from eventsourcing.sqlite import SQLiteApplicationRecorder, SQLiteCursor, SQLiteFactory

from eventlog.envelope import StoredRecord

KIND = "substr(originator_id, 1, instr(originator_id, ':'))"
"""What kind of stream it is, with the colon: `conversation:`."""
COLUMNS = (
    "position, originator_id, originator_version, topic, state, at, actor, correlation, causation, digest, owner"
)


class ChainedRecorder(SQLiteApplicationRecorder):
    """Stores the envelope in columns, and one row of hash chain for every commit.

    AUTOINCREMENT keeps positions from being used again even if the newest rows were removed by hand.
    """

    def construct_create_table_statements(self) -> list[str]:
        """Return the DDL of `stored_events`, `commits` and `identity` (what tells this log from any other)."""
        return [
            f"""CREATE TABLE IF NOT EXISTS {self.events_table_name} (
                position INTEGER PRIMARY KEY AUTOINCREMENT,
                originator_id TEXT NOT NULL,
                originator_version INTEGER NOT NULL,
                topic TEXT NOT NULL,
                state BLOB NOT NULL,
                at INTEGER NOT NULL,
                actor TEXT NOT NULL,
                correlation TEXT NOT NULL,
                causation INTEGER,
                digest BLOB NOT NULL,
                owner TEXT NOT NULL DEFAULT '',
                UNIQUE (originator_id, originator_version))""",
            """CREATE TABLE IF NOT EXISTS commits (
                last_position INTEGER PRIMARY KEY,
                first_position INTEGER NOT NULL,
                at INTEGER NOT NULL,
                hash BLOB NOT NULL)""",
            "CREATE TABLE IF NOT EXISTS identity (id BLOB NOT NULL)",
            "INSERT INTO identity SELECT randomblob(16) WHERE NOT EXISTS (SELECT 1 FROM identity)",
            # For whoever looks into the log: any filter finds its first page at once.
            f"CREATE INDEX IF NOT EXISTS by_kind ON {self.events_table_name} ({KIND}, position)",
            *(
                f"CREATE INDEX IF NOT EXISTS by_{column} ON {self.events_table_name} ({column}, position)"
                for column in ("topic", "owner", "actor", "correlation")
            ),
        ]

    def _insert_events(
        self, c: SQLiteCursor, stored_events: Sequence[StoredEvent], **_: Any
    ) -> Sequence[int] | None:
        records = cast(Sequence[StoredRecord], stored_events)
        c.executemany(
            f"INSERT INTO {self.events_table_name} ({COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?)",  # noqa: S608
            records,
        )
        return [r.position for r in records]

    def insert(self, cursor: SQLiteCursor, records: Sequence[StoredRecord]) -> None:
        """Insert records at their positions, in the transaction that `cursor` is in."""
        self._insert_events(cursor, cast(Sequence[StoredEvent], records))


def open_for_reading(path: Path) -> sqlite3.Connection:
    """Return a connection that cannot write, and that shows logs of before with the column they did not have."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False, isolation_level=None
    )
    if _lacks_owner(connection):
        connection.execute("CREATE TEMP VIEW stored_events AS SELECT *, '' AS owner FROM main.stored_events")
    return connection


def _add_owner(path: Path) -> None:
    """Add the column that logs of before did not have; the hash chain does not cover it."""
    with closing(sqlite3.connect(path)) as connection:
        if _lacks_owner(connection):
            connection.execute("ALTER TABLE stored_events ADD COLUMN owner TEXT NOT NULL DEFAULT ''")


def _lacks_owner(connection: sqlite3.Connection) -> bool:
    columns = {row[1] for row in connection.execute("PRAGMA table_info(stored_events)")}
    return bool(columns) and "owner" not in columns


def open_recorder(path: Path) -> ChainedRecorder:
    """Create the database at `path` if need be and return its recorder."""
    if path.exists():
        _add_owner(path)
    factory = SQLiteFactory(
        {
            "SQLITE_DBNAME": str(path),
            "ORIGINATOR_ID_TYPE": "text",
            "APPLICATION_RECORDER_TOPIC": "eventlog.schema:ChainedRecorder",
        }
    )
    return cast(ChainedRecorder, factory.application_recorder())
