"""eventlog.schema and the log's files: those of earlier versions, and how large the write-ahead log may become."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import trio

import eventlog.writer
from eventlog.backup.archive import Contents, write_backup
from eventlog.envelope import Origin, StreamAppend
from eventlog.filter import Filter
from eventlog.log import open_log
from eventlog.read_only import open_read_only
from eventlog.reader import Reader
from eventlog.truncated import copy_until
from eventlog.vault import Vault
from tests.eventlog.things import MAPPER, ORIGIN, Happened, append, to
from tests.eventlog.things_sealed import MASTER

INDEXES = {"by_kind", "by_topic", "by_owner", "by_actor", "by_correlation"}


def _columns(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {row[1] for row in connection.execute("PRAGMA table_info(stored_events)")}


def _indexes(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type='index'")}


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Return a log as versions before the inspector left it: no owners, and no indexes for looking into it."""

    async def write() -> None:
        async with open_log(tmp_path, MAPPER) as log:
            for n in range(3):
                await log.append(to(f"user:{n}", 0, n, n), origin=Origin(f"user:{n}", f"c{n}"))

    trio.run(write)
    path = tmp_path / "events.db"
    with closing(sqlite3.connect(path)) as connection:
        for name in INDEXES:
            connection.execute(f"DROP INDEX {name}")
        connection.execute("ALTER TABLE stored_events DROP COLUMN owner")
        connection.commit()
    assert "owner" not in _columns(path)
    return path


async def test_a_log_without_owners_opens_and_goes_on_with_owners(old: Path) -> None:
    async with open_log(old.parent, MAPPER) as log:
        assert log.position == 6
        assert log.reader.verify() == 6
        assert [(r.event.n, r.owner) for r in await log.read(Filter())] == [(n, "") for n in (0, 0, 1, 1, 2, 2)]
        assert [r.position for r in await log.read(Filter(user="1"))] == [3, 4], "by what they did"
        await log.append(StreamAppend("user:1", 2, [Happened(n=9)], "1"), origin=Origin("system", "x"))
        assert [r.position for r in await log.read(Filter(user="1"))] == [3, 4, 7]
        assert log.reader.verify() == 7
    assert _indexes(old) >= INDEXES
    for _ in range(2):
        async with open_log(old.parent, MAPPER) as log:
            assert log.reader.verify() == log.position == 7


async def test_a_checkpoint_of_before_still_fits(old: Path) -> None:
    with closing(sqlite3.connect(old)) as connection:
        position, hash_ = connection.execute("SELECT last_position, hash FROM commits ORDER BY 1 DESC").fetchone()
    async with open_log(old.parent, MAPPER) as log:
        log.reader.check_commit(position, hash_)


def test_a_log_of_before_can_be_read_by_tools_that_come_before_the_first_start(old: Path) -> None:
    """`agentstack events list` or `audit verify`, after an upgrade and before the server has run."""
    reader = Reader(old, MAPPER)
    assert reader.verify() == 6
    assert len(reader.events(Filter())) == 6
    reader.close()


async def test_a_log_of_before_can_be_looked_at_read_only(old: Path) -> None:
    async with open_read_only(old.parent, MAPPER, lambda _: False) as log:
        assert len(await log.read(Filter())) == 6


def test_a_log_of_before_can_be_copied_and_backed_up(old: Path) -> None:
    Vault(old.parent, MASTER).close()
    assert copy_until(old, 4, old.with_name("copy.db")) == 4
    write_backup(old.with_name("b"), Contents(old, old.with_name("vault.db"), {}), {})


# -- the write-ahead log ----------------------------------------------------------------------------------


def _wal(folder: Path) -> int:
    return (folder / "events.db-wal").stat().st_size


async def test_the_write_ahead_log_stays_small_under_load(tmp_path: Path) -> None:
    """Five times what it may hold is written, with readers that come and go."""
    largest = written = 0
    async with open_log(tmp_path, MAPPER) as log:
        for n in range(100):
            text = "x" * 100_000
            await log.append(StreamAppend(f"a:{n}", 0, [Happened(text=text)] * 4), origin=ORIGIN)
            written += 4 * len(text)
            await log.read(Filter(stream=f"a:{n}"))
            largest = max(largest, _wal(tmp_path))
    assert written == 40_000_000
    assert largest < 12_000_000


async def test_what_a_long_read_made_it_grow_to_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eventlog.writer, "WAL_BYTES", 1 << 20)
    async with open_log(tmp_path, MAPPER) as log:
        await append(log, "first", 0, 1)
        with log.reader._snapshot() as c:
            assert c.execute("SELECT COUNT(*) FROM stored_events").fetchone() == (1,)
            for n in range(20):
                event = Happened(text="x" * 1_000_000)
                await log.append(StreamAppend(f"a:{n}", 0, [event]), origin=ORIGIN)
            assert _wal(tmp_path) > 15_000_000
            assert c.execute("SELECT COUNT(*) FROM stored_events").fetchone() == (1,), "still the same state"
        for n in range(20):
            await append(log, f"b:{n}", 0, n)
        assert _wal(tmp_path) <= 1 << 20
