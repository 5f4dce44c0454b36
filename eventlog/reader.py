"""Reading: own read-only connections, so that a reader never waits for the writer."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eventlog import chain
from eventlog.codec import EventMapper
from eventlog.envelope import Recorded, StoredRecord
from eventlog.errors import BrokenChainError
from eventlog.schema import COLUMNS

BATCH = 5000
_SELECT = f"SELECT {COLUMNS} FROM stored_events "  # noqa: S608 - both are constants


@dataclass(frozen=True, slots=True)
class Head:
    """The newest commit: its last position, its hash and its time (microseconds since the epoch)."""

    position: int
    hash: bytes
    at: int


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events to read. `stream` and `types` are exact; positions are exclusive below, inclusive above."""

    after: int = 0
    until: int | None = None
    stream: str | None = None
    stream_prefix: str | None = None
    types: tuple[str, ...] = ()
    newest_first: bool = False

    def sql(self, limit: int) -> tuple[str, list[Any]]:
        """Return the rest of a SELECT statement and its parameters."""
        clauses = ["position > ?"]
        parameters: list[Any] = [self.after]
        if self.until is not None:
            clauses.append("position <= ?")
            parameters.append(self.until)
        if self.stream is not None:
            clauses.append("originator_id = ?")
            parameters.append(self.stream)
        if self.stream_prefix is not None:
            clauses.append("originator_id >= ? AND originator_id < ?")
            parameters += [self.stream_prefix, self.stream_prefix + "\U0010ffff"]
        if self.types:
            clauses.append(f"topic IN ({','.join('?' * len(self.types))})")
            parameters += self.types
        order = "DESC" if self.newest_first else "ASC"
        return f"WHERE {' AND '.join(clauses)} ORDER BY position {order} LIMIT ?", [*parameters, limit]


class Reader:
    """Reads the log from any thread. Blocking: call it through `trio.to_thread` from tasks."""

    def __init__(self, path: Path, mapper: EventMapper) -> None:
        self._path = path
        self._mapper = mapper
        self._idle: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._reads = 0

    def statistics(self) -> dict[str, int]:
        """Return how many queries have been made."""
        return {"reads": self._reads}

    def close(self) -> None:
        """Close the connections that no thread is using."""
        with self._lock:
            for connection in self._idle:
                connection.close()
            self._idle.clear()

    def identity(self) -> bytes:
        """Return the 16 random bytes that tell this log from any other."""
        with self._connection() as c:
            return bytes(c.execute("SELECT id FROM identity").fetchone()[0])

    def head(self) -> Head:
        """Return the newest commit; position 0 in an empty log."""
        with self._connection() as c:
            row = c.execute(
                "SELECT last_position, hash, at FROM commits ORDER BY last_position DESC LIMIT 1"
            ).fetchone()
        return Head(*row) if row else Head(0, chain.GENESIS, 0)

    def events(self, wanted: Filter, limit: int = BATCH) -> list[Recorded[Any]]:
        """Return up to `limit` events in order."""
        return [self._mapper.decode(r) for r in self.stored(wanted, limit)]

    def stored(self, wanted: Filter, limit: int = BATCH) -> list[StoredRecord]:
        """Return up to `limit` events as they are stored."""
        rest, parameters = wanted.sql(limit)
        with self._connection() as c:
            return [StoredRecord._make(row) for row in c.execute(_SELECT + rest, parameters)]

    def streams(self, prefix: str, limit: int) -> list[tuple[str, int, int, int]]:
        """Return (stream, version, last position, last time in microseconds) of streams by name."""
        with self._connection() as c:
            return c.execute(
                "SELECT originator_id, MAX(originator_version), MAX(position), MAX(at) FROM stored_events "
                "WHERE originator_id >= ? AND originator_id < ? GROUP BY originator_id LIMIT ?",
                (prefix, prefix + "\U0010ffff", limit),
            ).fetchall()

    def verify(self, *, after: int = 0) -> int:
        """Walk the hash chain over the commits later than position `after`; return how many events were checked.

        Raises BrokenChainError at the first that does not fit.
        """
        checked = 0
        with self._connection() as c:
            anchor = c.execute(
                "SELECT last_position, hash FROM commits WHERE last_position <= ? "
                "ORDER BY last_position DESC LIMIT 1",
                (after,),
            ).fetchone()
            last, previous = anchor or (0, chain.GENESIS)
            rows = c.execute(
                "SELECT last_position, first_position, at, hash FROM commits WHERE last_position > ? "
                "ORDER BY last_position",
                (last,),
            )
            for last_position, first, at, expected in rows:
                if first != last + 1:
                    raise BrokenChainError(last + 1, "a commit is missing")
                found = c.execute(
                    _SELECT + "WHERE position BETWEEN ? AND ? ORDER BY position", (first, last_position)
                )
                records = [StoredRecord._make(r) for r in found]
                chain.check(previous, records, expected, first, last_position)
                if records[0].at != at:
                    raise BrokenChainError(first, "the commit's time does not match its events")
                checked += last_position - first + 1
                previous, last = expected, last_position
            newest = c.execute("SELECT MAX(position) FROM stored_events").fetchone()[0] or 0
            if newest != last:
                raise BrokenChainError(min(newest, last) + 1, "the newest events belong to no commit")
            # SQLite remembers the highest position ever given out, also when its row is gone.
            given = c.execute("SELECT seq FROM sqlite_sequence WHERE name='stored_events'").fetchone()
            if given and given[0] != last:
                raise BrokenChainError(last + 1, "the newest events were removed")
        return checked

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._reads += 1
            connection = self._idle.pop() if self._idle else None
        if connection is None:
            connection = sqlite3.connect(
                f"{self._path.absolute().as_uri()}?mode=ro",
                uri=True,
                check_same_thread=False,
                isolation_level=None,
            )
        try:
            yield connection
        finally:
            with self._lock:
                self._idle.append(connection)
