"""eventlog.log: appending, as a task sees it."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from eventlog.envelope import Origin, Recorded, StreamAppend
from eventlog.errors import EventLogError, LogClosedError, StreamConflictError
from eventlog.filter import Filter
from eventlog.log import EventLog, open_log
from eventlog.reader import Reader
from tests.eventlog.things import MAPPER, ORIGIN, Gate, Happened, append, to
from tests.harness.turns import counting_turns


async def test_an_append_is_returned_as_it_is_read_back(tmp_path: Path) -> None:
    async with open_log(tmp_path, MAPPER) as log:
        recorded = await append(log, "a", 0, 1, 2)
        assert [(r.position, r.stream, r.version, r.type) for r in recorded] == [
            (1, "a", 1, "test.happened"),
            (2, "a", 2, "test.happened"),
        ]
        assert all(r.origin == ORIGIN for r in recorded)
        assert [r.event for r in recorded] == [Happened(n=1), Happened(n=2)]
        assert await log.read(Filter()) == recorded
    async with open_log(tmp_path, MAPPER) as log:
        assert await log.read(Filter()) == recorded
        assert log.position == 2


async def test_a_restarted_log_goes_on_where_it_was(tmp_path: Path) -> None:
    for n in range(5):
        async with open_log(tmp_path, MAPPER) as log:
            (recorded,) = await append(log, "a", n, n)
            assert (recorded.position, recorded.version) == (n + 1, n + 1)
            assert log.reader.verify() == n + 1


async def test_an_append_of_several_streams_numbers_each_by_itself(tmp_path: Path) -> None:
    async with open_log(tmp_path, MAPPER) as log:
        await append(log, "b", 0, 0)
        recorded = await log.append(to("a", 0, 1, 2), to("b", 1, 3), origin=ORIGIN)
        assert [(r.position, r.stream, r.version) for r in recorded] == [(2, "a", 1), (3, "a", 2), (4, "b", 2)]


@pytest.mark.parametrize("expected", [0, 1, 3, 100])
async def test_a_stream_that_is_not_where_it_is_expected_is_a_conflict(tmp_path: Path, expected: int) -> None:
    async with open_log(tmp_path, MAPPER) as log:
        await append(log, "a", 0, 1, 2)
        with pytest.raises(StreamConflictError) as refused:
            await append(log, "a", expected, 3)
        assert (refused.value.stream, refused.value.expected) == ("a", expected)
        assert log.position == 2


@pytest.mark.parametrize("expected", [0, 1, 3])
async def test_a_conflict_is_found_after_a_restart_too(tmp_path: Path, expected: int) -> None:
    async with open_log(tmp_path, MAPPER) as log:
        await append(log, "a", 0, 1, 2)
    async with open_log(tmp_path, MAPPER) as log:
        with pytest.raises(StreamConflictError):
            await append(log, "a", expected, 3)
        assert (await append(log, "a", 2, 3))[0].version == 3


async def test_a_taken_stream_fails_the_whole_append(tmp_path: Path) -> None:
    async with open_log(tmp_path, MAPPER) as log:
        await append(log, "email:x", 0, 1)
        with pytest.raises(StreamConflictError) as refused:
            await log.append(to("slug:a", 0, 1), to("email:x", 0, 1), to("user:1", 0, 1), origin=ORIGIN)
        assert refused.value.stream == "email:x"
        assert [r.stream for r in await log.read(Filter())] == ["email:x"]
        await log.append(to("slug:a", 0, 1), to("email:y", 0, 1), to("user:1", 0, 1), origin=ORIGIN)


async def test_a_conflict_fails_only_its_own_request_in_a_group(tmp_path: Path) -> None:
    gate = Gate()
    results: dict[str, object] = {}

    async def attempt(log: EventLog, name: str, *appends: StreamAppend) -> None:
        try:
            results[name] = [r.position for r in await log.append(*appends, origin=ORIGIN)]
        except StreamConflictError as error:
            results[name] = error.stream

    async with open_log(tmp_path, MAPPER, on_point=gate) as log:
        await append(log, "a", 0, 1)
        async with trio.open_nursery() as nursery:
            with gate.held():
                nursery.start_soon(attempt, log, "filler", to("filler", 0, 1))
                await gate.reached()
                for name, appends in (
                    ("good", (to("b", 0, 1), to("c", 0, 1, 2))),
                    ("taken", (to("d", 0, 1), to("a", 0, 1))),
                    ("second", (to("b", 1, 2),)),
                    ("same", (to("b", 1, 3),)),
                    ("late", (to("d", 0, 1),)),
                ):
                    nursery.start_soon(attempt, log, name, *appends)
                    await trio.testing.wait_all_tasks_blocked()
        assert results == {
            "filler": [2],
            "good": [3, 4, 5],
            "taken": "a",
            "second": [6],
            "same": "b",
            "late": [7],
        }
        assert log.statistics()["commits"] == 3
        assert [r.position for r in await log.read(Filter())] == list(range(1, 8))
        assert log.reader.verify() == 7


async def test_a_conflict_with_an_event_of_before_the_restart_fails_only_its_own_request(tmp_path: Path) -> None:
    """The writer does not know the stream then, and learns of the conflict from the database."""
    gate = Gate()
    async with open_log(tmp_path, MAPPER) as log:
        await append(log, "email:x", 0, 1)
    done: list[str] = []

    async def attempt(log: EventLog, stream: str) -> None:
        try:
            await log.append(to(f"user:{stream}", 0, 1), to(stream, 0, 1), origin=ORIGIN)
            done.append(stream)
        except StreamConflictError as error:
            done.append(f"conflict {error.stream}")

    async with open_log(tmp_path, MAPPER, on_point=gate) as log:
        async with trio.open_nursery() as nursery:
            with gate.held():
                nursery.start_soon(attempt, log, "filler")
                await gate.reached()
                for stream in ("email:w", "email:x", "email:y"):
                    nursery.start_soon(attempt, log, stream)
                await trio.testing.wait_all_tasks_blocked()
        assert sorted(done) == ["conflict email:x", "email:w", "email:y", "filler"]
        found = await log.read(Filter())
        assert [r.position for r in found] == list(range(1, 8))
        assert "user:email:x" not in {r.stream for r in found}
        assert log.reader.verify() == 7


async def test_positions_have_no_gaps_after_many_conflicts(tmp_path: Path) -> None:
    async with open_log(tmp_path, MAPPER) as log:
        kept: list[int] = []

        async def rush(task: int) -> None:
            for n in range(20):
                try:
                    kept.extend(r.position for r in await append(log, f"s{n}", 0, task, task))
                except StreamConflictError:
                    kept.extend(r.position for r in await append(log, f"t{task}-{n}", 0, task))

        async with trio.open_nursery() as nursery:
            for task in range(10):
                nursery.start_soon(rush, task)
        assert sorted(kept) == list(range(1, len(kept) + 1))
        assert [r.position for r in await log.read(Filter())] == sorted(kept)
        assert log.reader.verify() == len(kept)


async def test_everybody_has_seen_an_event_when_its_append_returns(tmp_path: Path) -> None:
    async with open_log(tmp_path, MAPPER) as log:
        seen: set[int] = set()

        def listener(records: Sequence[Recorded[Any]]) -> None:
            seen.update(r.position for r in records)

        log.listen(listener)

        async def write(task: int) -> None:
            for n in range(20):
                (recorded,) = await append(log, f"s{task}", n, n)
                assert recorded.position in seen
                assert log.position >= recorded.position
                assert recorded in (log.recent(recorded.position - 1) or [])

        async with trio.open_nursery() as nursery:
            for task in range(8):
                nursery.start_soon(write, task)
        assert seen == set(range(1, 161))


async def test_listeners_get_every_commit_once_in_order_and_in_their_order(tmp_path: Path) -> None:
    async with open_log(tmp_path, MAPPER) as log:
        calls: list[tuple[str, int]] = []
        log.listen(lambda records: calls.extend(("first", r.position) for r in records))
        log.listen(lambda records: calls.extend(("second", r.position) for r in records))
        await append(log, "a", 0, 1, 2)
        await append(log, "b", 0, 1)
        assert calls == [("first", 1), ("first", 2), ("second", 1), ("second", 2), ("first", 3), ("second", 3)]


async def test_an_event_is_on_disk_when_its_append_returns(tmp_path: Path) -> None:
    async with open_log(tmp_path, MAPPER) as log:
        other = Reader(log.path, MAPPER)
        for n in range(10):
            recorded = await append(log, "a", n, n)
            assert other.events(Filter(after=n)) == recorded
        other.close()


async def test_a_cancelled_caller_does_not_lose_its_commit(tmp_path: Path) -> None:
    gate = Gate()
    recorded: list[Recorded[Happened]] = []

    async def write(log: EventLog, scope: trio.CancelScope) -> None:
        with scope:
            recorded.extend(await append(log, "a", 0, 1))
            await trio.sleep_forever()

    async with open_log(tmp_path, MAPPER, on_point=gate) as log:
        scope = trio.CancelScope()
        async with trio.open_nursery() as nursery:
            with gate.held():
                nursery.start_soon(write, log, scope)
                await gate.reached()
                scope.cancel()
                await trio.testing.wait_all_tasks_blocked()
                assert not recorded, "it waits for a commit that is on its way"
        assert scope.cancelled_caught
        assert await log.read(Filter()) == recorded


async def test_a_caller_that_is_cancelled_before_it_appends_still_appends_whole(tmp_path: Path) -> None:
    async with open_log(tmp_path, MAPPER) as log:
        with trio.CancelScope() as scope:
            scope.cancel()
            recorded = await append(log, "a", 0, 1)
        assert await log.read(Filter()) == recorded


async def test_a_clock_set_back_never_turns_the_time_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock:
        now = 2_000_000_000_000_000

        @classmethod
        def time_ns(cls) -> int:
            return cls.now * 1000

    monkeypatch.setattr("eventlog.writer.time", Clock)
    async with open_log(tmp_path, MAPPER) as log:
        await append(log, "a", 0, 1)
        Clock.now -= 3_600_000_000
        await append(log, "a", 1, 2)
    async with open_log(tmp_path, MAPPER) as log:
        Clock.now -= 3_600_000_000
        await append(log, "a", 2, 3)
        Clock.now += 3 * 3_600_000_000
        await append(log, "a", 3, 4)
        times = [r.time for r in await log.read(Filter())]
        assert times == [2e9, 2e9, 2e9, 2e9 + 3600]
        assert log.reader.verify() == 4


async def test_all_events_of_a_commit_have_the_same_time(tmp_path: Path) -> None:
    async with open_log(tmp_path, MAPPER) as log:
        recorded = await log.append(to("a", 0, 1, 2), to("b", 0, 3), origin=ORIGIN)
        assert len({r.time for r in recorded}) == 1


async def test_what_is_queued_is_committed_when_the_log_closes(tmp_path: Path) -> None:
    gate = Gate()
    results: list[int] = []

    async def write(log: EventLog, stream: str) -> None:
        results.extend(r.position for r in await append(log, stream, 0, 1))

    async with trio.open_nursery() as nursery, open_log(tmp_path, MAPPER, on_point=gate) as log:
        with gate.held():
            nursery.start_soon(write, log, "a")
            await gate.reached()
            nursery.start_soon(write, log, "b")
            await trio.testing.wait_all_tasks_blocked()
    assert results == [1, 2]
    with pytest.raises(LogClosedError):
        await append(log, "c", 0, 1)


async def test_a_log_that_is_not_started_takes_no_events(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.db", MAPPER, Reader(tmp_path / "events.db", MAPPER), 0)
    with pytest.raises(EventLogError, match="not open"):
        await append(log, "a", 0, 1)
    assert not await log.is_writable()


async def test_an_append_of_nothing_asks_whether_the_log_is_writable(tmp_path: Path) -> None:
    async with open_log(tmp_path, MAPPER) as log:
        assert await log.append(origin=ORIGIN) == []
        assert await log.is_writable()
        assert log.position == 0
        assert log.reader.verify() == 0


async def test_recent_events_are_given_from_memory_as_far_as_it_reaches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventlog.log.RECENT", 3)
    async with open_log(tmp_path, MAPPER) as log:
        assert log.recent(0) == []
        await append(log, "a", 0, 1, 2)
        await append(log, "b", 0, 3, 4)

        def positions(after: int, stream: str | None = None) -> list[int] | None:
            found = log.recent(after, stream)
            return None if found is None else [r.position for r in found]

        assert positions(0) is None
        assert positions(1) == [2, 3, 4]
        assert positions(3) == [4]
        assert positions(4) == positions(9) == []
        assert positions(1, "a") == [2]
        assert positions(2, "a") == []


async def test_a_restarted_log_remembers_nothing_and_says_so(tmp_path: Path) -> None:
    async with open_log(tmp_path, MAPPER) as log:
        await append(log, "a", 0, 1)
    async with open_log(tmp_path, MAPPER) as log:
        assert log.recent(0) is None
        assert log.recent(1) == []


async def test_statistics_count_commits_and_events(tmp_path: Path) -> None:
    async with open_log(tmp_path, MAPPER) as log:
        await append(log, "a", 0, 1, 2)
        await append(log, "a", 2, 3)
        found = log.statistics()
        assert (found["commits"], found["events"], found["position"], found["queued"]) == (2, 3, 3, 0)


async def test_a_stream_named_twice_in_one_append_is_stored_or_refused(tmp_path: Path) -> None:
    async with open_log(tmp_path, MAPPER) as log:
        try:
            await log.append(to("a", 0, 1), to("a", 0, 2), origin=ORIGIN)
        except EventLogError:
            assert await log.read(Filter()) == []
        else:
            assert len(await log.read(Filter())) == 2
        assert log.reader.verify() == log.position


async def test_an_event_that_breaks_a_constraint_is_refused(tmp_path: Path) -> None:
    nobody: Any = None
    async with open_log(tmp_path, MAPPER) as log:
        with pytest.raises(EventLogError):
            await log.append(to("a", 0, 1), origin=Origin(nobody, "job"))
        assert log.reader.verify() == log.position


async def test_an_append_of_no_events_does_not_disturb_its_stream(tmp_path: Path) -> None:
    async with open_log(tmp_path, MAPPER) as log:
        await append(log, "a", 0, 1, 2)
    async with open_log(tmp_path, MAPPER) as log:
        with suppress(StreamConflictError):
            await append(log, "a", 0)
        assert (await append(log, "a", 2, 3))[0].version == 3


async def test_text_that_cannot_be_stored_fails_only_its_own_request(tmp_path: Path) -> None:
    gate = Gate()
    results: dict[str, bool] = {}

    async def attempt(log: EventLog, stream: str, correlation: str) -> None:
        try:
            await log.append(to(stream, 0, 1), origin=Origin("system", correlation))
            results[stream] = True
        except EventLogError:
            results[stream] = False

    async with open_log(tmp_path, MAPPER, on_point=gate) as log:
        async with trio.open_nursery() as nursery:
            with gate.held():
                nursery.start_soon(attempt, log, "filler", "job")
                await gate.reached()
                nursery.start_soon(attempt, log, "good", "job")
                nursery.start_soon(attempt, log, "bad", "\ud800")
                await trio.testing.wait_all_tasks_blocked()
        assert results == {"filler": True, "good": True, "bad": False}


async def test_a_number_that_cannot_be_stored_fails_only_its_own_request(tmp_path: Path) -> None:
    gate = Gate()
    results: dict[str, bool] = {}

    async def attempt(log: EventLog, stream: str, causation: int) -> None:
        try:
            await log.append(to(stream, 0, 1), origin=Origin("system", "job", causation))
            results[stream] = True
        except EventLogError:
            results[stream] = False

    async with open_log(tmp_path, MAPPER, on_point=gate) as log:
        async with trio.open_nursery() as nursery:
            with gate.held():
                nursery.start_soon(attempt, log, "filler", 1)
                await gate.reached()
                nursery.start_soon(attempt, log, "good", 2)
                nursery.start_soon(attempt, log, "bad", 2**70)
                await trio.testing.wait_all_tasks_blocked()
        assert results == {"filler": True, "good": True, "bad": False}
        assert log.reader.verify() == log.position == 2


async def test_a_long_text_is_encoded_while_others_go_on(tmp_path: Path) -> None:
    long = [Happened(n=n, text="x" * 200_000) for n in range(20)]
    async with open_log(tmp_path, MAPPER) as log:
        counted = 0
        async with counting_turns() as turns:

            def committed(_: object) -> None:
                nonlocal counted
                counted = turns.count

            log.listen(committed)
            await log.append(StreamAppend("s", 0, long), origin=ORIGIN)
        assert [r.event for r in await log.read(Filter())] == long
    assert counted > 20
