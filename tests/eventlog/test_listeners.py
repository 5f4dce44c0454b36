"""Listeners of the log: one that raises costs nobody else anything."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from structlog.typing import EventDict

from eventlog.codec import EventMapper
from eventlog.envelope import Recorded
from eventlog.errors import NewerLogError
from eventlog.filter import Filter
from eventlog.log import EventLog, open_log
from eventlog.read_only import open_read_only
from eventlog.repository import Repository
from tests.eventlog.things import MAPPER, ORIGIN, Happened, Noted, append, to
from tests.harness.poison import append_unreadable


def raising(_: Sequence[Recorded[Any]]) -> None:
    raise RuntimeError("a fault of a listener")


async def test_callers_are_answered_and_the_others_are_told(tmp_path: Path, logged: list[EventDict]) -> None:
    async with open_log(tmp_path, MAPPER) as log:
        heard: list[int] = []
        log.listen(raising)
        log.listen(lambda records: heard.extend(r.event.n for r in records))
        log.listen(partial(raising))
        watched = log.subscribe(0)
        with trio.fail_after(60):
            for version, n in enumerate((5, 6, 7)):
                (recorded,) = await append(log, "one:1", version, n)
                assert recorded.event == Happened(n=n)
                assert [r.event.n for r in await watched.next_batch()] == [n]
        assert heard == [5, 6, 7]
        assert log.position == 3
        assert log.faults == {"raising": 6}
    failed = [e for e in logged if e["event"] == "listener_failed"]
    assert [(e["listener"], e["first"], e["last"]) for e in failed[:2]] == [("raising", 1, 1)] * 2


async def test_callers_of_one_commit_are_all_answered(tmp_path: Path) -> None:
    async with open_log(tmp_path, MAPPER) as log:
        log.listen(raising)
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for n in range(50):
                    nursery.start_soon(append, log, f"one:{n}", 0, n)
        assert len(await log.read(Filter())) == 50


async def test_what_a_caller_is_told_of_a_conflict_does_not_depend_on_listeners(tmp_path: Path) -> None:
    async with open_log(tmp_path, MAPPER) as log:
        log.listen(raising)
        outcomes: list[str] = []

        async def attempt() -> None:
            try:
                await append(log, "one:1", 0, 1)
                outcomes.append("kept")
            except Exception as error:
                outcomes.append(type(error).__name__)

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(attempt)
        assert sorted(outcomes) == ["StreamConflictError", "StreamConflictError", "kept"]


async def test_a_read_only_log_answers_its_callers_too(tmp_path: Path) -> None:
    async with open_log(tmp_path, MAPPER) as log:
        await append(log, "one:1", 0, 1)
    async with open_read_only(tmp_path, MAPPER, lambda _: True) as log:
        log.listen(raising)
        with trio.fail_after(60):
            assert len(await log.append(to("one:1", 1, 2), origin=ORIGIN)) == 1
        assert log.faults == {"raising": 1}


async def test_an_event_that_does_not_fit_into_a_state_is_passed_over(
    tmp_path: Path, logged: list[EventDict]
) -> None:
    def evolve(state: int, event: Happened, _: float) -> int:
        return state + 10 // event.n

    async with open_log(tmp_path, MAPPER) as log:
        warm = Repository(log, "one", 0, evolve)
        assert (await warm.load("1")).state == 0
        await append(log, "one:1", 0, 1, 0, 2)
        cold = Repository(log, "one", 0, evolve)
        for repository in (warm, cold):
            found = await repository.load("1")
            assert (found.state, found.version) == (15, 3)
        await cold.execute("1", lambda state: [Happened(n=state)], ORIGIN)
        assert (await cold.load("1")).version == 4
        assert log.faults == {}
    assert {e["position"] for e in logged if e["event"] == "event_not_folded"} == {2}


@pytest.mark.parametrize("kind", [Happened, Noted])
async def test_a_stream_with_an_unreadable_event_can_be_read_and_goes_on(tmp_path: Path, kind: Any) -> None:
    async with open_log(tmp_path, MAPPER) as log:
        await append(log, "one:1", 0, 1)
        marked = await append_unreadable(log, "one:1", kind)
        await append(log, "one:1", 2, 3)
        found = await log.read_stream("one:1")
        assert [bool(r.problem) for r in found] == [False, True, False]
        assert found[1].position == marked.position
        assert log.reader.verify() == 3


async def test_a_log_of_a_newer_version_is_refused_with_its_types(tmp_path: Path) -> None:
    async with open_log(tmp_path, MAPPER) as log:
        await append(log, "one:1", 0, 1)
    older = EventMapper([Noted])
    for opened in (open_log(tmp_path, older), open_read_only(tmp_path, older, lambda _: True)):
        with pytest.raises(NewerLogError, match=r"test\.happened.*newer"):
            await _enter(opened)


async def _enter(opened: Any) -> EventLog:
    async with opened as log:
        found: EventLog = log
    return found
