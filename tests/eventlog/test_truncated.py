"""eventlog.truncated: the log as it was, in a file of its own."""

import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest
import trio

from eventlog import chain
from eventlog.errors import EventLogError
from eventlog.filter import Filter
from eventlog.log import EventLog, open_log
from eventlog.reader import Head, Reader
from eventlog.truncated import copy_until
from tests.eventlog.things import MAPPER, ORIGIN, append, to

EVENTS = 24


@pytest.fixture
def log_file(tmp_path: Path) -> Path:
    """Return a log of eight commits, of two events in two streams and one in a third."""

    async def write() -> None:
        async with open_log(tmp_path, MAPPER) as log:
            for n in range(EVENTS // 3):
                await log.append(to("a", 2 * n, n, n), to(f"b:{n}", 0, n), origin=ORIGIN)

    trio.run(write)
    return tmp_path / "events.db"


def _copied(log_file: Path, position: int) -> tuple[int, Reader]:
    (log_file.parent / "copy").mkdir(exist_ok=True)
    to_ = log_file.parent / "copy" / "events.db"
    return copy_until(log_file, position, to_), Reader(to_, MAPPER)


@pytest.mark.parametrize("position", [0, 1, 2, 3, 4, 11, 12, 23, 24, 25, 10**9])
def test_a_copy_ends_with_the_last_commit_that_was_whole_at_a_position(log_file: Path, position: int) -> None:
    original = Reader(log_file, MAPPER)
    last, copy = _copied(log_file, position)
    assert last == min(EVENTS, position // 3 * 3)
    assert copy.stored(Filter(), -1) == original.stored(Filter(until=last), -1)
    assert copy.verify() == last
    assert copy.identity() == original.identity()
    assert copy.head() == _head_at(original, last)
    copy.check_commit(last, copy.head().hash)
    original.check_commit(last, copy.head().hash)
    original.close()
    copy.close()


def _head_at(reader: Reader, last: int) -> Head:
    """Return what `head` said when the log ended at a position."""
    commit = reader.commit_of(last) if last else None
    return Head(commit.last, commit.hash, commit.at) if commit else Head(0, chain.GENESIS, 0)


def test_nothing_of_what_came_later_is_left_in_the_file(log_file: Path) -> None:
    _, copy = _copied(log_file, 3)
    copy.close()
    content = b"".join(p.read_bytes() for p in (log_file.parent / "copy").iterdir())
    assert b"b:0" in content
    assert b"b:1" not in content
    assert b"b:7" not in content


def test_the_original_is_not_touched_and_the_copy_is_for_its_owner_only(log_file: Path) -> None:
    before = log_file.read_bytes()
    _, copy = _copied(log_file, 9)
    copy.close()
    assert log_file.read_bytes() == before
    for path in (log_file.parent / "copy").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_is_there_is_not_written_over(log_file: Path) -> None:
    _, copy = _copied(log_file, 9)
    copy.close()
    with pytest.raises(EventLogError, match="exists already"):
        _copied(log_file, 3)
    with pytest.raises(EventLogError, match="exists already"):
        copy_until(log_file, 3, log_file)
    assert Reader(log_file, MAPPER).verify() == EVENTS


async def test_the_copy_is_a_log_like_any_other(log_file: Path) -> None:
    _, copy = _copied(log_file, 9)
    copy.close()
    async with open_log(log_file.parent / "copy", MAPPER) as log:
        assert log.position == 9
        (recorded,) = await append(log, "a", 6, 100)
        assert recorded.position == 10
        assert log.reader.verify() == 10


async def test_a_log_in_use_can_be_copied_at_any_moment(tmp_path: Path) -> None:
    """Every copy verifies, and begins as the one before."""
    copies = 8

    async def write(log: EventLog, enough: trio.Event) -> None:
        n = 0
        while not enough.is_set():
            n += 1
            await append(log, f"w:{n}", 0, *range(n % 5 + 1))

    async with open_log(tmp_path, MAPPER) as log:
        enough = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write, log, enough)
            for n in range(copies):
                await log.wait_past(log.position + 10)
                await trio.to_thread.run_sync(_check_copy, log, tmp_path / f"copy-{n}.db")
            enough.set()


def _check_copy(log: EventLog, to_: Path) -> None:
    position = log.position
    last = copy_until(log.path, position, to_)
    assert last == position, "what is known to listeners is the end of a commit"
    with closing(sqlite3.connect(to_)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    copy = Reader(to_, MAPPER)
    assert copy.verify() == last
    copy.close()
