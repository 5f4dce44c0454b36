"""projections.rebuilding: a read model is made anew while events keep coming."""

from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.typing import EventDict

from domain.catalogue import EVENT_TYPES
from domain.errors import Conflict, NotFound
from domain.users.events import UserRenamed
from eventlog.codec import EventMapper
from eventlog.envelope import Recorded, StreamAppend
from eventlog.filter import Filter
from eventlog.log import EventLog, open_log
from projections.projection import Projection
from projections.rebuilding import Rebuilder
from projections.table import Index
from projections.users import Users
from projections.views import Views, open_views
from tests.projections.histories import ORIGIN, Step, history, record, rows

MAPPER = EventMapper(EVENT_TYPES)
NAMES = [p.name for p in Views().all]


def _groups(index: Index[Any]) -> dict[Any, list[Any]]:
    return {key: list(group.values()) for key, group in index._groups.items()}


def indexes(views: Views) -> dict[str, list[dict[Any, list[Any]]]]:
    """Return what every index of every table holds, in order."""
    return {t.name: [_groups(i) for i in t._indexes] for p in views.all for t in p.tables}


class Written:
    """A log with its views, a rebuilder, and a history that goes on as far as a test wants."""

    def __init__(self, log: EventLog, views: Views, nursery: trio.Nursery) -> None:
        self.log = log
        self.views = views
        self.rebuilder = Rebuilder(log, views, nursery)
        self._steps = iter(history(Random(11), 900))
        self._versions: dict[str, int] = {}

    async def write(self, count: int) -> None:
        """Append so many events, one at a time."""
        for _ in range(count):
            stream, event = next(self._steps)
            await self.log.append(StreamAppend(stream, self._versions.get(stream, 0), [event]), origin=ORIGIN)
            self._versions[stream] = self._versions.get(stream, 0) + 1

    async def rebuilt(self, name: str) -> None:
        """Rebuild a projection, and wait for it."""
        self.rebuilder.start(name)
        with trio.fail_after(30):
            while self.rebuilder.running:
                await trio.sleep(0)

    def in_small_steps(self, monkeypatch: pytest.MonkeyPatch, between: Callable[[], Any] = lambda: None) -> None:
        """Have a rebuild read ten events at a time, and something happen in between."""
        real = EventLog.read

        async def read(log: EventLog, wanted: Filter, limit: int = 10) -> list[Recorded[Any]]:
            found = await real(log, wanted, limit)
            between()
            return found

        monkeypatch.setattr(EventLog, "read", read)


@pytest.fixture
async def written(tmp_path: Path) -> AsyncIterator[Written]:
    """Return a log of two hundred events."""
    async with (
        open_log(tmp_path, MAPPER) as log,
        open_views(tmp_path, log) as views,
        trio.open_nursery() as nursery,
    ):
        found = Written(log, views, nursery)
        await found.write(200)
        yield found
        nursery.cancel_scope.cancel()


def _fresh(log: EventLog) -> Views:
    """Replay what has been made known: there may be more on disk, of which nobody has been told yet."""
    views = Views()
    views.apply(log.reader.events(Filter(until=log.position), -1))
    return views


def _check(written: Written) -> None:
    """Fail unless the live views are those of one replay, with their indexes."""
    _check_each(written)
    assert {p.position for p in written.views.all} == {written.log.position}


def _check_each(written: Written) -> None:
    """Fail unless each view is that of a replay up to its own position.

    One that was just rebuilt may be ahead: it has read from disk what listeners are about to be told.
    """
    for projection in written.views.all:
        assert projection.position >= written.log.position
        fresh = type(projection)()
        fresh.apply(written.log.reader.events(Filter(until=projection.position), -1))
        for table, expected in zip(projection.tables, fresh.tables, strict=True):
            assert list(table) == list(expected)
            for index, wanted in zip(table._indexes, expected._indexes, strict=True):
                assert _groups(index) == _groups(wanted)


@pytest.mark.parametrize("name", NAMES)
async def test_a_rebuild_while_events_keep_coming_equals_the_live_view(
    written: Written, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    written.in_small_steps(monkeypatch)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(written.write, 100)
        await written.rebuilt(name)
        _check_each(written)
        await written.rebuilt(name)
    _check(written)
    await written.write(50)
    _check(written)


async def test_all_of_them_one_after_the_other_and_again(written: Written) -> None:
    for name in [*NAMES, *NAMES]:
        await written.rebuilt(name)
        await written.write(5)
    _check(written)
    assert written.rebuilder.errors == {}
    assert set(written.rebuilder.speeds) == set(NAMES)
    assert all(speed > 0 for speed in written.rebuilder.speeds.values())


async def test_a_rebuild_mends_what_was_wrong_and_the_mended_is_saved(tmp_path: Path) -> None:
    async with (
        open_log(tmp_path, MAPPER) as log,
        open_views(tmp_path, log) as views,
        trio.open_nursery() as nursery,
    ):
        found = Written(log, views, nursery)
        await found.write(200)
        for user in views.users.all()[1:]:
            views.users._users.remove(user.id)
        assert rows(views) != rows(_fresh(log))
        await found.rebuilt("users")
        _check(found)
        live = rows(views)
        nursery.cancel_scope.cancel()
    async with open_log(tmp_path, MAPPER) as log, open_views(tmp_path, log) as views:
        assert rows(views) == live
        assert indexes(views) == indexes(_fresh(log))


async def test_progress_is_told_while_it_runs(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []

    def look() -> None:
        told.extend((r.done, r.total) for r in written.rebuilder.running.values())

    written.in_small_steps(monkeypatch, look)
    await written.rebuilt("users")
    assert told == sorted(told)
    assert told[0] == (0, written.log.position)
    assert told[-1][0] > 100
    assert written.rebuilder.running == {}


async def test_one_at_a_time(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    refused: list[str] = []

    def again() -> None:
        for name in ("users", "agents"):
            with pytest.raises(Conflict, match="users is being rebuilt") as conflict:
                written.rebuilder.start(name)
            refused.append(conflict.value.reason)

    written.in_small_steps(monkeypatch, again)
    await written.rebuilt("users")
    assert set(refused) == {"rebuilding"}
    monkeypatch.undo()
    await written.rebuilt("agents")


async def test_an_unknown_one_is_refused_with_the_known_ones(written: Written) -> None:
    with pytest.raises(NotFound) as refused:
        written.rebuilder.start("nope")
    for name in NAMES:
        assert name in str(refused.value)
    assert written.rebuilder.running == {}


async def test_a_rebuild_that_fails_leaves_the_old_one_and_says_why(
    written: Written, monkeypatch: pytest.MonkeyPatch, logged: list[EventDict]
) -> None:
    real = Users.apply

    def refuse(users: Users, records: list[Recorded[Any]]) -> None:
        if users is not written.views.users:
            raise RuntimeError("a handler is broken")
        real(users, records)

    monkeypatch.setattr(Users, "apply", refuse)
    before = rows(written.views)
    await written.rebuilt("users")
    assert "a handler is broken" in written.rebuilder.errors["users"]
    assert rows(written.views) == before
    assert "rebuild_failed" in [e["event"] for e in logged]
    await written.write(20)
    monkeypatch.undo()
    _check(written)
    await written.rebuilt("users")
    assert written.rebuilder.errors == {}


# -- one replay equals life -------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(random=st.randoms(use_true_random=False), data=st.data())
def test_replacing_any_projection_at_any_moment_changes_nothing(random: Random, data: st.DataObject) -> None:
    """With random histories, random projections, and random moments."""
    records = record(history(random, 120))
    live, whole = Views(), Views()
    whole.apply(records)
    done = 0
    while done < len(records):
        size = data.draw(st.integers(1, 40))
        live.apply(records[done : done + size])
        done += size
        projection: Projection = data.draw(st.sampled_from(live.all))
        fresh = type(projection)()
        fresh.apply(records[:done])
        projection.replace_with(fresh)
    assert rows(live) == rows(whole)
    assert indexes(live) == indexes(whole)


@settings(max_examples=15, deadline=None)
@given(steps=st.integers(0, 10**6).map(lambda seed: history(Random(seed), 100)))
def test_replaying_the_whole_log_equals_the_live_views(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Step]
) -> None:
    folder = tmp_path_factory.mktemp("log")

    async def live() -> tuple[Any, Any]:
        versions: dict[str, int] = {}
        async with (
            open_log(folder, MAPPER) as log,
            open_views(folder, log) as views,
            trio.open_nursery() as nursery,
        ):
            for n, (stream, event) in enumerate(steps):
                append = StreamAppend(stream, versions.get(stream, 0), [event])
                versions[stream] = versions.get(stream, 0) + 1
                if n % 20:
                    nursery.start_soon(partial(log.append, append, origin=ORIGIN))
                await trio.testing.wait_all_tasks_blocked()
                if not n % 20:
                    await log.append(append, origin=ORIGIN)
            while log.position < len(steps):
                await log.wait_past(log.position)
            fresh = _fresh(log)
            assert rows(views) == rows(fresh)
            assert indexes(views) == indexes(fresh)
            return rows(views), log.position

    found, position = trio.run(live)
    assert position == len(steps)

    async def again() -> Any:
        async with open_log(folder, MAPPER) as log, open_views(folder, log) as views:
            return rows(views)

    assert trio.run(again) == found


PARTS = {"position", "tables", "on", "missed", "missed_count", "unsaved", "is_postponed"}
"""What every projection has; a rebuild replaces them, too."""


def test_lookups_that_are_not_in_tables_are_made_anew_too() -> None:
    """Whatever a projection answers comes from its tables and their indexes, so that a rebuild replaces it."""
    for projection in Views().all:
        tables = {id(t) for t in projection.tables}
        known = tables | {id(i) for t in projection.tables for i in t._indexes}
        others = {n for n, v in vars(projection).items() if id(v) not in known} - PARTS
        assert not others, projection.name


async def test_an_event_that_comes_with_the_last_step_is_not_lost(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is appended when everything up to then has been read, so that the rebuild has to go on."""
    user = written.views.users.all()[0]
    real = EventLog.read
    added: list[int] = []

    async def read(log: EventLog, wanted: Filter, limit: int = 5000) -> list[Recorded[Any]]:
        found = await real(log, wanted, limit)
        if len(added) < 3:
            added.append(len(added))
            version = len(await real(log, Filter(stream=f"user:{user.id}"), -1))
            event = UserRenamed(user_id=user.id, name=f"late {len(added)}")
            await log.append(StreamAppend(f"user:{user.id}", version, [event]), origin=ORIGIN)
        return found

    monkeypatch.setattr(EventLog, "read", read)
    await written.rebuilt("users")
    assert written.views.users.get(user.id).name == "late 3"
    monkeypatch.undo()
    _check(written)
