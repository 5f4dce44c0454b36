"""eventlog.repository."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from eventlog.envelope import StreamAppend
from eventlog.errors import StreamConflictError
from eventlog.filter import Filter
from eventlog.log import EventLog, open_log
from eventlog.repository import Repository, Versioned
from tests.eventlog.things import MAPPER, ORIGIN, Gate, Happened, append

State = tuple[int, ...]


def _evolve(state: State, event: Any, _: float) -> State:
    return (*state, event.n)


def _repository(log: EventLog, *, keep: int = 512) -> Repository[State]:
    return Repository(log, "thing", (), _evolve, keep=keep)


def _add_next(state: State) -> Sequence[Happened]:
    return [Happened(n=len(state))]


async def test_a_stream_without_events_has_the_initial_state_at_version_0(tmp_path: Path) -> None:
    async with open_log(tmp_path, MAPPER) as log:
        assert await _repository(log).load("1") == Versioned((), 0)


async def test_a_state_is_folded_from_the_events_of_its_stream(tmp_path: Path) -> None:
    async with open_log(tmp_path, MAPPER) as log:
        await append(log, "thing:1", 0, 5, 6)
        await append(log, "thing:2", 0, 7)
    async with open_log(tmp_path, MAPPER) as log:
        repository = _repository(log)
        assert await repository.load("1") == Versioned((5, 6), 2)
        assert await repository.load("2") == Versioned((7,), 1)


async def test_a_command_appends_what_it_decides_and_returns_it_as_recorded(tmp_path: Path) -> None:
    async with open_log(tmp_path, MAPPER) as log:
        repository = _repository(log)
        recorded = await repository.execute("1", lambda _: [Happened(n=1), Happened(n=2)], ORIGIN)
        assert [(r.stream, r.version) for r in recorded] == [("thing:1", 1), ("thing:1", 2)]
        assert await repository.load("1") == Versioned((1, 2), 2)


async def test_a_command_that_decides_nothing_appends_nothing(tmp_path: Path) -> None:
    async with open_log(tmp_path, MAPPER) as log:
        assert await _repository(log).execute("1", lambda _: [], ORIGIN) == []
        assert log.position == 0


async def test_what_a_decision_raises_is_passed_on_and_blocks_nobody(tmp_path: Path) -> None:
    def refuse(_: State) -> list[Happened]:
        raise ValueError("refused")

    async with open_log(tmp_path, MAPPER) as log:
        repository = _repository(log)
        with pytest.raises(ValueError, match="refused"):
            await repository.execute("1", refuse, ORIGIN)
        assert await repository.execute("1", _add_next, ORIGIN)
        assert not repository._locks


async def test_concurrent_commands_on_one_stream_all_succeed_one_after_another(tmp_path: Path) -> None:
    async with open_log(tmp_path, MAPPER) as log:
        repository = _repository(log)
        async with trio.open_nursery() as nursery:
            for _ in range(60):
                nursery.start_soon(repository.execute, "1", _add_next, ORIGIN)
        assert await repository.load("1") == Versioned(tuple(range(60)), 60)
        assert [r.event.n for r in await log.read_stream("thing:1")] == list(range(60))
        assert not repository._locks, "no lock is kept for a stream that is quiet"


async def test_commands_on_many_streams_do_not_wait_for_each_other(tmp_path: Path) -> None:
    gate = Gate()
    async with open_log(tmp_path, MAPPER, on_point=gate) as log:
        repository = _repository(log)
        async with trio.open_nursery() as nursery:
            with gate.held():
                nursery.start_soon(append, log, "filler", 0, 1)
                await gate.reached()
                for n in range(20):
                    nursery.start_soon(repository.execute, str(n), _add_next, ORIGIN)
                while log.statistics()["queued"] < 20:
                    await trio.lowlevel.checkpoint()
        assert log.statistics()["commits"] == 2


async def test_the_cache_follows_what_others_append(tmp_path: Path) -> None:
    async with open_log(tmp_path, MAPPER) as log:
        repository = _repository(log)
        await repository.load("1")
        reads = log.reader.statistics()["reads"]
        await append(log, "thing:1", 0, 5, 6)
        await append(log, "other:1", 0, 9)
        assert await repository.load("1") == Versioned((5, 6), 2)
        assert log.reader.statistics()["reads"] == reads


async def test_a_decision_is_taken_again_when_another_writer_came_first(tmp_path: Path) -> None:
    gate = Gate()
    seen: list[State] = []

    def decide(state: State) -> Sequence[Happened]:
        seen.append(state)
        return _add_next(state)

    async with open_log(tmp_path, MAPPER, on_point=gate) as log:
        repository = _repository(log)
        await repository.execute("1", _add_next, ORIGIN)
        async with trio.open_nursery() as nursery:
            with gate.held():
                nursery.start_soon(append, log, "thing:1", 1, 77)
                await gate.reached()
                nursery.start_soon(repository.execute, "1", decide, ORIGIN)
                await trio.testing.wait_all_tasks_blocked()
        assert seen == [(0,), (0, 77)]
        assert await repository.load("1") == Versioned((0, 77, 2), 3)


async def test_a_conflict_that_never_ends_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_log(tmp_path, MAPPER) as log:
        repository = _repository(log)
        tried: list[int] = []

        async def conflict(wanted: StreamAppend, **_: Any) -> None:
            tried.append(wanted.expected)
            raise StreamConflictError(wanted.stream, wanted.expected)

        monkeypatch.setattr(log, "append", conflict)
        with pytest.raises(StreamConflictError):
            await repository.execute("1", _add_next, ORIGIN)
        assert tried == [0] * 5
        assert not repository._locks


async def test_a_load_never_misses_a_commit_that_comes_during_its_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_log(tmp_path, MAPPER) as log:
        await append(log, "thing:1", 0, 5)
        repository = _repository(log)
        original = log.read
        late = [6, 7]

        async def read(wanted: Filter) -> list[Any]:
            found = await original(wanted)
            if late:
                await append(log, "thing:1", len(found), late.pop(0))
            return found

        monkeypatch.setattr(log, "read", read)
        assert await repository.load("1") == Versioned((5, 6, 7), 3)


async def test_the_cache_keeps_the_most_recently_used(tmp_path: Path) -> None:
    async with open_log(tmp_path, MAPPER) as log:
        repository = _repository(log, keep=2)
        for id_ in ("1", "2", "1", "3"):
            await repository.load(id_)

        async def reads(id_: str) -> int:
            before = log.reader.statistics()["reads"]
            await repository.load(id_)
            return log.reader.statistics()["reads"] - before

        assert await reads("1") == 0
        assert await reads("3") == 0
        assert await reads("2") == 1


async def test_a_cancelled_command_lets_the_next_one_go_on(tmp_path: Path) -> None:
    gate = Gate()
    async with open_log(tmp_path, MAPPER, on_point=gate) as log:
        repository = _repository(log)
        async with trio.open_nursery() as nursery:
            with gate.held():
                nursery.start_soon(repository.execute, "1", _add_next, ORIGIN)
                await gate.reached()
                with trio.CancelScope() as scope:
                    async with trio.open_nursery() as inner:
                        inner.start_soon(repository.execute, "1", _add_next, ORIGIN)
                        await trio.testing.wait_all_tasks_blocked()
                        scope.cancel()
                nursery.start_soon(repository.execute, "1", _add_next, ORIGIN)
        assert await repository.load("1") == Versioned((0, 1), 2)
        assert not repository._locks


async def test_the_cache_keeps_no_more_than_it_may_weigh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eventlog.repository.KEPT_WEIGHT", 10)
    async with open_log(tmp_path, MAPPER) as log:
        nothing: State = ()
        repository = Repository(log, "thing", nothing, _evolve, weigh=len)
        for id_ in range(8):
            await append(log, f"thing:{id_}", 0, *range(3))
            await repository.load(str(id_))
        assert list(repository._cache) == ["thing:5", "thing:6", "thing:7"]
        await append(log, "thing:6", 3, 3)  # It grows while it is kept.
        assert repository._weight == 10
        await append(log, "thing:6", 4, 4)
        assert (list(repository._cache), repository._weight) == (["thing:7", "thing:6"], 8)
        await append(log, "thing:6", 5, *range(20))
        assert (list(repository._cache), repository._weight) == (["thing:6"], 25), "one is always kept"
        assert await repository.load("6") == Versioned((0, 1, 2, 3, 4, *range(20)), 25)


async def test_a_long_stream_is_read_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_log(tmp_path, MAPPER) as log:
        await append(log, "thing:1", 0, *range(50))
        original, batches = log.read, list[int]()

        async def read(wanted: Filter) -> list[Any]:
            found = await original(wanted, most_bytes=100)
            batches.append(len(found))
            return found

        monkeypatch.setattr(log, "read", read)
        monkeypatch.setattr("eventlog.reader.BATCH_BYTES", 100)
        assert await _repository(log).load("1") == Versioned(tuple(range(50)), 50)
        assert len(batches) > 5
        assert max(batches) < 20
