"""The one writer: a thread that owns the only write connection and commits in groups.

Callers queue requests; the thread drains the queue into one transaction, so the cost of a disk flush is shared
by all who waited for the one before. A request is acknowledged after its commit is on disk, never earlier.
"""

import queue
import sqlite3
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog
from eventsourcing.persistence import PersistenceError

from eventlog import chain
from eventlog.envelope import Origin, StoredRecord
from eventlog.errors import AppendFailedError, EventLogError, LogClosedError, StreamConflictError
from eventlog.schema import ChainedRecorder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eventsourcing.sqlite import SQLiteCursor

MAX_GROUP = 1024
"""Requests in one commit at the most: bounds the wait of those that are behind."""
WAL_BYTES = 64 << 20
_HEADS_KEPT = 65_536

_logger = structlog.get_logger("eventlog.writer")


@dataclass(frozen=True, slots=True)
class EncodedAppend:
    """One stream's part of a request: `events` are (event, topic, payload, digest)."""

    stream: str
    expected: int
    events: tuple[tuple[Any, str, bytes, bytes], ...]
    owner: str = ""
    at: int | None = None


@dataclass(slots=True, eq=False)
class Request:
    """What one caller wants appended, all or nothing.

    `ticket` is the caller's, for finding itself again; `asked_at` is by `time.perf_counter`.
    """

    appends: tuple[EncodedAppend, ...]
    origin: Origin
    ticket: Any
    asked_at: float
    records: list[StoredRecord] = field(default_factory=list)
    error: EventLogError | None = None


FailPoint = Callable[[str], None]
"""Called with the name of the point in a commit that has been reached; tests kill or raise there."""

FAIL_POINTS = ("before_begin", "after_insert", "before_commit", "after_commit", "before_deliver")


class Writer:
    """Owns the write connection. `deliver` gets every finished group, in order, on the writer's thread."""

    def __init__(
        self,
        recorder: ChainedRecorder,
        *,
        position: int,
        head: bytes,
        last_at: int,
        deliver: Callable[[list[Request]], None],
        on_point: FailPoint = lambda _: None,
    ) -> None:
        self._recorder = recorder
        self._position = position
        self._head = head
        self._last_at = last_at
        self._deliver = deliver
        self._on_point = on_point
        self._queue: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._heads: OrderedDict[str, int] = OrderedDict()
        self._closed = False
        self.healthy = True
        """Whether the last commit went through."""
        self._commits = 0
        self._events = 0
        self._thread = threading.Thread(target=self._run, name="eventlog-writer", daemon=True)

    def __repr__(self) -> str:
        return f"<Writer at {self._position}, {self._queue.qsize()} queued>"

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, request: Request) -> None:
        """Queue a request. Raises LogClosedError when the log is shutting down."""
        if self._closed:
            raise LogClosedError("the event log is closed")
        self._queue.put(request)

    def close(self) -> None:
        """Commit what is queued, then end the thread. Blocks until it has ended."""
        self._closed = True
        self._queue.put(None)
        self._thread.join()

    def statistics(self) -> dict[str, int]:
        """Return how many commits and events there have been, and how many requests wait."""
        return {"commits": self._commits, "events": self._events, "queued": self._queue.qsize()}

    def _run(self) -> None:
        with self._recorder.datastore.get_connection(commit=True) as connection:
            cursor = connection.cursor()
            cursor.execute("PRAGMA synchronous=FULL")
            cursor.execute("PRAGMA wal_autocheckpoint=2000")
            # What a long read made the write-ahead log grow to is given back afterwards.
            cursor.execute(f"PRAGMA journal_size_limit={WAL_BYTES}")
            last_group = False
            while not last_group:
                group, last_group = self._drain()
                if group:
                    self._commit(cursor, group)
                    self._on_point("before_deliver")
                    self._deliver(group)

    def _drain(self) -> tuple[list[Request], bool]:
        """Wait for a request and take all that wait behind it; True when it was told to close."""
        group: list[Request] = []
        item = self._queue.get()
        while item is not None:
            group.append(item)
            if len(group) >= MAX_GROUP:
                return group, False
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return group, False
        return group, True

    def _commit(self, cursor: "SQLiteCursor", group: list[Request]) -> None:
        """Append what can be appended of a group, in one transaction; mark the rest with their errors.

        A group is first tried whole. If the database refuses some row, it is tried again with a savepoint
        for each request, so that only the culprit fails.
        """
        try:
            try:
                self._transact(cursor, group, each=False)
            except (sqlite3.Error, PersistenceError, OverflowError, UnicodeEncodeError) as error:
                if isinstance(error, sqlite3.OperationalError):
                    raise  # The disk or the file, not a row.
                self._transact(cursor, group, each=True)
            self.healthy = True
        except Exception as error:
            self.healthy = False
            # Nothing of the group was kept, so what was learnt from it is void.
            self._heads.clear()
            _logger.exception("append_failed", requests=len(group))
            failure = AppendFailedError(f"The event log could not be written: {error}")
            failure.__cause__ = error
            for request in group:
                request.records = []
                request.error = request.error or failure

    def _transact(self, cursor: "SQLiteCursor", group: list[Request], *, each: bool) -> None:
        self._on_point("before_begin")
        now, last_at = time.time_ns() // 1000, self._last_at
        written: list[StoredRecord] = []
        with self._transaction(cursor):
            for request in group:
                request.error = self._conflict(cursor, request)
                if request.error:
                    continue
                request.records = self._place(request, now, last_at, self._position + len(written))
                if each and not self._insert_alone(cursor, request):
                    request.records = []
                    continue
                written += request.records
                last_at = written[-1].at if written else last_at
                for append in request.appends:
                    if append.events:
                        self._remember(append.stream, append.expected + len(append.events))
            if not written:
                if not any(r.appends for r in group):
                    # An append of nothing asks whether the disk takes writes: so write, but change nothing.
                    cursor.execute("UPDATE identity SET id=id")
                return
            if not each:
                self._recorder.insert(cursor, written)
            self._on_point("after_insert")
            head = chain.link(self._head, written)
            cursor.execute(
                "INSERT INTO commits (last_position, first_position, at, hash) VALUES (?,?,?,?)",
                (written[-1].position, written[0].position, written[0].at, head),
            )
            self._on_point("before_commit")
        self._on_point("after_commit")
        self._position, self._head, self._last_at = written[-1].position, head, written[-1].at
        self._commits += 1
        self._events += len(written)

    @contextmanager
    def _transaction(self, cursor: "SQLiteCursor") -> "Iterator[None]":
        cursor.execute("BEGIN IMMEDIATE")
        try:
            yield
            cursor.execute("COMMIT")
        except BaseException:
            self._heads.clear()
            try:
                cursor.execute("ROLLBACK")
            except sqlite3.Error:
                _logger.warning("rollback_refused", exc_info=True)  # SQLite has rolled back by itself.
            raise

    def _insert_alone(self, cursor: "SQLiteCursor", request: Request) -> bool:
        cursor.execute("SAVEPOINT request")
        try:
            self._recorder.insert(cursor, request.records)
        except (sqlite3.DatabaseError, OverflowError, UnicodeEncodeError) as error:
            cursor.execute("ROLLBACK TO request")
            self._heads.clear()
            refused = AppendFailedError(f"The event log refused the events: {error}")
            refused.__cause__ = error
            # A stream that was said to be new and is not shows only here.
            request.error = self._conflict(cursor, request, trust=False) or refused
        cursor.execute("RELEASE request")
        return request.error is None

    def _conflict(self, cursor: "SQLiteCursor", request: Request, *, trust: bool = True) -> EventLogError | None:
        """Return an error if some stream is not where the request expects it.

        With `trust`, a stream that is said to be new and is not known is taken to be new: the unique index
        tells otherwise, and then the savepoints find out whose request it was.
        """
        within: dict[str, int] = {}
        for append in request.appends:
            known = within.get(append.stream, self._heads.get(append.stream))
            within[append.stream] = append.expected + len(append.events)
            if known is None:
                if trust and append.expected == 0 and append.events:
                    continue
                known = self._stream_head(cursor, append.stream)
            if known != append.expected:
                return StreamConflictError(append.stream, append.expected)
        return None

    def _stream_head(self, cursor: "SQLiteCursor", stream: str) -> int:
        cursor.execute("SELECT MAX(originator_version) FROM stored_events WHERE originator_id=?", (stream,))
        found: int = cursor.fetchone()[0] or 0
        self._remember(stream, found)
        return found

    def _remember(self, stream: str, version: int) -> None:
        self._heads[stream] = version
        self._heads.move_to_end(stream)
        if len(self._heads) > _HEADS_KEPT:
            self._heads.popitem(last=False)

    @staticmethod
    def _place(request: Request, now: int, last_at: int, position: int) -> list[StoredRecord]:
        """Give every event its place. Neither a clock set back nor an old event turns the log's time back."""
        at = last_at
        envelope = (request.origin.actor, request.origin.correlation, request.origin.causation)
        records: list[StoredRecord] = []
        for append in request.appends:
            at = max(at, now if append.at is None else append.at)
            for offset, (_, topic, payload, digest) in enumerate(append.events, start=1):
                position += 1
                version = append.expected + offset
                records.append(
                    StoredRecord(
                        position, append.stream, version, topic, payload, at, *envelope, digest, append.owner
                    )
                )
        return records
