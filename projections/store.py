"""`views.db`: the saved copy of the read models, so that a start need not replay the log."""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eventlog.errors import BrokenSealError, KeyDestroyedError
from eventlog.transaction import transaction
from eventlog.vault import Vault
from projections.projection import Projection
from projections.table import Changes, Table

FILE_NAME = "views.db"
_REFUSED_VALUES = (sqlite3.InterfaceError, sqlite3.ProgrammingError, sqlite3.DataError, sqlite3.IntegrityError)
MAKE_ANEW = 0
"""In place of a projection's version: no projection has it, so that the saved copy is thrown away."""


@dataclass(frozen=True, slots=True)
class Part:
    """Changed rows of one projection, and its version and the position that they bring the saved copy to."""

    name: str
    version: int
    position: int
    changes: tuple[tuple[Table[Any], Changes[Any]], ...]


class ViewStore:
    """Saves and loads read models. Positions are kept in the same transaction as the rows they belong to.

    Its durability is the log's business: what is lost here is caught up from there. With a `vault`, the columns
    that a table names are encrypted. Blocking.
    """

    def __init__(self, path: Path, vault: Vault | None = None) -> None:
        self.path = path
        self._vault = vault
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

        What was saved by another version of a projection, from another log, from a later state of this one (the log
        was restored from a backup), or with other keys is thrown away; that projection then starts at position 0.
        """
        known = self._connection.execute("SELECT id FROM log").fetchone()
        same_log = known is not None and known[0] == log_id
        saved = {
            n: (v, p) for n, v, p in self._connection.execute("SELECT name, version, position FROM projections")
        }
        with transaction(self._connection):
            if not same_log:
                self._connection.execute("DELETE FROM log")
                self._connection.execute("INSERT INTO log VALUES (?)", (log_id,))
            for projection in projections:
                version, position = saved.get(projection.name, (0, 0))
                fits = same_log and version == projection.version and position <= head
                rows = self._rows(projection) if fits else None
                if rows is None:
                    for table in projection.tables:
                        self._create(table)
                    self._save_position(projection.name, projection.version, 0)
                    continue
                for table, row in rows:
                    table.load(row)
                projection.position = position

    def save(self, parts: Iterable[Part]) -> dict[str, str]:
        """Write changed rows and the positions they stand for, all or nothing.

        Return what kept a projection's rows from being written, by its name. That is not the disk's refusal, which
        is raised, but a value that the file cannot hold: the others are written, and that one's copy is void.
        """
        refused: dict[str, str] = {}
        with transaction(self._connection):
            for part in parts:
                version = part.version
                self._connection.execute("SAVEPOINT part")
                try:
                    self._write(part)
                except (OverflowError, ValueError, AttributeError, TypeError, *_REFUSED_VALUES) as error:
                    self._connection.execute("ROLLBACK TO part")
                    refused[part.name], version = f"{type(error).__name__}: {error}", MAKE_ANEW
                self._connection.execute("RELEASE part")
                self._save_position(part.name, version, part.position)
        return refused

    def _write(self, part: Part) -> None:
        for table, changes in part.changes:
            self._connection.executemany(
                f"DELETE FROM {table.name} WHERE {table.columns[0]}=?",  # noqa: S608
                [(key,) for key in changes.removed],
            )
            rows = (self._sealed(table, row) for row in changes.rows.values())
            self._connection.executemany(_upsert(table), [row for row in rows if row])

    def forget(self) -> None:
        """Have every projection start at position 0 when it is loaded next."""
        with transaction(self._connection):
            self._connection.execute("DELETE FROM projections")

    def positions(self) -> dict[str, int]:
        """Return the saved position of every projection."""
        return dict(self._connection.execute("SELECT name, position FROM projections"))

    def _rows(self, projection: Projection) -> list[tuple[Table[Any], Any]] | None:
        """Return the saved rows of a projection; None when they cannot be decrypted."""
        found = []
        for table in projection.tables:
            columns = ", ".join(table.columns)
            for row in self._connection.execute(f"SELECT {columns} FROM {table.name} ORDER BY rowid"):  # noqa: S608
                try:
                    readable = self._unsealed(table, row)
                except (BrokenSealError, TypeError):  # TypeError: text that is not encrypted at all.
                    return None
                if readable:
                    found.append((table, table.row_type(*readable)))
                else:
                    table.drop(row[0])  # Its owner was deleted, and the copy is from before.
        return found

    def _sealed(self, table: Table[Any], row: Any) -> tuple[Any, ...] | None:
        """Return a row as it is saved; None when its owner has just been deleted, and so will the row be."""
        saved = {column: getattr(row, column) for column in table.columns}
        if self._vault:
            owner, key = saved[table.owner] if table.sealed else "", saved[table.columns[0]]
            try:
                for column in table.sealed:
                    place = _place(table, key, column)
                    saved[column] = self._vault.seal(owner, saved[column].encode(), place)
            except KeyDestroyedError:
                return None
        return tuple(saved.values())

    def _unsealed(self, table: Table[Any], row: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Return a saved row as it was; None when its owner's key is gone."""
        if not table.sealed or not self._vault:
            return row
        saved = dict(zip(table.columns, row, strict=True))
        owner, key = saved[table.owner], saved[table.columns[0]]
        for column in table.sealed:
            found = self._vault.unseal(owner, saved[column], _place(table, key, column))
            if found is None:
                return None
            saved[column] = found.decode()
        return tuple(saved.values())

    def _create(self, table: Table[Any]) -> None:
        self._connection.execute(f"DROP TABLE IF EXISTS {table.name}")
        columns = ", ".join(table.columns[1:])
        self._connection.execute(f"CREATE TABLE {table.name} ({table.columns[0]} TEXT PRIMARY KEY, {columns})")

    def _save_position(self, name: str, version: int, position: int) -> None:
        self._connection.execute("INSERT OR REPLACE INTO projections VALUES (?,?,?)", (name, version, position))


def load_alone(path: Path, projection: Projection, log_id: bytes, head: int) -> None:
    """Fill one projection without sealed columns from a saved copy, which may be in use, if that fits. Blocking."""
    if not path.exists():
        return
    select = "SELECT p.position FROM projections AS p, log WHERE p.name = ? AND p.version = ? AND log.id = ?"
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        try:
            connection.execute("BEGIN")
            known = connection.execute(select, (projection.name, projection.version, log_id)).fetchone()
            if known is None or known[0] > head:
                return
            rows = [
                (table, connection.execute(f"SELECT {', '.join(table.columns)} FROM {table.name}").fetchall())  # noqa: S608
                for table in projection.tables
            ]
        except sqlite3.DatabaseError:  # From before there were such tables, or no database at all.
            return
    for table, found in rows:
        for row in found:
            table.load(table.row_type(*row))
    projection.position = known[0]


def _place(table: Table[Any], key: str, column: str) -> bytes:
    """What a sealed column is bound to."""
    return f"{table.name}\0{key}\0{column}".encode()


def _upsert(table: Table[Any]) -> str:
    """An upsert that keeps a row's place: rows load in the order in which they first came."""
    key, *rest = table.columns
    return (
        f"INSERT INTO {table.name} ({', '.join(table.columns)}) "  # noqa: S608
        f"VALUES ({', '.join('?' * len(table.columns))}) "
        f"ON CONFLICT ({key}) DO UPDATE SET {', '.join(f'{c}=excluded.{c}' for c in rest)}"
    )
