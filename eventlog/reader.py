"""Reading: own read-only connections, so that a reader never waits for the writer."""

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from eventlog import chain
from eventlog.codec import EventMapper
from eventlog.described import described, exported
from eventlog.envelope import Recorded, StoredRecord
from eventlog.errors import BrokenChainError, NewerLogError
from eventlog.filter import HIGHEST, Filter
from eventlog.schema import COLUMNS, open_for_reading

BATCH, EXPORT_BATCH = 5000, 500
BATCH_BYTES = 16 << 20
"""How much of the log is in memory at a time, unless a single event is larger."""
_FEW = 10_000
_SELECT = f"SELECT {COLUMNS} FROM stored_events "  # noqa: S608 - both are constants


def is_last_batch(records: Sequence[Recorded[Any]]) -> bool:
    """Tell whether a batch of the usual size was the last one that there is."""
    return len(records) < BATCH and sum(r.size for r in records) < BATCH_BYTES


@dataclass(frozen=True, slots=True)
class Head:
    """The newest commit: its last position, its hash and its time (microseconds since the epoch)."""

    position: int
    hash: bytes
    at: int


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit: the positions of its events, its time in microseconds and its hash."""

    first: int
    last: int
    at: int
    hash: bytes


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
                "SELECT last_position, hash, COALESCE((SELECT e.at FROM stored_events e "
                "WHERE e.position = last_position), at) FROM commits ORDER BY last_position DESC LIMIT 1"
            ).fetchone()
        return Head(*row) if row else Head(0, chain.GENESIS, 0)

    def events(self, wanted: Filter, limit: int = BATCH, most_bytes: int = BATCH_BYTES) -> list[Recorded[Any]]:
        """Return up to `limit` events in order. One that cannot be read is among them, and says so."""
        return [self._mapper.record(r) for r in self.stored(wanted, limit, most_bytes)]

    def page(self, wanted: Filter, limit: int, most_bytes: int) -> tuple[list[dict[str, Any]], bool]:
        """Return up to `limit` events in order, as tools show them, and whether there are more."""
        found = self.events(wanted, limit + 1, most_bytes)
        more = len(found) > limit or sum(r.size for r in found) >= most_bytes
        return [described(r) for r in found[:limit]], more

    def exported(
        self, records: Iterable[StoredRecord], is_marked: Callable[[int], bool]
    ) -> Iterator[dict[str, Any]]:
        """Yield stored events as tools show them, for orjson, which takes their payloads as they are.

        `is_marked` tells of a position whether it is known that the event there cannot be read.
        For many, EXPORT_BATCH at a time: keeping few of them in memory makes it half as fast again.
        """
        return (exported(r, self._mapper, marked=is_marked(r.position)) for r in records)

    def stored(self, wanted: Filter, limit: int = BATCH, most_bytes: int = BATCH_BYTES) -> list[StoredRecord]:
        """Return up to `limit` events as they are stored, all of them when it is below 0.

        With a limit, fewer are returned once their payloads have `most_bytes` together: there are more for as long
        as any are returned.
        """
        query, parameters = self._placed(wanted).sql(limit)
        found: list[StoredRecord] = []
        size = 0
        with self._connection() as c:
            rows = c.execute(query, parameters)
            for row in rows:
                record = StoredRecord._make(row)
                found.append(record)
                size += len(record.state)
                if size >= most_bytes and limit >= 0:
                    rows.close()
                    break
        return found

    def position_at(self, at_us: int) -> int:
        """Return the position of the newest event before a moment, in microseconds; 0 when there is none."""
        low, high = 0, self.head().position
        with self._connection() as c:
            while low < high:  # Times never go back along the log.
                middle = (low + high + 1) // 2
                row = c.execute("SELECT at FROM stored_events WHERE position = ?", (middle,)).fetchone()
                low, high = (middle, high) if row and row[0] < at_us else (low, middle - 1)
        return low

    def _placed(self, wanted: Filter) -> Filter:
        """Return a filter with positions, which have an index, not times, and with the faster way to look."""
        if wanted.part_of_a_name:
            wanted = replace(wanted, by_stream=self._are_few(wanted.part_of_a_name))
        if wanted.since_us is None and wanted.until_us is None:
            return wanted
        after, until = wanted.after, wanted.until
        if wanted.since_us is not None:
            after = max(after, self.position_at(wanted.since_us))
        if wanted.until_us is not None:
            last = self.position_at(wanted.until_us)
            until = last if until is None else min(until, last)
        return replace(wanted, after=after, until=until, since_us=None, until_us=None)

    def _are_few(self, prefix: str) -> bool:
        """Tell whether the streams with a prefix have few events. Many are found sooner along the log."""
        with self._connection() as c:
            found = c.execute(
                "SELECT COUNT(*) FROM (SELECT 1 FROM stored_events WHERE originator_id >= ? AND originator_id < ? "
                "LIMIT ?)",
                (prefix, prefix + HIGHEST, _FEW + 1),
            ).fetchone()[0]
        return bool(found <= _FEW)

    def counts(self, wanted: Filter, seconds: int) -> list[tuple[int, str, int]]:
        """Return (start in unix seconds, type, how many) of spans of `seconds` in which there are events."""
        where, parameters = self._placed(wanted).where()
        with self._connection() as c:
            return c.execute(
                f"SELECT at / 1000000 / ? * ? AS span, topic, COUNT(*) FROM stored_events WHERE {where} "  # noqa: S608
                "GROUP BY span, topic ORDER BY span",
                (seconds, seconds, *parameters),
            ).fetchall()

    def sizes(self) -> list[tuple[str, int, int]]:
        """Return (type, how many, bytes of payload) of all events, the largest first."""
        with self._connection() as c:
            return c.execute(
                "SELECT topic, COUNT(*), SUM(LENGTH(state)) AS size FROM stored_events "
                "GROUP BY topic ORDER BY size DESC"
            ).fetchall()

    def emptied(self) -> int:
        """Return of how many events the payload was blanked. Reads the whole log."""
        with self._connection() as c:
            return int(c.execute("SELECT COUNT(*) FROM stored_events WHERE state = x''").fetchone()[0])

    def refuse_newer(self) -> None:
        """Raise NewerLogError when there are types of events that the mapper was not taught."""
        known = {event_type.TOPIC for event_type in self._mapper.event_types}
        if unknown := [name for name in self.types() if name not in known]:
            raise NewerLogError(self._path, unknown)

    def types(self) -> list[str]:
        """Return the types of which there are events."""
        with self._connection() as c:
            found: list[str] = []
            while row := c.execute(
                "SELECT topic FROM stored_events WHERE topic > ? ORDER BY topic LIMIT 1",
                (found[-1] if found else "",),
            ).fetchone():
                found.append(row[0])
        return found

    def commit_of(self, position: int) -> Commit | None:
        """Return the commit that wrote an event, or None."""
        with self._connection() as c:
            row = c.execute(
                "SELECT first_position, last_position, at, hash FROM commits WHERE last_position >= ? "
                "ORDER BY last_position LIMIT 1",
                (position,),
            ).fetchone()
        return Commit(*row) if row and row[0] <= position else None

    def heads(self, wanted: Filter, limit: int) -> list[StoredRecord]:
        """Return the newest event of streams that fit, the stream that changed last first."""
        where, parameters = self._placed(wanted).where()
        with self._connection() as c:
            rows = c.execute(
                f"SELECT {COLUMNS} FROM stored_events AS e WHERE {where} AND NOT EXISTS ("  # noqa: S608
                "SELECT 1 FROM stored_events AS n WHERE n.originator_id = e.originator_id "
                "AND n.originator_version = e.originator_version + 1) ORDER BY position DESC LIMIT ?",
                (*parameters, limit),
            )
            return [StoredRecord._make(row) for row in rows]

    def longest(self, prefix: str, user: str, limit: int) -> list[StoredRecord]:
        """Return the newest event of the streams with the most changes; of one user unless that is ""."""
        clause, owner = ("AND owner = ?", [user]) if user else ("", [])
        query = (
            "SELECT originator_id, MAX(originator_version) AS version FROM stored_events "  # noqa: S608 - constants
            f"WHERE originator_id >= ? AND originator_id < ? {clause} "
            "GROUP BY originator_id ORDER BY version DESC LIMIT ?"
        )
        with self._connection() as c:
            names = c.execute(query, [prefix, prefix + HIGHEST, *owner, limit]).fetchall()
            select = f"SELECT {COLUMNS} FROM stored_events WHERE originator_id = ? AND originator_version = ?"  # noqa: S608
            return [StoredRecord._make(c.execute(select, name).fetchone()) for name in names]

    def streams(self, prefix: str, limit: int) -> list[tuple[str, int, int, int]]:
        """Return (stream, version, last position, last time in microseconds) of streams by name."""
        with self._connection() as c:
            return c.execute(
                "SELECT originator_id, MAX(originator_version), MAX(position), MAX(at) FROM stored_events "
                "WHERE originator_id >= ? AND originator_id < ? GROUP BY originator_id LIMIT ?",
                (prefix, prefix + HIGHEST, limit),
            ).fetchall()

    def check_commit(self, position: int, expected: bytes) -> None:
        """Raise BrokenChainError unless a commit ended at `position` with this hash.

        If the chain verifies besides, nothing before it was changed.
        """
        with self._connection() as c:
            found = c.execute("SELECT hash FROM commits WHERE last_position=?", (position,)).fetchone()
        if (found[0] if found else chain.GENESIS if position == 0 else b"") != expected:
            raise BrokenChainError(position, "the log was changed since the checkpoint, or is another one")

    def verify(self, *, after: int = 0, on_progress: Callable[[int], None] = lambda _: None) -> int:
        """Walk the hash chain over the commits later than position `after`; return how many events were checked.

        `on_progress` is told the position from time to time. Raises BrokenChainError at the first misfit.
        """
        with self._snapshot() as c:
            begin, previous = _anchor(c, after)
            last = _walk(c, begin, previous, None, on_progress)
            _check_end(c, last)
        return last - begin

    def verify_part(self, after: int, until: int) -> int:
        """Walk from the end of one commit to the first that reaches `until`; return the position of its end.

        The part that comes to the end of the log checks that nothing is missing there. Raises BrokenChainError.
        """
        with self._snapshot() as c:
            last = _walk(c, *_anchor(c, after), until, lambda _: None)
            newest = c.execute("SELECT MAX(last_position) FROM commits").fetchone()[0] or 0
            if last >= newest:
                _check_end(c, last)
        return last

    @contextmanager
    def _snapshot(self) -> Iterator[sqlite3.Connection]:
        """One state of the log, whatever is appended meanwhile."""
        with self._connection() as c:
            c.execute("BEGIN")
            try:
                yield c
            finally:
                c.execute("ROLLBACK")

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._reads += 1
            connection = self._idle.pop() if self._idle else None
        if connection is None:
            connection = open_for_reading(self._path)
        try:
            yield connection
        finally:
            with self._lock:
                self._idle.append(connection)


def _anchor(c: sqlite3.Connection, after: int) -> tuple[int, bytes]:
    """Return the last commit that ends at `after` or before: its last position and its hash."""
    row = c.execute(
        "SELECT last_position, hash FROM commits WHERE last_position <= ? ORDER BY last_position DESC LIMIT 1",
        (after,),
    ).fetchone()
    return row or (0, chain.GENESIS)


def _walk(
    c: sqlite3.Connection, last: int, previous: bytes, until: int | None, on_progress: Callable[[int], None]
) -> int:
    """Check the commits after one; return the last position that was checked."""
    rows = c.execute(
        "SELECT last_position, first_position, at, hash FROM commits WHERE last_position > ? "
        "ORDER BY last_position",
        (last,),
    )
    try:
        for last_position, first, at, expected in rows:
            if first != last + 1:
                raise BrokenChainError(last + 1, "a commit is missing")
            found = c.execute(_SELECT + "WHERE position BETWEEN ? AND ? ORDER BY position", (first, last_position))
            if chain.check(previous, map(StoredRecord._make, found), expected, first, last_position) != at:
                raise BrokenChainError(first, "the commit's time does not match its events")
            if last // BATCH != last_position // BATCH:
                on_progress(last_position)
            previous, last = expected, last_position
            if until is not None and last >= until:
                break
    except sqlite3.DatabaseError as error:
        raise BrokenChainError(last + 1, f"the file is damaged: {error}") from error
    return last


def _check_end(c: sqlite3.Connection, last: int) -> None:
    newest = c.execute("SELECT MAX(position) FROM stored_events").fetchone()[0] or 0
    if newest != last:
        raise BrokenChainError(min(newest, last) + 1, "the newest events belong to no commit")
    # SQLite remembers the highest position ever given out, also when its row is gone.
    given = c.execute("SELECT seq FROM sqlite_sequence WHERE name='stored_events'").fetchone()
    if given and given[0] != last:
        raise BrokenChainError(last + 1, "the newest events were removed")
