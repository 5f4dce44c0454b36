"""The event log as tasks see it."""

import time
from collections import Counter as Tally
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any

import outcome
import structlog
import trio
from prometheus_client import Counter, Histogram

from eventlog.codec import EventMapper
from eventlog.envelope import Origin, Recorded, StreamAppend
from eventlog.errors import EventLogError
from eventlog.filter import Filter
from eventlog.folder import FolderLock, refuse_network_file_system
from eventlog.reader import BATCH, BATCH_BYTES, Reader
from eventlog.schema import open_recorder
from eventlog.subscription import Subscription
from eventlog.writer import EncodedAppend, FailPoint, Request, Writer

FILE_NAME = "events.db"
TAIL_EVENTS = 5000
"""The newest events, whose hash chain is verified at every start."""
RECENT = 4096
"""Events kept in memory for subscribers that are nearly up to date."""
RECENT_BYTES = 32 << 20
"""The most that these may take in the log."""

_LARGE_TEXT = 100_000
"""Characters that take a millisecond to encode, and encrypt, and decode again."""

Listener = Callable[[Sequence[Recorded[Any]]], None]

_logger = structlog.get_logger("eventlog")

APPENDED = Counter("agentstack_events_appended_total", "Events appended to the log", ["type"])
APPEND_SECONDS = Histogram(
    "agentstack_event_append_seconds",
    "Time from asking for an append to its acknowledgement on disk, of the longest wait in each commit",
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5),
)


def _not_now(_: object) -> trio.lowlevel.Abort:
    return trio.lowlevel.Abort.FAILED


class EventLog:
    """Append, read and follow events. Make one with `open_log`; all methods are for trio tasks."""

    is_read_only = False

    def __init__(self, path: Path, mapper: EventMapper, reader: Reader, position: int) -> None:
        self.path = path
        self.position = position
        """Position of the newest event that listeners have seen."""
        self.reader = reader
        self._mapper = mapper
        self._writer: Writer | None = None
        self._listeners: list[Listener] = []
        self._recent: deque[Recorded[Any]] = deque()
        self._recent_bytes = 0
        self._waiting: dict[str | None, trio.lowlevel.ParkingLot] = {}
        self.faults: Tally[str] = Tally()
        """How often a listener has raised, by its name."""

    def __repr__(self) -> str:
        return f"<EventLog {self.path} at {self.position}>"

    def listen(self, listener: Listener) -> None:
        """Have `listener` called with the events of every commit, before any caller or subscriber goes on.

        It runs in the trio thread and must not block. If it raises, that is logged and counted in `faults`; the
        other listeners, the subscribers and the callers are told of the commit all the same.
        """
        self._listeners.append(listener)

    async def append(self, *appends: StreamAppend, origin: Origin) -> list[Recorded[Any]]:
        """Append to one or several streams, all or nothing, and return the events as recorded.

        When it returns, the events are on disk and every listener has seen them. Raises StreamConflictError
        when a stream is not at its expected version, AppendFailedError when the disk refuses, UnkeepableError when
        an event could not be read back, KeyDestroyedError when the owner was deleted. It is not cancelled half way:
        a commit that is on its way is waited for.
        """
        if self._writer is None:
            raise EventLogError("the event log is not open")
        encoded = (
            # A text of some length is encoded where nobody waits for it.
            await trio.to_thread.run_sync(self._all_encoded, appends)
            if any(map(_is_large, appends))
            else self._all_encoded(appends)
        )
        request = Request(
            encoded,
            origin,
            ticket=trio.lowlevel.current_task(),
            asked_at=time.perf_counter(),
        )
        self._writer.submit(request)
        recorded: list[Recorded[Any]] = await trio.lowlevel.wait_task_rescheduled(_not_now)
        return recorded

    def _all_encoded(self, appends: Sequence[StreamAppend]) -> tuple[EncodedAppend, ...]:
        return tuple(map(self._encoded, appends))

    def _encoded(self, append: StreamAppend) -> EncodedAppend:
        encode, stream, owner = self._mapper.encode, append.stream, append.owner
        events = tuple(
            (event, *encode(event, stream, version, owner))
            for version, event in enumerate(append.events, start=append.expected + 1)
        )
        return EncodedAppend(stream, append.expected, events, owner, append.at)

    def forget(self) -> None:
        """Drop the events that are kept in memory: someone's private parts in them are to be gone."""
        self._recent.clear()
        self._recent_bytes = 0

    def subscribe(self, after: int, stream: str | None = None) -> Subscription:
        """Return the events after position `after`, of one stream or all: first the stored ones, then live."""
        return Subscription(self, after, stream)

    async def read(self, wanted: Filter, limit: int = BATCH, most_bytes: int = BATCH_BYTES) -> list[Recorded[Any]]:
        """Read events from disk, in a worker thread. Bounds as for `Reader.stored`."""
        return await trio.to_thread.run_sync(self.reader.events, wanted, limit, most_bytes)

    async def read_stream(self, stream: str, after_version: int = 0) -> list[Recorded[Any]]:
        """Read a whole stream, or what is later than `after_version`. It should be one with few events."""
        found = await self.read(Filter(stream=stream), limit=-1)
        return [r for r in found if r.version > after_version]

    def recent(self, after: int, stream: str | None = None) -> list[Recorded[Any]] | None:
        """Return the events after `after` from memory, or None when memory does not reach back so far."""
        if after >= self.position:
            return []
        if not self._recent or self._recent[0].position > after + 1:
            return None
        # From the right: who asks is nearly up to date.
        found = takewhile(lambda r: r.position > after, reversed(self._recent))
        return [r for r in found if stream is None or r.stream == stream][::-1]

    def _remember(self, recorded: Sequence[Recorded[Any]]) -> None:
        self._recent.extend(recorded)
        self._recent_bytes += sum(r.size for r in recorded)
        while len(self._recent) > RECENT or self._recent_bytes > RECENT_BYTES:
            self._recent_bytes -= self._recent.popleft().size

    async def wait_past(self, position: int, stream: str | None = None) -> None:
        """Wait until a commit after `position` touches `stream` (or any stream)."""
        if self.position > position and stream is None:
            return
        lot = self._waiting.setdefault(stream, trio.lowlevel.ParkingLot())
        try:
            await lot.park()
        finally:
            if not lot and self._waiting.get(stream) is lot:
                del self._waiting[stream]

    async def is_writable(self) -> bool:
        """Tell whether the last commit went through and, if it did not, whether one does now."""
        if self._writer is None:
            return False
        if not self._writer.healthy:
            try:
                await self.append(origin=Origin("system", "probe"))
            except EventLogError:
                return False
        return True

    def statistics(self) -> dict[str, int]:
        """Return counts of commits, events, reads, queued requests and waiting subscribers."""
        writer = self._writer.statistics() if self._writer else {}
        waiting = sum(len(lot) for lot in self._waiting.values())
        return {**writer, **self.reader.statistics(), "position": self.position, "waiting": waiting}

    def start(self, writer: Writer) -> None:
        """Begin to append through `writer`."""
        self._writer = writer
        writer.start()

    async def aclose(self) -> None:
        """Commit what is queued and close the files."""
        if self._writer:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(self._writer.close)
                # The last group's delivery is queued in the trio thread by now: let it happen.
                await trio.lowlevel.checkpoint()
        self.reader.close()

    def _tell(self, recorded: Sequence[Recorded[Any]]) -> None:
        """Call the listeners. What one of them does must not keep the others and the callers waiting."""
        for listener in self._listeners:
            try:
                listener(recorded)
            except Exception:
                name = _name_of(listener)
                self.faults[name] += 1
                span = {"first": recorded[0].position, "last": recorded[-1].position}
                _logger.exception("listener_failed", listener=name, **span)

    def deliver(self, group: list[Request]) -> None:
        """Make a finished group known, in the trio thread: listeners, then subscribers, then the callers."""
        recorded: list[Recorded[Any]] = []
        answers: list[tuple[trio.lowlevel.Task, outcome.Outcome[list[Recorded[Any]]]]] = []
        for request in group:
            if request.error:
                answers.append((request.ticket, outcome.Error(request.error)))
                continue
            events = (event for append in request.appends for event, *_ in append.events)
            mine = [
                Recorded(
                    r.position,
                    r.originator_id,
                    r.originator_version,
                    r.topic,
                    r.at / 1e6,
                    request.origin,
                    event,
                    r.owner,
                    size=len(r.state),
                )
                for r, event in zip(request.records, events, strict=True)
            ]
            recorded += mine
            answers.append((request.ticket, outcome.Value(mine)))
        if recorded:
            self._remember(recorded)
            self.position = recorded[-1].position
            self._tell(recorded)
            for type_, count in Tally(r.type for r in recorded).items():
                APPENDED.labels(type_).inc(count)
            for stream in {r.stream for r in recorded} & self._waiting.keys():
                self._waiting[stream].unpark_all()
            if None in self._waiting:
                self._waiting[None].unpark_all()
        APPEND_SECONDS.observe(time.perf_counter() - group[0].asked_at)
        for task, answer in answers:
            trio.lowlevel.reschedule(task, answer)


def _is_large(append: StreamAppend) -> bool:
    return any(
        isinstance(value, str) and len(value) > _LARGE_TEXT
        for event in append.events
        for value in event.__dict__.values()
    )


def _name_of(listener: Listener) -> str:
    """Return the name of the function that a listener is, or that it calls."""
    found = listener.func if isinstance(listener, partial) else listener
    return getattr(found, "__qualname__", type(found).__qualname__)


@asynccontextmanager
async def open_log(
    folder: Path, mapper: EventMapper, *, on_point: FailPoint = lambda _: None
) -> AsyncIterator[EventLog]:
    """Open the log in `folder` for appending, verify the end of its chain, and close it afterwards.

    Raises DataFolderInUseError, UnsafeFileSystemError, BrokenChainError or NewerLogError. `on_point` is for tests.
    """
    refuse_network_file_system(folder)
    lock = FolderLock(folder)
    try:
        path = folder / FILE_NAME
        path.touch(0o600)  # Before SQLite opens it: the files that it puts beside it get the same mode.
        path.chmod(0o600)
        recorder = await trio.to_thread.run_sync(open_recorder, path)
        reader = Reader(path, mapper)
        try:
            head = await trio.to_thread.run_sync(reader.head)
            await trio.to_thread.run_sync(partial(reader.verify, after=max(0, head.position - TAIL_EVENTS)))
            await trio.to_thread.run_sync(reader.refuse_newer)
        except BaseException:
            reader.close()
            recorder.datastore.close()
            raise
        log = EventLog(path, mapper, reader, head.position)
        token = trio.lowlevel.current_trio_token()
        log.start(
            Writer(
                recorder,
                position=head.position,
                head=head.hash,
                last_at=head.at,
                deliver=lambda group: token.run_sync_soon(log.deliver, group),
                on_point=on_point,
            )
        )
        try:
            yield log
        finally:
            await log.aclose()
            recorder.datastore.close()
    finally:
        lock.close()
