"""eventlog.writer when the disk or the database refuses."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from eventlog.envelope import StreamAppend
from eventlog.errors import AppendFailedError, StreamConflictError
from eventlog.filter import Filter
from eventlog.log import EventLog, open_log
from eventlog.schema import ChainedRecorder
from tests.eventlog.things import MAPPER, ORIGIN, Gate, append, to


class Disk(Gate):
    """Fails at one point of a commit while it is told to."""

    def __init__(self, point: str) -> None:
        super().__init__()
        self.point = point
        self.fails = False

    def __call__(self, point: str) -> None:
        super().__call__(point)
        if self.fails and point == self.point:
            raise sqlite3.OperationalError("database or disk is full")


async def _attempt(log: EventLog, results: dict[str, object], *appends: StreamAppend) -> None:
    name = appends[0].stream
    try:
        results[name] = [r.position for r in await log.append(*appends, origin=ORIGIN)]
    except (AppendFailedError, StreamConflictError) as error:
        results[name] = type(error)


@pytest.mark.parametrize("point", ["before_begin", "after_insert", "before_commit"])
async def test_a_full_disk_fails_every_waiting_caller_and_keeps_nothing(tmp_path: Path, point: str) -> None:
    disk = Disk(point)
    results: dict[str, object] = {}
    heard: list[int] = []
    async with open_log(tmp_path, MAPPER, on_point=disk) as log:
        log.listen(lambda records: heard.extend(r.position for r in records))
        await append(log, "a", 0, 1)
        async with trio.open_nursery() as nursery:
            with disk.held():
                nursery.start_soon(_attempt, log, results, to("filler", 0, 1))
                await disk.reached()
                for appends in (
                    (to("a", 1, 2),),
                    (to("b", 0, 1), to("c", 0, 1)),
                    (to("b", 1, 2),),
                    (to("d", 0, 1),),
                ):
                    nursery.start_soon(_attempt, log, results, *appends)
                    await trio.testing.wait_all_tasks_blocked()
                disk.fails = True
        assert set(results.values()) == {AppendFailedError}
        assert set(results) == {"filler", "a", "b", "d"}
        assert heard == [1]
        assert log.position == 1
        assert [r.stream for r in await log.read(Filter())] == ["a"]
        disk.fails = False
        assert await log.is_writable()
        recorded = await log.append(to("a", 1, 2), to("b", 0, 1), to("c", 0, 1), origin=ORIGIN)
        assert [r.position for r in recorded] == heard[1:] == [2, 3, 4]
        assert log.reader.verify() == 4
    async with open_log(tmp_path, MAPPER) as log:
        assert log.position == 4


async def test_the_error_says_what_the_database_said(tmp_path: Path) -> None:
    disk = Disk("before_commit")
    disk.fails = True
    async with open_log(tmp_path, MAPPER, on_point=disk) as log:
        with pytest.raises(AppendFailedError, match="database or disk is full") as failed:
            await append(log, "a", 0, 1)
        assert isinstance(failed.value.__cause__, sqlite3.OperationalError)


async def test_a_conflict_in_a_group_that_fails_stays_a_conflict(tmp_path: Path) -> None:
    disk = Disk("before_commit")
    results: dict[str, object] = {}
    async with open_log(tmp_path, MAPPER, on_point=disk) as log:
        await append(log, "a", 0, 1)
        async with trio.open_nursery() as nursery:
            with disk.held():
                nursery.start_soon(_attempt, log, results, to("filler", 0, 1))
                await disk.reached()
                nursery.start_soon(_attempt, log, results, to("a", 0, 1))
                nursery.start_soon(_attempt, log, results, to("b", 0, 1))
                await trio.testing.wait_all_tasks_blocked()
                disk.fails = True
        assert results == {"filler": AppendFailedError, "a": StreamConflictError, "b": AppendFailedError}


@pytest.mark.parametrize(
    "make_error",
    [
        lambda: sqlite3.OperationalError("disk I/O error"),
        lambda: sqlite3.DatabaseError("database disk image is malformed"),
        lambda: OSError(28, "No space left on device"),
        MemoryError,
    ],
)
async def test_an_insert_that_fails_fails_its_caller_alone_and_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_error: Callable[[], Exception]
) -> None:
    async with open_log(tmp_path, MAPPER) as log:
        await append(log, "a", 0, 1)
        with monkeypatch.context() as patch:

            def insert(*_: Any) -> None:
                raise make_error()

            patch.setattr(ChainedRecorder, "insert", insert)
            with pytest.raises(AppendFailedError):
                await append(log, "a", 1, 2)
            assert log.position == 1
        assert (await append(log, "a", 1, 2))[0].position == 2
        assert log.reader.verify() == 2


async def test_versions_learnt_from_a_failed_commit_are_forgotten(tmp_path: Path) -> None:
    disk = Disk("before_commit")
    async with open_log(tmp_path, MAPPER, on_point=disk) as log:
        await append(log, "a", 0, 1)
        disk.fails = True
        with pytest.raises(AppendFailedError):
            await append(log, "a", 1, 2, 3)
        disk.fails = False
        with pytest.raises(StreamConflictError):
            await append(log, "a", 3, 4)
        assert (await append(log, "a", 1, 2))[0].version == 2


async def test_a_probe_on_a_failing_disk_says_that_the_log_is_not_writable(tmp_path: Path) -> None:
    disk = Disk("before_begin")
    async with open_log(tmp_path, MAPPER, on_point=disk) as log:
        assert await log.is_writable()
        disk.fails = True
        with pytest.raises(AppendFailedError):
            await append(log, "a", 0, 1)
        assert not await log.is_writable()
        disk.fails = False
        assert await log.is_writable()


async def test_a_log_whose_last_append_failed_closes_and_opens_again(tmp_path: Path) -> None:
    disk = Disk("after_insert")
    async with open_log(tmp_path, MAPPER, on_point=disk) as log:
        await append(log, "a", 0, 1)
        disk.fails = True
        with pytest.raises(AppendFailedError):
            await append(log, "a", 1, 2)
    async with open_log(tmp_path, MAPPER) as log:
        assert [r.event.n for r in await log.read(Filter())] == [1]
        assert log.reader.verify() == 1
