"""eventlog.reader: filters, streams, identity."""

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from eventlog.envelope import Origin, StreamAppend
from eventlog.filter import Filter
from eventlog.log import EventLog, open_log
from eventlog.reader import Reader
from tests.eventlog.things import MAPPER, Happened, Noted, append, to


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[EventLog]:
    """Return a log of eight events: user:1, user:1, user:10, userx, agent:1, user:1, user:2, user:2."""
    async with open_log(tmp_path, MAPPER) as opened:
        await append(opened, "user:1", 0, 1, 2)
        await append(opened, "user:10", 0, 3)
        await append(opened, "userx", 0, 4)
        await opened.append(StreamAppend("agent:1", 0, [Noted(text="5")]), origin=Origin("operator", "job"))
        await append(opened, "user:1", 2, 6)
        await append(opened, "user:2", 0, 7, 8)
        yield opened


@pytest.mark.parametrize(
    ("wanted", "positions"),
    [
        (Filter(), [1, 2, 3, 4, 5, 6, 7, 8]),
        (Filter(after=6), [7, 8]),
        (Filter(after=8), []),
        (Filter(after=100), []),
        (Filter(until=2), [1, 2]),
        (Filter(after=2, until=4), [3, 4]),
        (Filter(stream="user:1"), [1, 2, 6]),
        (Filter(stream="user:"), []),
        (Filter(stream="user:1", after=1, until=2), [2]),
        (Filter(stream_prefix="user:"), [1, 2, 3, 6, 7, 8]),
        (Filter(stream_prefix="user:1"), [1, 2, 3, 6]),
        (Filter(stream_prefix="USER:"), []),
        (Filter(stream_prefix=""), [1, 2, 3, 4, 5, 6, 7, 8]),
        (Filter(stream_prefix="u%"), []),
        (Filter(types=("test.noted",)), [5]),
        (Filter(types=("test.noted", "test.happened"), after=4), [5, 6, 7, 8]),
        (Filter(types=("test.other",)), []),
        (Filter(newest_first=True), [8, 7, 6, 5, 4, 3, 2, 1]),
        (Filter(newest_first=True, stream="user:1"), [6, 2, 1]),
    ],
    ids=str,
)
async def test_a_filter_reads_what_it_says(log: EventLog, wanted: Filter, positions: list[int]) -> None:
    assert [r.position for r in await log.read(wanted)] == positions


async def test_a_limit_takes_the_first_of_the_asked_order(log: EventLog) -> None:
    assert [r.position for r in await log.read(Filter(after=2), limit=3)] == [3, 4, 5]
    assert [r.position for r in await log.read(Filter(newest_first=True), limit=2)] == [8, 7]
    assert [r.position for r in await log.read(Filter(), limit=-1)] == list(range(1, 9))


async def test_a_stream_is_read_from_a_version_on(log: EventLog) -> None:
    assert [r.version for r in await log.read_stream("user:1")] == [1, 2, 3]
    assert [r.version for r in await log.read_stream("user:1", after_version=2)] == [3]
    assert await log.read_stream("user:none") == []


async def test_what_is_read_is_what_was_recorded(log: EventLog) -> None:
    (recorded,) = await log.append(StreamAppend("x", 0, [Happened(n=9, text="\u2603")]), origin=Origin("a", "b", 3))
    assert await log.read(Filter(stream="x")) == [recorded]


async def test_streams_are_listed_with_version_and_last_position(log: EventLog) -> None:
    found = [row[:3] for row in log.reader.streams("user:", 10)]
    assert found == [("user:1", 3, 6), ("user:10", 1, 3), ("user:2", 2, 8)]
    assert len(log.reader.streams("", 2)) == 2
    assert all(row[3] > 1_600_000_000_000_000 for row in log.reader.streams("", 10))


async def test_the_head_is_the_newest_commit(log: EventLog) -> None:
    assert log.reader.head().position == 8
    before = log.reader.head()
    await append(log, "y", 0, 1)
    after = log.reader.head()
    assert after.position == 9
    assert after.hash != before.hash
    assert after.at >= before.at


async def test_an_empty_log_has_a_head_at_zero(tmp_path: Path) -> None:
    async with open_log(tmp_path, MAPPER) as empty:
        assert empty.reader.head().position == 0
        assert empty.reader.events(Filter()) == []
        assert empty.reader.verify() == 0


async def test_the_identity_stays_over_restarts_and_differs_between_logs(tmp_path: Path) -> None:
    identities = []
    for name in ("a", "a", "b"):
        (tmp_path / name).mkdir(exist_ok=True)
        async with open_log(tmp_path / name, MAPPER) as opened:
            identities.append(opened.reader.identity())
    assert identities[0] == identities[1] != identities[2]
    assert len(identities[0]) == 16


async def test_a_reader_cannot_write(log: EventLog) -> None:
    with log.reader._connection() as connection, pytest.raises(Exception, match="readonly"):
        connection.execute("DELETE FROM stored_events")


async def test_many_threads_may_read_at_once(log: EventLog) -> None:
    reader = Reader(log.path, MAPPER)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: len(reader.events(Filter())), range(100)))
    assert found == [8] * 100
    assert reader.statistics() == {"reads": 100}
    reader.close()


async def test_a_reader_sees_whole_appends_only(log: EventLog) -> None:
    await log.append(to("p", 0, 1), to("q", 0, 1), origin=Origin("a", "b"))
    positions = [r.position for r in log.reader.events(Filter())]
    assert positions == list(range(1, 11))
