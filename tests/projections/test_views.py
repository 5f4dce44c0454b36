"""projections.views."""

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.catalogue import EVENT_TYPES
from domain.conversations.events import ConversationStarted, MessagePosted
from domain.conversations.state import Conversation, evolve
from eventlog.codec import EventMapper
from eventlog.envelope import Recorded, StreamAppend
from eventlog.filter import Filter
from eventlog.log import EventLog, open_log
from eventlog.reader import Reader
from projections.agents import Agents
from projections.projection import Projection
from projections.store import FILE_NAME, ViewStore
from projections.views import Views, open_views, rebuild
from tests.harness.waiting import PATIENCE_SECONDS
from tests.projections.histories import ORIGIN, Step, history, record, rows

MAPPER = EventMapper(EVENT_TYPES)
LOG = b"one log"


async def _write(log: EventLog, steps: list[Step]) -> None:
    versions: dict[str, int] = {}
    for stream, event in steps:
        if stream not in versions:
            versions[stream] = len(await log.read_stream(stream))
        await log.append(StreamAppend(stream, versions[stream], [event]), origin=ORIGIN)
        versions[stream] += 1


def _replayed(reader: Reader) -> Views:
    views = Views()
    views.catch_up(reader)
    return views


@settings(max_examples=60, deadline=None)
@given(random=st.randoms(use_true_random=False), length=st.integers(0, 150), cuts=st.lists(st.integers(0, 150)))
def test_loading_and_catching_up_equals_a_full_replay(random: Random, length: int, cuts: list[int]) -> None:
    """At every cut the views are saved and loaded anew; at the end they are those of one replay."""
    records = record(history(random, length))
    whole = Views()
    whole.apply(records)
    with TemporaryDirectory() as folder:
        store = ViewStore(Path(folder) / FILE_NAME)
        views = Views()
        store.load(views.all, LOG, len(records))
        for cut in [*sorted(cuts), len(records)]:
            views.apply([r for r in records[:cut] if r.position > views.position])
            store.save(views.take_changes())
            views = Views()
            store.load(views.all, LOG, len(records))
        store.close()
    assert rows(views) == rows(whole)
    assert views.position == whole.position == len(records)


@settings(max_examples=30, deadline=None)
@given(random=st.randoms(use_true_random=False))
def test_a_summary_always_agrees_with_the_conversation(random: Random) -> None:
    records = record(history(random, 200))
    states: dict[str, Conversation] = {}
    for r in records:
        if r.stream.startswith("conversation:"):
            states[r.stream] = evolve(states.get(r.stream, Conversation()), r.event, r.time)
    views = Views()
    views.apply(records)
    for state in states.values():
        summary = views.conversations.find(state.id)
        if state.deleted:
            assert summary is None
            continue
        assert summary is not None
        assert summary.message_count == len(state.messages)
        assert summary.running_turn == (state.running.id if state.running else "")
        assert summary.title == state.title


@settings(max_examples=20, deadline=None)
@given(random=st.randoms(use_true_random=False), sizes=st.lists(st.integers(1, 40), min_size=1))
def test_how_events_are_divided_into_commits_does_not_matter(random: Random, sizes: list[int]) -> None:
    records = record(history(random, 150))
    whole, parts = Views(), Views()
    whole.apply(records)
    rest = records
    while rest:
        size = sizes[len(rest) % len(sizes)]
        parts.apply(rest[:size])
        rest = rest[size:]
    assert rows(whole) == rows(parts)


async def test_views_follow_the_log_and_are_there_after_a_restart(tmp_path: Path) -> None:
    async with open_log(tmp_path, MAPPER) as log, open_views(tmp_path, log) as views:
        await _write(log, history(Random(3), 80))
        assert views.position == log.position
        live = rows(views)
        assert rows(_replayed(log.reader)) == live
    async with open_log(tmp_path, MAPPER) as log, open_views(tmp_path, log) as views:
        assert rows(views) == live
        await _write(log, history(Random(4), 20))
        assert rows(views) == rows(_replayed(log.reader))


async def test_a_start_with_views_saved_at_the_head_reads_no_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_log(tmp_path, MAPPER) as log, open_views(tmp_path, log):
        await _write(log, history(Random(5), 100))
    read: list[int] = []
    original = Reader.events

    def events(self: Reader, wanted: Filter, limit: int = 5000) -> list[Recorded[Any]]:
        found = original(self, wanted, limit)
        read.append(len(found))
        return found

    monkeypatch.setattr(Reader, "events", events)
    async with open_log(tmp_path, MAPPER) as log, open_views(tmp_path, log) as views:
        assert views.position == log.position >= 100
    assert sum(read) == 0
    assert len(read) <= 1, "one look that finds nothing"


async def test_a_start_with_views_that_are_behind_reads_only_what_is_missing(tmp_path: Path) -> None:
    async with open_log(tmp_path, MAPPER) as log, open_views(tmp_path, log):
        await _write(log, history(Random(5), 100))
    async with open_log(tmp_path, MAPPER) as log:
        before = log.position
        await _write(log, history(Random(6), 10))
        store = ViewStore(tmp_path / FILE_NAME)
        views = Views()
        store.load(views.all, log.reader.identity(), log.position)
        store.close()
        assert views.catch_up(log.reader) == log.position - before
        assert rows(views) == rows(_replayed(log.reader))


async def test_a_new_version_of_one_projection_is_replayed_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_log(tmp_path, MAPPER) as log, open_views(tmp_path, log) as views:
        await _write(log, history(Random(7), 100))
        live = rows(views)
    handled: list[str] = []
    original = Projection.apply

    def apply(self: Projection, records: Any) -> None:
        if any(r.position > self.position for r in records):
            handled.append(self.name)
        original(self, records)

    monkeypatch.setattr(Projection, "apply", apply)
    monkeypatch.setattr(Agents, "version", Agents.version + 1)
    async with open_log(tmp_path, MAPPER) as log, open_views(tmp_path, log) as views:
        assert rows(views) == live
    assert set(handled) == {"agents"}


@pytest.mark.parametrize("delete", [True, False])
async def test_lost_views_and_views_of_another_log_are_rebuilt(tmp_path: Path, *, delete: bool) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder, seed in ((one, 8), (two, 9)):
        folder.mkdir()
        async with open_log(folder, MAPPER) as log, open_views(folder, log):
            await _write(log, history(Random(seed), 60))
    if delete:
        (one / FILE_NAME).unlink()
    else:
        (two / FILE_NAME).replace(one / FILE_NAME)
    async with open_log(one, MAPPER) as log, open_views(one, log) as views:
        assert rows(views) == rows(_replayed(log.reader))


class _Failing(ViewStore):
    """Fails for as long as it is told to."""

    fails = True
    meanwhile: Callable[[], None] = staticmethod(lambda: None)

    def save(self, parts: Any) -> dict[str, str]:
        """Save, or fail."""
        if self.fails:
            self.meanwhile()
            raise sqlite3.OperationalError("database or disk is full")
        return super().save(parts)


async def test_what_a_failed_save_did_not_save_the_next_one_does(
    tmp_path: Path, logged: list[dict[str, Any]]
) -> None:
    records = record(history(Random(10), 120))
    store = _Failing(tmp_path / FILE_NAME)
    views = Views()
    store.load(views.all, LOG, len(records))
    views.apply(records[:60])
    await views.save(store)
    assert views.saved_position == 0
    assert [entry["event"] for entry in logged] == ["views_not_saved"]
    views.apply(records[60:])
    store.fails = False
    await views.save(store)
    assert views.saved_position == len(records)
    loaded = Views()
    store.load(loaded.all, LOG, len(records))
    assert rows(loaded) == rows(views)
    store.close()


def _starts(*ids: str, after: int = 0) -> list[Recorded[Any]]:
    return record(
        [
            (
                f"conversation:{id_}",
                ConversationStarted(
                    conversation_id=id_, user_id="u", agent_id="a", backend="demo", model="m", title=""
                ),
            )
            for id_ in ids
        ],
        after=after,
    )


async def test_rows_that_come_while_a_save_fails_are_saved_in_their_order(tmp_path: Path) -> None:
    store = _Failing(tmp_path / FILE_NAME)
    views = Views()
    store.load(views.all, LOG, 10)
    views.apply(_starts("c1"))
    store.meanwhile = lambda: views.apply(_starts("c2", after=1))
    await views.save(store)
    store.fails = False
    await views.save(store)
    loaded = Views()
    store.load(loaded.all, LOG, 10)
    store.close()
    assert loaded.conversations.ranks("u", "demo") == views.conversations.ranks("u", "demo") == {"c1": 1, "c2": 2}


async def test_what_a_cancelled_save_did_not_save_the_next_one_does(tmp_path: Path) -> None:
    store = ViewStore(tmp_path / FILE_NAME)
    views = Views()
    store.load(views.all, LOG, 10)
    views.apply(_starts("c1"))
    with trio.CancelScope() as scope:
        scope.cancel()
        await views.save(store)
    await views.save(store)
    loaded = Views()
    store.load(loaded.all, LOG, 10)
    store.close()
    assert loaded.position == 1
    assert rows(loaded) == rows(views)


async def test_a_save_that_meets_another_waits_for_it(tmp_path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    class Slow(ViewStore):
        """Is told when to go on, in the middle of its first save."""

        def _save_position(self, name: str, version: int, position: int) -> None:
            begun.set()
            assert go_on.wait(PATIENCE_SECONDS)
            super()._save_position(name, version, position)

    views = Views()
    store = ViewStore(tmp_path / FILE_NAME)
    store.load(views.all, LOG, 10)
    store.close()
    store = Slow(tmp_path / FILE_NAME)
    views.apply(_starts("c1"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(views.save, store)
        while not begun.is_set():
            await trio.lowlevel.checkpoint()
        views.apply(_starts("c2", after=1))
        nursery.start_soon(views.save, store)
        await trio.testing.wait_all_tasks_blocked()
        go_on.set()
    assert views.saved_position == 2
    assert set(store.positions().values()) == {2}
    store.close()


async def test_changes_are_gathered_and_saved_while_the_log_is_open(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    saves = 0

    class Counting(ViewStore):
        """Counts its saves."""

        def save(self, parts: Any) -> dict[str, str]:
            """Save and count."""
            nonlocal saves
            saves += 1
            return super().save(parts)

    store = Counting(tmp_path / FILE_NAME)
    views = Views()
    store.load(views.all, LOG, 100)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(views.keep_saved, store)
        for n in range(10):
            views.apply(_starts(f"c{n}", after=n))
        for upto in (10, 11):
            await trio.testing.wait_all_tasks_blocked()
            assert saves == upto - 10, "nothing is saved before its time, nor without a change"
            mock_clock.jump(60)
            while views.saved_position < upto:
                await trio.lowlevel.checkpoint()
            assert saves == upto - 9, "one save for all that came together"
            views.apply(_starts(f"c{upto}", after=upto))
        nursery.cancel_scope.cancel()
    store.close()


async def test_a_rebuild_equals_the_live_views_and_takes_their_place(tmp_path: Path) -> None:
    async with open_log(tmp_path, MAPPER) as log, open_views(tmp_path, log) as views:
        await _write(log, history(Random(11), 100))
        live = rows(views)
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        connection.execute("DELETE FROM users")  # What a rebuild is for.
    connection.close()
    progress: list[int] = []
    reader = Reader(tmp_path / "events.db", MAPPER)
    rebuilt = rebuild(tmp_path, reader, progress.append)
    assert rows(rebuilt) == live
    assert progress[-1] == rebuilt.position
    reader.close()
    assert not list(tmp_path.glob("*.new*"))
    async with open_log(tmp_path, MAPPER) as log, open_views(tmp_path, log) as views:
        assert rows(views) == live


async def test_a_rebuild_that_was_cut_off_does_not_disturb_the_next(tmp_path: Path) -> None:
    async with open_log(tmp_path, MAPPER) as log, open_views(tmp_path, log) as views:
        await _write(log, history(Random(12), 30))
        live = rows(views)
    (tmp_path / f"{FILE_NAME}.new").write_bytes(b"half of a file")
    reader = Reader(tmp_path / "events.db", MAPPER)
    assert rows(rebuild(tmp_path, reader)) == live
    reader.close()


async def test_a_replay_goes_on_over_many_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_log(tmp_path, MAPPER) as log:
        steps = history(Random(13), 50)
        await _write(log, steps)
        original = Reader.events
        monkeypatch.setattr(Reader, "events", lambda self, wanted, _=7: original(self, wanted, 7))
        views = Views()
        assert views.catch_up(log.reader) == len(steps) == views.position
    whole = Views()
    whole.apply(record(steps))
    assert {k: len(v) for k, v in rows(views).items()} == {k: len(v) for k, v in rows(whole).items()}


def test_a_message_of_a_conversation_nobody_knows_changes_nothing() -> None:
    views = Views()
    views.apply(record([("c", MessagePosted(conversation_id="c9", message_id="m1", role="user", content="Hello"))]))
    assert views.position == 1
    assert not any(rows(views).values())
