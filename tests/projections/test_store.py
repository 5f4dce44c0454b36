"""projections.store."""

import sqlite3
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from unittest.mock import patch

import pytest

from domain.users.events import UserRegistered
from projections.agents import Agents
from projections.conversations import Conversations
from projections.store import ViewStore
from projections.unreadable import MOST
from projections.users import Users
from projections.views import Views
from tests.projections.histories import history, record, rows, unreadable

LOG = b"one log"
HEAD = 10**9
USER = UserRegistered(
    user_id="late", email="late@example.org", name="Late", slug="late", role="user", password_hash="-"
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ViewStore]:
    """Return a store on a new file."""
    opened = ViewStore(tmp_path / "views.db")
    yield opened
    opened.close()


def _filled(store: ViewStore, *, length: int = 200) -> Views:
    """Return views that are saved in the store."""
    views = Views()
    store.load(views.all, LOG, HEAD)
    views.apply(record(history(Random(1), length)))
    views.apply(unreadable(MOST + 1, after=views.position))
    store.save(views.take_changes())
    return views


def _loaded(store: ViewStore, *, log: bytes = LOG, head: int = HEAD) -> Views:
    views = Views()
    store.load(views.all, log, head)
    return views


def test_a_new_store_loads_nothing(store: ViewStore) -> None:
    views = _loaded(store)
    assert views.position == 0
    assert not any(rows(views).values())


def test_what_was_saved_is_loaded_in_the_same_order(store: ViewStore) -> None:
    views = _filled(store)
    loaded = _loaded(store)
    assert rows(loaded) == rows(views)
    assert [p.position for p in loaded.all] == [p.position for p in views.all]
    assert all(rows(views).values()), "every table has rows"


def test_what_was_loaded_is_not_saved_again(store: ViewStore) -> None:
    _filled(store)
    assert not any(part.changes for part in _loaded(store).take_changes())


def test_the_copy_survives_closing(tmp_path: Path) -> None:
    store = ViewStore(tmp_path / "views.db")
    views = _filled(store)
    store.close()
    again = ViewStore(tmp_path / "views.db")
    assert rows(_loaded(again)) == rows(views)
    again.close()


def test_positions_are_those_of_the_projections(store: ViewStore) -> None:
    views = _filled(store)
    assert store.positions() == {p.name: p.position for p in views.all}


def test_a_removed_row_is_removed_from_the_copy(store: ViewStore) -> None:
    views = _filled(store)
    table = views.agents.tables[0]
    table.remove(next(iter(table)).id)
    store.save(views.take_changes())
    assert rows(_loaded(store)) == rows(views)


def test_a_new_version_rebuilds_that_projection_alone(store: ViewStore, monkeypatch: pytest.MonkeyPatch) -> None:
    views = _filled(store)
    monkeypatch.setattr(Conversations, "version", Conversations.version + 1)
    loaded = _loaded(store)
    assert loaded.conversations.position == 0
    assert list(loaded.conversations.tables[0]) == []
    assert loaded.users.position == views.users.position
    assert {**rows(loaded), "conversations": []} == {**rows(views), "conversations": []}


@pytest.mark.parametrize(("log", "head"), [(b"other log", HEAD), (LOG, 10)])
def test_the_copy_of_another_log_or_of_a_later_state_is_thrown_away(
    store: ViewStore, log: bytes, head: int
) -> None:
    _filled(store)
    loaded = _loaded(store, log=log, head=head)
    assert loaded.position == 0
    assert not any(rows(loaded).values())
    assert rows(_loaded(store, log=log)) == rows(loaded), "it is gone from the file too"


def test_a_copy_that_is_just_at_the_head_is_kept(store: ViewStore) -> None:
    views = _filled(store)
    assert _loaded(store, head=views.position).position == views.position


def test_a_save_is_all_or_nothing(store: ViewStore) -> None:
    views = _filled(store)
    before = rows(_loaded(store))
    positions = store.positions()
    views.apply(record(history(Random(2), 50), after=views.position))
    store._connection.execute("DROP TABLE conversations")
    store._connection.execute("CREATE TABLE conversations (id TEXT PRIMARY KEY)")
    with pytest.raises(sqlite3.OperationalError):
        store.save(views.take_changes())
    assert store.positions() == positions
    users = Users()
    store.load([users], LOG, HEAD)
    assert list(users.tables[0]) == before["users"]


def test_the_copy_is_readable_by_its_owner_alone(store: ViewStore) -> None:
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600


def test_a_row_that_was_removed_and_came_again_loads_in_its_new_place(store: ViewStore) -> None:
    views = _filled(store)
    table = views.users.tables[0]
    first = next(iter(table))
    table.remove(first.id)
    table.put(first)
    store.save(views.take_changes())
    assert rows(_loaded(store)) == rows(views)


def test_a_row_that_cannot_be_saved_costs_only_its_projection_its_copy(store: ViewStore) -> None:
    views = _filled(store)
    before = rows(views)
    agent = next(iter(views.agents.tables[0]))
    views.agents.tables[0].put(replace(agent, ordinal=2**63))
    views.users.apply(record([("user:late", USER)], after=views.position))
    refused = store.save(views.take_changes())
    assert list(refused) == ["agents"]
    assert refused["agents"].startswith("OverflowError")
    loaded = _loaded(store)
    assert loaded.agents.position == 0
    assert not rows(loaded)["agents"]
    assert loaded.users.find("late") is not None
    del before["agents"], before["users"]
    assert {name: table for name, table in rows(loaded).items() if name in before} == before


async def test_a_copy_that_cannot_be_saved_is_named_and_never_taken_for_a_good_one(store: ViewStore) -> None:
    views = _filled(store)
    agent = next(iter(views.agents.tables[0]))
    views.agents.tables[0].put(replace(agent, ordinal=2**63))
    await views.save(store)
    assert "Read model agents: Its rows cannot be saved (OverflowError" in views.problems[0]
    views.agents.tables[0].put(agent)  # Saved again, but not all that came before.
    await views.save(store)
    assert _loaded(store).agents.position == 0
    fresh = Agents()
    fresh.replace_with(views.agents)
    views.agents.replace_with(fresh)
    assert views.agents.problem == ""
    await views.save(store)
    assert rows(_loaded(store)) == rows(views)


async def test_a_disk_that_refuses_is_named_until_it_does_not(store: ViewStore) -> None:
    views = _filled(store)
    known = views.problems
    with patch.object(store, "save", side_effect=sqlite3.OperationalError("disk I/O error")):
        await views.save(store)
    assert "The read models are not saved since #0 (OperationalError)." in views.problems
    await views.save(store)
    assert views.problems == known
