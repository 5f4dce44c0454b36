"""eventlog.chain and Reader.verify: whatever is done to the file is found."""

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import trio

from eventlog.envelope import Origin, StreamAppend
from eventlog.errors import BrokenChainError
from eventlog.filter import Filter
from eventlog.log import open_log
from eventlog.reader import Reader
from tests.eventlog.things import MAPPER, Happened, append, to

COMMITS = 6
EVENTS = 12


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return the bytes of a log of six commits with two events each."""
    folder = tmp_path_factory.mktemp("whole")

    async def make() -> None:
        async with open_log(folder, MAPPER) as log:
            for n in range(COMMITS):
                await log.append(to(f"a:{n}", 0, n), to(f"b:{n}", 0, n), origin=Origin("user:u1", "c", None))

    trio.run(make)
    return (folder / "events.db").read_bytes()


@pytest.fixture
def reader(tmp_path: Path, whole: bytes) -> Iterator[Reader]:
    """Return a reader of a fresh copy of that log."""
    path = tmp_path / "events.db"
    path.write_bytes(whole)
    reader = Reader(path, MAPPER)
    yield reader
    reader.close()


@contextmanager
def _edit(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(tmp_path / "events.db")) as connection:
        yield connection
        connection.commit()


def test_an_untouched_log_verifies(reader: Reader) -> None:
    assert reader.verify() == EVENTS


@pytest.mark.parametrize(
    ("after", "checked"), [(0, 12), (1, 12), (2, 10), (9, 4), (10, 2), (11, 2), (12, 0), (13, 0)]
)
def test_the_newest_commits_can_be_verified_alone(reader: Reader, after: int, checked: int) -> None:
    assert reader.verify(after=after) == checked


TAMPERINGS = {
    "changing a byte of a payload": """UPDATE stored_events
        SET state = CAST(replace(state, '"n":2', '"n":3') AS BLOB) WHERE position = 5""",
    "changing a payload and its digest": """UPDATE stored_events SET state = X'7B7D', digest = X'00'
        WHERE position = 5""",
    "changing a digest": "UPDATE stored_events SET digest = zeroblob(32), state = X'' WHERE position = 5",
    "changing the actor": "UPDATE stored_events SET actor = 'user:u2' WHERE position = 5",
    "changing the correlation": "UPDATE stored_events SET correlation = 'd' WHERE position = 5",
    "adding a causation": "UPDATE stored_events SET causation = 1 WHERE position = 5",
    "changing the time": "UPDATE stored_events SET at = at + 1 WHERE position = 5",
    "changing the topic": "UPDATE stored_events SET topic = 'test.noted' WHERE position = 5",
    "changing the stream": "UPDATE stored_events SET originator_id = 'a:9' WHERE position = 5",
    "changing the owner": "UPDATE stored_events SET owner = 'somebody' WHERE position = 5",
    "changing the version": "UPDATE stored_events SET originator_version = 2 WHERE position = 5",
    "deleting an event": "DELETE FROM stored_events WHERE position = 5",
    "deleting the first event": "DELETE FROM stored_events WHERE position = 1",
    "deleting the last event": "DELETE FROM stored_events WHERE position = 12",
    "adding an event at the end": """INSERT INTO stored_events
        SELECT 13, 'c:1', 1, topic, state, at, actor, correlation, causation, digest, owner
        FROM stored_events WHERE position = 12""",
    "adding an event before the first": """INSERT INTO stored_events
        SELECT 0, 'c:1', 1, topic, state, at, actor, correlation, causation, digest, owner
        FROM stored_events WHERE position = 1;
        UPDATE commits SET first_position = 0 WHERE first_position = 1""",
    "adding an event in the middle": """UPDATE stored_events SET position = -position - 1 WHERE position > 5;
        UPDATE stored_events SET position = -position WHERE position < 0;
        INSERT INTO stored_events
        SELECT 6, 'c:1', 1, topic, state, at, actor, correlation, causation, digest, owner
        FROM stored_events WHERE position = 5""",
    "adding an event to the newest commit": """INSERT INTO stored_events
        SELECT 13, 'c:1', 1, topic, state, at, actor, correlation, causation, digest, owner
        FROM stored_events WHERE position = 12;
        UPDATE commits SET last_position = 13 WHERE last_position = 12""",
    "swapping two events of a commit": """UPDATE stored_events SET position = -5 WHERE position = 5;
        UPDATE stored_events SET position = 5 WHERE position = 6;
        UPDATE stored_events SET position = 6 WHERE position = -5""",
    "swapping two events of two commits": """UPDATE stored_events SET position = -3 WHERE position = 3;
        UPDATE stored_events SET position = 3 WHERE position = 9;
        UPDATE stored_events SET position = 9 WHERE position = -3""",
    "swapping two commits": """UPDATE commits SET hash = (SELECT hash FROM commits WHERE last_position = 8)
        WHERE last_position = 6""",
    "changing a hash": "UPDATE commits SET hash = zeroblob(32) WHERE last_position = 6",
    "changing the newest hash": "UPDATE commits SET hash = zeroblob(32) WHERE last_position = 12",
    "deleting a commit": "DELETE FROM commits WHERE last_position = 6",
    "deleting the newest commit": "DELETE FROM commits WHERE last_position = 12",
    "deleting a commit and its events": """DELETE FROM commits WHERE last_position = 6;
        DELETE FROM stored_events WHERE position IN (5, 6)""",
    "deleting the first commit and its events": """DELETE FROM commits WHERE last_position = 2;
        DELETE FROM stored_events WHERE position <= 2""",
    "joining two commits": """DELETE FROM commits WHERE last_position = 6;
        UPDATE commits SET first_position = 5 WHERE last_position = 8""",
    "truncating the events": "DELETE FROM stored_events WHERE position > 6",
    "truncating the commits": "DELETE FROM commits WHERE last_position > 6",
    "deleting all commits": "DELETE FROM commits",
    "deleting all events": "DELETE FROM stored_events",
}


@pytest.mark.parametrize("what", TAMPERINGS)
def test_tampering_is_found(tmp_path: Path, reader: Reader, what: str) -> None:
    with _edit(tmp_path) as connection:
        before = connection.total_changes
        connection.executescript(TAMPERINGS[what])
        assert connection.total_changes > before, "the statement changed nothing"
    with pytest.raises(BrokenChainError, match="does not verify at position") as found:
        reader.verify()
    assert 0 <= found.value.position <= EVENTS + 1


MANY = 1000


@pytest.fixture
async def large(tmp_path: Path) -> AsyncIterator[Reader]:
    """Return a reader of a log with one commit of many events, between two small ones."""
    async with open_log(tmp_path, MAPPER) as log:
        await append(log, "a", 0, 0)
        await append(log, "b", 0, *range(MANY))
        await append(log, "a", 1, 1)
    reader = Reader(tmp_path / "events.db", MAPPER)
    yield reader
    reader.close()


async def test_a_commit_of_many_events_verifies(large: Reader) -> None:
    assert large.verify() == MANY + 2
    assert large.verify(after=1) == MANY + 1


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("UPDATE stored_events SET state = state || x'20' WHERE position = 500", 500),
        ("UPDATE stored_events SET state = state || x'20' WHERE position IN (500, 700)", 500),
        ("UPDATE stored_events SET state = 'text' WHERE position = 500", 500),
        ("DELETE FROM stored_events WHERE position = 500", 500),
        ("UPDATE stored_events SET actor = 'x' WHERE position = 500", 2),
    ],
)
async def test_a_change_in_the_middle_of_a_commit_of_many_events_is_named(
    tmp_path: Path, large: Reader, statement: str, named: int
) -> None:
    """By its own position, or by that of its commit's first event if nothing but the hash tells."""
    with _edit(tmp_path) as connection:
        connection.execute(statement)
    with pytest.raises(BrokenChainError) as found:
        large.verify()
    assert found.value.position == named


@pytest.mark.parametrize("kept", [10, 2, 0])
def test_truncating_events_and_commits_together_is_found(tmp_path: Path, reader: Reader, kept: int) -> None:
    with _edit(tmp_path) as connection:
        connection.execute("DELETE FROM stored_events WHERE position > ?", (kept,))
        connection.execute("DELETE FROM commits WHERE last_position > ?", (kept,))
    with pytest.raises(BrokenChainError):
        reader.verify()


def test_changing_the_time_of_a_commit_is_found(tmp_path: Path, reader: Reader) -> None:
    with _edit(tmp_path) as connection:
        connection.execute("UPDATE commits SET at = at + 1000000 WHERE last_position = 12")
    with pytest.raises(BrokenChainError):
        reader.verify()


@pytest.mark.parametrize("positions", [(1,), (5, 6), (12,), tuple(range(1, 13))])
def test_a_log_with_erased_payloads_verifies(tmp_path: Path, reader: Reader, positions: tuple[int, ...]) -> None:
    with _edit(tmp_path) as connection:
        connection.executemany("UPDATE stored_events SET state = X'' WHERE position = ?", [(p,) for p in positions])
    assert reader.verify() == EVENTS


def test_a_log_with_erased_payloads_can_be_replayed(tmp_path: Path, reader: Reader) -> None:
    with _edit(tmp_path) as connection:
        connection.execute("UPDATE stored_events SET state = X'' WHERE position = 5")
    assert reader.events(Filter())


def test_what_lies_before_the_newest_commits_is_not_looked_at(tmp_path: Path, reader: Reader) -> None:
    with _edit(tmp_path) as connection:
        connection.execute("UPDATE stored_events SET actor = 'x' WHERE position = 1")
    assert reader.verify(after=2) == EVENTS - 2
    with pytest.raises(BrokenChainError):
        reader.verify(after=1)


@pytest.mark.parametrize("what", ["changing the newest hash", "deleting the last event", "truncating the events"])
async def test_a_damaged_log_is_not_opened(tmp_path: Path, reader: Reader, what: str) -> None:
    with _edit(tmp_path) as connection:
        connection.executescript(TAMPERINGS[what])
    with pytest.raises(BrokenChainError):
        async with open_log(tmp_path, MAPPER):
            raise AssertionError("unreachable")


async def test_the_chain_goes_on_over_restarts_and_erasures(tmp_path: Path, reader: Reader) -> None:
    with _edit(tmp_path) as connection:
        connection.execute("UPDATE stored_events SET state = X'' WHERE position = 12")
    async with open_log(tmp_path, MAPPER) as log:
        await append(log, "a:1", 1, 1)
    async with open_log(tmp_path, MAPPER) as log:
        await append(log, "a:1", 2, 2)
        assert log.reader.verify() == EVENTS + 2


async def test_an_erased_payload_cannot_be_put_back_changed(tmp_path: Path) -> None:
    async with open_log(tmp_path, MAPPER) as log:
        await log.append(StreamAppend("a", 0, [Happened(text="secret")]), origin=Origin("a", "b"))
    with _edit(tmp_path) as connection:
        connection.execute("UPDATE stored_events SET state = ?", (b'{"n":0,"text":"other"}',))
    reader = Reader(tmp_path / "events.db", MAPPER)
    with pytest.raises(BrokenChainError, match="the payload was changed"):
        reader.verify()
    reader.close()
