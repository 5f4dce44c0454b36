"""eventlog.read_only: a log to look at."""

import hashlib
from pathlib import Path

import pytest
import trio

from eventlog.envelope import Recorded, StreamAppend
from eventlog.errors import BrokenChainError, DataFolderInUseError, ReadOnlyError
from eventlog.filter import Filter
from eventlog.log import open_log
from eventlog.read_only import open_read_only
from tests.eventlog.things import MAPPER, ORIGIN, Happened, Noted, append, to


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a log of four events."""

    async def write() -> None:
        async with open_log(tmp_path, MAPPER) as log:
            await append(log, "a", 0, 1, 2)
            await append(log, "b", 0, 3, 4)

    trio.run(write)
    return tmp_path


def _is_noted(event: object) -> bool:
    return isinstance(event, Noted)


def _digests(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir() if p.name == "events.db"}


async def test_it_reads_like_any_log(folder: Path) -> None:
    async with open_read_only(folder, MAPPER, _is_noted) as log:
        assert log.position == 4
        assert [r.event.n for r in await log.read(Filter())] == [1, 2, 3, 4]
        assert [r.version for r in await log.read_stream("a", 1)] == [2]
        assert [r.position for r in await log.subscribe(2).take()] == [3, 4]
        assert log.statistics()["position"] == 4
        assert await log.is_writable()
        assert log.reader.verify() == 4


async def test_nothing_is_appended_to_it(folder: Path) -> None:
    before = _digests(folder)
    heard: list[Recorded[object]] = []
    async with open_read_only(folder, MAPPER, _is_noted) as log:
        log.listen(heard.extend)
        for appends in (
            [to("a", 2, 5)],
            [to("new", 0, 1)],
            [StreamAppend("c", 0, [Noted(text="1"), Happened(n=1)])],
            [StreamAppend("c", 0, [Noted(text="1")]), to("a", 2, 5)],
        ):
            with pytest.raises(ReadOnlyError, match="read-only"):
                await log.append(*appends, origin=ORIGIN)
        assert heard == []
        assert log.position == 4
        assert len(await log.read(Filter())) == 4
    assert _digests(folder) == before


async def test_what_is_volatile_is_made_known_and_kept_nowhere(folder: Path) -> None:
    before = _digests(folder)
    heard: list[Recorded[object]] = []
    async with open_read_only(folder, MAPPER, _is_noted) as log:
        log.listen(heard.extend)
        first = await log.append(StreamAppend("c", 0, [Noted(text="1"), Noted(text="2")], "ada"), origin=ORIGIN)
        second = await log.append(StreamAppend("c", 2, [Noted(text="3")]), origin=ORIGIN)
        assert heard == first + second
        assert [(r.position, r.version, r.type, r.owner) for r in first] == [
            (5, 1, "test.noted", "ada"),
            (6, 2, "test.noted", "ada"),
        ]
        assert [(r.position, r.version, r.origin) for r in second] == [(7, 3, ORIGIN)]
        assert first[0].time <= second[0].time
        assert log.position == 4
        assert await log.read_stream("c") == []
    assert _digests(folder) == before
    async with open_log(folder, MAPPER) as again:
        assert again.position == 4


async def test_it_is_open_in_one_process_only(folder: Path) -> None:
    async with open_read_only(folder, MAPPER, _is_noted):
        with pytest.raises(DataFolderInUseError):
            async with open_log(folder, MAPPER):
                raise AssertionError("unreachable")
    async with open_log(folder, MAPPER):
        with pytest.raises(DataFolderInUseError):
            async with open_read_only(folder, MAPPER, _is_noted):
                raise AssertionError("unreachable")


async def test_a_damaged_log_is_not_opened(folder: Path) -> None:
    path = folder / "events.db"
    path.write_bytes(path.read_bytes().replace(b'"n":4', b'"n":5'))
    with pytest.raises(BrokenChainError):
        async with open_read_only(folder, MAPPER, _is_noted):
            raise AssertionError("unreachable")
    assert path.exists()
