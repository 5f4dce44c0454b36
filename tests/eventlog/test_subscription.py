"""eventlog.subscription: every event once, in order, however far behind and whoever is slow."""

from pathlib import Path
from random import Random

import pytest
import trio
import trio.testing

from eventlog.envelope import StreamAppend
from eventlog.log import EventLog, open_log
from eventlog.subscription import Subscription
from tests.eventlog.things import MAPPER, ORIGIN, Happened, append, to


async def _take(subscription: Subscription, count: int) -> list[int]:
    found: list[int] = []
    while len(found) < count:
        found.append((await anext(subscription)).position)
    return found


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("after", [0, 1, 5, 9, 10])
async def test_a_subscriber_gets_what_is_stored_and_then_what_comes(
    tmp_path: Path, after: int, *, restarted: bool
) -> None:
    async with open_log(tmp_path, MAPPER) as log:
        for n in range(10):
            await append(log, f"s{n % 3}", n // 3, n)
        if not restarted:
            await _check(log, after)
    if restarted:
        async with open_log(tmp_path, MAPPER) as log:
            await _check(log, after)


async def _check(log: EventLog, after: int) -> None:
    subscription = log.subscribe(after)
    assert await _take(subscription, 10 - after) == list(range(after + 1, 11))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(append, log, "new", 0, 1, 2)
        assert await _take(subscription, 2) == [11, 12]
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_take, subscription, 1)
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
    assert scope.cancelled_caught, "nothing more comes"


async def test_a_subscriber_of_one_stream_gets_that_stream_alone(tmp_path: Path) -> None:
    async with open_log(tmp_path, MAPPER) as log:
        await append(log, "a", 0, 1)
        await append(log, "b", 0, 2)
        subscription = log.subscribe(0, "a")
        assert (await anext(subscription)).event.n == 1
        async with trio.open_nursery() as nursery:
            got: list[int] = []

            async def follow() -> None:
                for _ in range(2):
                    got.append((await anext(subscription)).event.n)  # noqa: PERF401 - clearer than a comprehension

            nursery.start_soon(follow)
            await trio.testing.wait_all_tasks_blocked()
            await append(log, "b", 1, 3)
            await trio.testing.wait_all_tasks_blocked()
            assert got == []
            await log.append(to("b", 2, 4), to("a", 1, 5), to("c", 0, 6), origin=ORIGIN)
            await append(log, "a", 2, 7)
        assert got == [5, 7]


async def test_a_cancelled_subscriber_goes_on_where_it_was(tmp_path: Path) -> None:
    async with open_log(tmp_path, MAPPER) as log:
        subscription = log.subscribe(0)
        await append(log, "a", 0, 1, 2)
        assert await _take(subscription, 1) == [1]
        with trio.CancelScope() as scope:
            scope.cancel()
            await _take(subscription, 5)
        await append(log, "a", 2, 3, 4)
        assert (await anext(subscription)).position >= 3


async def test_a_waiting_subscriber_leaves_nothing_behind(tmp_path: Path) -> None:
    async with open_log(tmp_path, MAPPER) as log:
        async with trio.open_nursery() as nursery:
            for stream in (None, "a", "a", "b"):
                nursery.start_soon(_take, log.subscribe(0, stream), 1)
            await trio.testing.wait_all_tasks_blocked()
            assert log.statistics()["waiting"] == 4
            nursery.cancel_scope.cancel()
        assert log.statistics()["waiting"] == 0


async def test_a_subscriber_that_is_ahead_of_the_log_waits_for_it(tmp_path: Path) -> None:
    async with open_log(tmp_path, MAPPER) as log:
        async with trio.open_nursery() as nursery:
            got: list[int] = []

            async def follow() -> None:
                got.extend(await _take(log.subscribe(2), 1))

            nursery.start_soon(follow)
            for n in range(3):
                await trio.testing.wait_all_tasks_blocked()
                assert got == []
                await append(log, "a", n, n)
        assert got == [3]


@pytest.mark.parametrize("seed", range(12))
async def test_every_subscriber_sees_every_event_once_in_order_while_appends_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Far behind, nearly up to date and live: memory and batches are made small, for every case to come up."""
    monkeypatch.setattr("eventlog.log.RECENT", 16)
    monkeypatch.setattr("eventlog.subscription._BATCH", 7)
    random = Random(seed)
    total = 250
    streams = ["a", "b", "c"]
    versions = dict.fromkeys(streams, 0)
    where: dict[int, str] = {}

    async with open_log(tmp_path, MAPPER) as log:

        async def write(stop_at: int) -> None:
            while len(where) < stop_at:
                chosen = random.sample(streams, random.randint(1, 3))
                appends = [to(s, versions[s], *range(random.randint(1, 4))) for s in chosen]
                for a in appends:
                    versions[a.stream] += len(a.events)
                for record in await log.append(*appends, origin=ORIGIN):
                    where[record.position] = record.stream
                for _ in range(random.choice([0, 0, 1, 5])):
                    await trio.lowlevel.checkpoint()

        async def follow(after: int, stream: str | None, pauses: int, got: list[int]) -> None:
            async for record in log.subscribe(after, stream):
                assert stream in (None, record.stream)
                got.append(record.position)
                for _ in range(random.randint(0, pauses)):
                    await trio.lowlevel.checkpoint()

        await write(60)
        followers: list[tuple[int, str | None, list[int]]] = []
        async with trio.open_nursery() as nursery:

            async def join() -> None:
                for _ in range(12):
                    after = random.choice([0, log.position, random.randint(0, log.position)])
                    stream = random.choice([None, None, *streams])
                    got: list[int] = []
                    followers.append((after, stream, got))
                    nursery.start_soon(follow, after, stream, random.choice([0, 2, 20]), got)
                    for _ in range(random.randint(0, 20)):
                        await trio.lowlevel.checkpoint()

            async with trio.open_nursery() as inner:
                inner.start_soon(join)
                inner.start_soon(write, total)

            for after, stream, got in followers:
                expected = [p for p in sorted(where) if p > after and stream in (None, where[p])]
                while len(got) < len(expected):
                    await trio.lowlevel.checkpoint()
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        for after, stream, got in followers:
            assert got == [p for p in sorted(where) if p > after and stream in (None, where[p])], (after, stream)


@pytest.mark.parametrize("restarted", [False, True], ids=["from memory", "from disk"])
async def test_a_batch_holds_no_more_bytes_than_it_may_and_none_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, restarted: bool
) -> None:
    monkeypatch.setattr("eventlog.subscription._BATCH_BYTES", 5000)
    events = [Happened(n=n, text="x" * (n % 7) * 500) for n in range(60)]
    async with open_log(tmp_path, MAPPER) as log:
        await log.append(StreamAppend("s", 0, events), origin=ORIGIN)
        if not restarted:
            await _check_batches(log)
    if restarted:
        async with open_log(tmp_path, MAPPER) as log:
            await _check_batches(log)


async def _check_batches(log: EventLog) -> None:
    subscription, seen = log.subscribe(0), list[int]()
    while found := await subscription.take():
        assert sum(r.size for r in found[:-1]) < 5000
        seen += [r.position for r in found]
        assert subscription.position == found[-1].position
    assert seen == list(range(1, 61))


async def test_memory_holds_recent_events_by_their_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eventlog.log.RECENT_BYTES", 10_000)
    async with open_log(tmp_path, MAPPER) as log:
        for n in range(30):
            await log.append(StreamAppend("s", n, [Happened(n=n, text="x" * 1000)]), origin=ORIGIN)
        assert log.recent(0) is None
        assert 5 < len(log.recent(21) or []) <= 9
        await log.append(StreamAppend("s", 30, [Happened(n=30, text="x" * 20_000)]), origin=ORIGIN)
        assert log.recent(30) is None, "it does not fit, and is read from disk"
        assert [r.event.n for r in await log.subscribe(28).take()] == [28, 29, 30]
