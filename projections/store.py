"""`views.db`: the saved copy of the read models, so that a start need not replay the log."""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from projections.projection import Projection
from projections.table import Changes, Table

FILE_NAME = "views.db"


@dataclass(frozen=True, slots=True)
class Batch:
    """Changed rows of all tables and the positions they bring the saved copy to."""

    changes: tuple[tuple[Table[Any], Changes[Any]], ...]
    positions: tuple[tuple[str, int, int], ...]
    """(projection, version, position)"""


class ViewStore:
    """Saves and loads read models. Positions are kept in the same transaction as the rows they belong to.

    Its durability is the log's business: what is lost here is caught up from there. Blocking.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch(0o600)  # Before SQLite opens it: the files that it puts beside it get the same mode.
        path.chmod(0o600)
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS projections (name TEXT PRIMARY KEY, version INTEGER, position INTEGER)"
        )
        self._connection.execute("CREATE TABLE IF NOT EXISTS log (id BLOB PRIMARY KEY)")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def load(self, projections: Iterable[Projection], log_id: bytes, head: int) -> None:
        """Fill projections from the saved copy.

        What was saved by another version of a projection, from another log, or from a later state of this one
        (the log was restored from a backup) is thrown away; that projection then starts at position 0.
        """
        known = self._connection.execute("SELECT id FROM log").fetchone()
        same_log = known is not None and known[0] == log_id
        saved = {
            n: (v, p) for n, v, p in self._connection.execute("SELECT name, version, position FROM projections")
        }
        with self._transaction():
            if not same_log:
                self._connection.execute("DELETE FROM log")
                self._connection.execute("INSERT INTO log VALUES (?)", (log_id,))
            for projection in projections:
                version, position = saved.get(projection.name, (0, 0))
                if not same_log or version != projection.version or position > head:
                    for table in projection.tables:
                        self._create(table)
                    self._save_position(projection.name, projection.version, 0)
                    continue
                for table in projection.tables:
                    for row in self._connection.execute(
                        f"SELECT {', '.join(table.columns)} FROM {table.name} ORDER BY rowid"  # noqa: S608
                    ):
                        table.load(table.row_type(*row))
                projection.position = position

    def save(self, batch: Batch) -> None:
        """Write changed rows and the positions they stand for, all or nothing."""
        with self._transaction():
            for table, changes in batch.changes:
                self._connection.executemany(
                    f"DELETE FROM {table.name} WHERE {table.columns[0]}=?",  # noqa: S608
                    [(key,) for key in changes.removed],
                )
                rows = [tuple(getattr(row, c) for c in table.columns) for row in changes.rows.values()]
                self._connection.executemany(_upsert(table), rows)
            for name, version, position in batch.positions:
                self._save_position(name, version, position)

    def positions(self) -> dict[str, int]:
        """Return the saved position of every projection."""
        return dict(self._connection.execute("SELECT name, position FROM projections"))

    def _create(self, table: Table[Any]) -> None:
        self._connection.execute(f"DROP TABLE IF EXISTS {table.name}")
        columns = ", ".join(table.columns[1:])
        self._connection.execute(f"CREATE TABLE {table.name} ({table.columns[0]} TEXT PRIMARY KEY, {columns})")

    def _save_position(self, name: str, version: int, position: int) -> None:
        self._connection.execute("INSERT OR REPLACE INTO projections VALUES (?,?,?)", (name, version, position))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")


def _upsert(table: Table[Any]) -> str:
    """An upsert that keeps a row's place: rows load in the order in which they first came."""
    key, *rest = table.columns
    return (
        f"INSERT INTO {table.name} ({', '.join(table.columns)}) "  # noqa: S608
        f"VALUES ({', '.join('?' * len(table.columns))}) "
        f"ON CONFLICT ({key}) DO UPDATE SET {', '.join(f'{c}=excluded.{c}' for c in rest)}"
    )
