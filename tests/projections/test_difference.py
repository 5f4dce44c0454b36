"""projections.difference: what changed between two positions, by user."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.agents.events import AgentChanged, AgentCreated, AgentDeleted
from domain.catalogue import EVENT_TYPES
from domain.event import Event
from domain.keys.events import KeyCleared, KeySet
from domain.sessions.events import SessionOpened
from domain.users.events import PasswordChanged, UserRenamed
from domain.users.rules import register
from eventlog.codec import EventMapper
from eventlog.envelope import StreamAppend
from eventlog.filter import Filter
from eventlog.log import open_log
from eventlog.reader import Reader
from projections.difference import Difference, differences
from projections.views import Views
from tests.projections.histories import ORIGIN, Step, history

MAPPER = EventMapper(EVENT_TYPES)
SECRET = "planted-secret"
Opener = Callable[[list[Step]], Reader]


@pytest.fixture
def log_of(tmp_path: Path) -> Iterator[Opener]:
    """Return what makes a log of some steps."""
    opened: list[Reader] = []

    def make(steps: list[Step]) -> Reader:
        trio.run(_write, tmp_path, steps)
        opened.append(Reader(tmp_path / "events.db", MAPPER))
        return opened[-1]

    yield make
    for reader in opened:
        reader.close()


async def _write(folder: Path, steps: list[Step]) -> None:
    versions: dict[str, int] = {}
    appends = []
    for stream, event in steps:
        appends.append(StreamAppend(stream, versions.get(stream, 0), [event]))
        versions[stream] = versions.get(stream, 0) + 1
    async with open_log(folder, MAPPER) as log:
        await log.append(*appends, origin=ORIGIN)


def _user(name: str) -> list[Step]:
    events = register(
        user_id=name,
        email=f"{name}@example.org",
        name=name,
        slug=name,
        role="user",
        password_hash=f"{SECRET}-hash",
        email_key=name,
    )
    return list(events.items())


def _agent(user: str, agent: str) -> Event:
    return AgentCreated(agent_id=agent, user_id=user, backend="demo", name="A", model="", ordinal=1)


def _told(found: dict[str, list[Difference]]) -> set[tuple[str, str, str, str]]:
    return {(user, d.table, d.key, d.what) for user, listed in found.items() for d in listed}


def test_what_came_went_and_changed_is_told_by_user(log_of: Opener) -> None:
    before = [*_user("ada"), *_user("bob"), ("agent:1", _agent("ada", "1")), ("agent:2", _agent("bob", "2"))]
    after: list[Step] = [
        ("user:ada", UserRenamed(user_id="ada", name="Countess")),
        ("agent:1", AgentChanged(agent_id="1", name="B", model="m")),
        ("agent:2", AgentDeleted(agent_id="2")),
        ("agent:3", _agent("bob", "3")),
    ]
    found = differences(log_of([*before, *after]), len(before), len(before) + len(after))
    assert _told(found) == {
        ("ada", "users", "ada", "changed"),
        ("ada", "agents", "1", "changed"),
        ("bob", "agents", "2", "removed"),
        ("bob", "agents", "3", "added"),
    }
    (renamed,) = [d for d in found["ada"] if d.table == "users"]
    assert renamed.fields == {"name": ("ada", "Countess")}
    (changed,) = [d for d in found["ada"] if d.table == "agents"]
    assert changed.fields == {"name": ("A", "B"), "model": ("", "m")}
    (added,) = [d for d in found["bob"] if d.what == "added"]
    assert (added.fields["backend"], added.fields["name"]) == ("demo", "A")


def test_what_came_and_went_in_between_is_no_difference(log_of: Opener) -> None:
    steps = [*_user("ada"), ("agent:1", _agent("ada", "1")), ("agent:1", AgentDeleted(agent_id="1"))]
    reader = log_of(steps)
    assert differences(reader, len(_user("ada")), len(steps)) == {}
    assert differences(reader, len(steps), len(steps)) == {}


def test_secrets_are_not_told_but_that_they_changed_is(log_of: Opener) -> None:
    key = {"user_id": "ada", "backend": "", "name": "LLM_API_KEY"}
    steps: list[Step] = [
        *_user("ada"),
        ("keys:ada", KeySet(**key, value=f"{SECRET}-1")),
        ("user:ada", PasswordChanged(user_id="ada", password_hash=f"{SECRET}-2")),
        ("keys:ada", KeySet(**key, value=f"{SECRET}-3")),
        ("session:ada", SessionOpened(session_id="s", user_id="ada", device="d", expires_at=1)),
        ("keys:ada", KeyCleared(**key)),
    ]
    reader = log_of(steps)
    for first in range(len(steps) + 1):
        for second in range(first, len(steps) + 1):
            assert SECRET not in str(differences(reader, first, second))
    start = len(_user("ada")) + 1
    found = differences(reader, start, start + 2)
    assert ("ada", "keys", "ada//LLM_API_KEY", "changed") in _told(found)
    assert ("ada", "users", "ada", "changed") in _told(found)


def test_it_begins_with_nothing(log_of: Opener) -> None:
    steps = _user("ada")
    found = differences(log_of(steps), 0, len(steps))
    assert ("ada", "users", "ada", "added") in _told(found)


def test_progress_goes_up_to_the_second_position(log_of: Opener) -> None:
    progress: list[int] = []
    steps = history(Random(1), 50)
    differences(log_of(steps), 10, 40, progress.append)
    assert progress == sorted(progress)
    assert progress[-1] == 40


def _rows(reader: Reader, until: int) -> dict[tuple[str, str], dict[str, Any]]:
    views = Views()
    if until:
        views.apply(reader.events(Filter(until=until), -1))
    return {
        (t.name, getattr(row, t.columns[0])): {c: getattr(row, c) for c in t.columns}
        for p in views.all
        for t in p.tables
        for row in t
    }


@settings(max_examples=15, deadline=None)
@given(data=st.data(), seed=st.integers(0, 10**6))
def test_any_two_positions_differ_by_what_their_read_models_do(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("history")
    steps = history(Random(seed), 150)
    trio.run(_write, folder, steps)
    with closing(Reader(folder / "events.db", MAPPER)) as reader:
        first, second = sorted(data.draw(st.tuples(st.integers(0, len(steps)), st.integers(0, len(steps)))))
        before, after = _rows(reader, first), _rows(reader, second)
        found = differences(reader, first, second)
    told = {(d.table, d.key): d for listed in found.values() for d in listed}
    assert len(told) == sum(map(len, found.values())), "each row once"
    assert {k for k, d in told.items() if d.what == "added"} == after.keys() - before.keys()
    assert {k for k, d in told.items() if d.what == "removed"} == before.keys() - after.keys()
    changed = {k for k in before.keys() & after.keys() if before[k] != after[k]}
    assert {k for k, d in told.items() if d.what == "changed"} <= changed
    for (table, key), difference in told.items():
        assert difference.user_id in {"", *steps_users(steps)}, table
        orjson.dumps(difference.fields)
        if difference.what == "changed":
            for name, values in difference.fields.items():
                assert values in {
                    (before[table, key][name], after[table, key][name]),
                    ("(secret)", "(secret)"),
                }


def steps_users(steps: list[Step]) -> set[str]:
    return {str(getattr(event, "user_id", "")) for _, event in steps}
