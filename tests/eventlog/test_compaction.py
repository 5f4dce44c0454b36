"""eventlog.compaction: only what may go is blanked, and nothing else changes."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from random import Random

import pytest
import trio

from agentstack.cli.compact import NEEDED
from domain.catalogue import EVENT_TYPES
from domain.runners.events import RunnerFailed, RunnerRequested
from domain.users.events import UserDeleted
from eventlog.codec import EventMapper
from eventlog.compaction import Compacted, compact
from eventlog.envelope import ERASED, StreamAppend
from eventlog.errors import BrokenChainError
from eventlog.filter import Filter
from eventlog.log import open_log
from eventlog.reader import Reader
from eventlog.vault import Vault
from projections.stream_state import state_after
from projections.views import Views
from tests.eventlog.things import ORIGIN, Happened, Noted
from tests.eventlog.things_sealed import MASTER, Told, sealed_mapper
from tests.projections.histories import history, rows

OLD_US, NEW_US = 1_600_000_000_000_000, 1_700_000_000_000_000
LIMIT = {"test.noted": 1_650_000_000_000_000}
SECRET = "something to forget "


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Vault]:
    """Return a vault with the keys of ada, and of bob, who is to be deleted."""
    with closing(Vault(tmp_path, MASTER)) as vault:
        vault.create("ada")
        vault.create("bob")
        yield vault


@pytest.fixture
def path(tmp_path: Path, vault: Vault) -> Path:
    """Return a log: old and new events, of two types that may go when they are old and of owners, one by one."""

    async def write() -> None:
        async with open_log(tmp_path, sealed_mapper(vault)) as log:
            for at, name in ((OLD_US, "old"), (NEW_US, "new")):
                text = SECRET * 2000
                for owner in ("ada", "bob"):
                    told = StreamAppend(f"{name}:{owner}", 0, [Told(text=text), Told(text=text)], owner, at)
                    plain = StreamAppend(f"plain-{name}:{owner}", 0, [Happened(n=1, text="kept")], owner, at)
                    await log.append(told, plain, origin=ORIGIN)
                    noted = StreamAppend(f"noted-{name}:{owner}", 0, [Noted(text=name)], owner, at)
                    await log.append(noted, origin=ORIGIN)

    trio.run(write)
    return tmp_path / "events.db"


@pytest.fixture
def reader(path: Path, vault: Vault) -> Iterator[Reader]:
    """Return a reader of it."""
    reader = Reader(path, sealed_mapper(vault))
    yield reader
    reader.close()


def _blank(reader: Reader) -> set[str]:
    """Return the streams of which a payload is blanked."""
    return {r.stream for r in reader.events(Filter()) if r.event == ERASED}


def test_what_is_old_goes_by_type_and_what_is_encrypted_by_owner(path: Path, reader: Reader) -> None:
    compact(path, ["bob"], LIMIT)
    assert _blank(reader) == {"old:bob", "new:bob", "noted-old:ada", "noted-old:bob"}
    assert all(r.erased == (r.event == ERASED) for r in reader.events(Filter()))


def test_envelopes_stay_and_the_chain_verifies(path: Path, reader: Reader) -> None:
    before = [r._replace(state=b"") for r in reader.stored(Filter())]
    head = reader.head()
    compact(path, ["bob"], LIMIT)
    assert [r._replace(state=b"") for r in reader.stored(Filter())] == before
    assert reader.verify() == len(before)
    assert reader.head() == head
    reader.check_commit(head.position, head.hash)


def test_what_is_not_to_go_is_read_as_before(path: Path, reader: Reader) -> None:
    before = {r.position: r for r in reader.events(Filter())}
    compact(path, ["bob"], LIMIT)
    after = {r.position: r for r in reader.events(Filter())}
    assert {p: r for p, r in after.items() if r.event != ERASED} == {
        p: r for p, r in before.items() if after[p].event != ERASED
    }


def test_nothing_is_left_of_it_in_the_file_which_gets_smaller(path: Path, reader: Reader) -> None:
    sealed = [r.state[-64:] for r in reader.stored(Filter(stream_prefix="old:bob"))]
    assert len(sealed) == 2
    reader.close()
    done = compact(path, ["bob"], LIMIT)
    left = b"".join(p.read_bytes() for p in path.parent.glob(f"{path.name}*"))
    assert not [part for part in sealed if part in left]
    assert done.before > done.after == path.stat().st_size
    assert done.payload_bytes > 4 * 2000 * len(SECRET)
    assert done.before - done.after > done.payload_bytes * 0.9


def test_a_dry_run_changes_nothing(path: Path, reader: Reader) -> None:
    before = reader.stored(Filter())
    reader.close()
    content = path.read_bytes()
    told = compact(path, ["bob"], LIMIT, dry_run=True)
    assert (told.events, told.before) == (6, told.after)
    assert path.read_bytes() == content
    assert reader.stored(Filter()) == before


def test_a_dry_run_tells_exactly_what_would_go(path: Path) -> None:
    """Also of what is to go for two reasons: an old sign-in of a user who was deleted."""
    old = {**LIMIT, Told.TOPIC: LIMIT["test.noted"]}
    dry = compact(path, ["bob"], old, dry_run=True)
    done = compact(path, ["bob"], old)
    assert (dry.events, dry.payload_bytes) == (done.events, done.payload_bytes)


def test_twice_is_once(path: Path, reader: Reader) -> None:
    compact(path, ["bob"], LIMIT)
    once = reader.stored(Filter())
    again = compact(path, ["bob"], LIMIT)
    assert (again.events, again.payload_bytes) == (0, 0)
    assert reader.stored(Filter()) == once
    assert again.after == again.before


def test_nothing_to_forget_is_no_mistake(path: Path, reader: Reader) -> None:
    assert compact(path, [], {}).events == 0
    assert compact(path, ["nobody"], {"test.none": NEW_US}).events == 0
    assert not _blank(reader)


def test_any_number_of_owners_may_be_forgotten_at_once(path: Path, reader: Reader) -> None:
    compact(path, [*(f"user-{n}" for n in range(2500)), "bob", "ada", "bob"], {})
    assert _blank(reader) == {"old:bob", "new:bob", "old:ada", "new:ada"}


def test_a_compaction_that_fails_half_way_has_not_happened(path: Path, reader: Reader) -> None:
    before = reader.stored(Filter())
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            """CREATE TRIGGER refuse BEFORE UPDATE ON stored_events WHEN old.originator_id = 'new:bob'
            BEGIN SELECT RAISE(ABORT, 'no'); END"""
        )
    with pytest.raises(sqlite3.IntegrityError, match="no"):
        compact(path, ["bob"], LIMIT)
    assert reader.stored(Filter()) == before


def test_what_was_forgotten_cannot_be_replaced_by_something_else(path: Path, reader: Reader) -> None:
    compact(path, ["bob"], LIMIT)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE stored_events SET state = X'7B7D' WHERE originator_id = 'new:bob'")
    with pytest.raises(BrokenChainError, match="payload was changed"):
        reader.verify()


async def test_the_log_goes_on_afterwards(path: Path, vault: Vault) -> None:
    done: Compacted = await trio.to_thread.run_sync(compact, path, ["bob"], LIMIT)
    assert done.events == 6
    async with open_log(path.parent, sealed_mapper(vault)) as log:
        before = log.position
        await log.append(StreamAppend("new:ada", 2, [Told(text="more")], "ada"), origin=ORIGIN)
        assert log.reader.verify() == before + 1


# -- histories of everything that users do ----------------------------------------------------------------


def _owner(stream: str, event: object, owners: dict[str, str]) -> str:
    """Return whom an event is about: its user, or whoever began its stream."""
    return owners.setdefault(stream, str(getattr(event, "user_id", "")))


@pytest.mark.parametrize("seed", range(12))
def test_read_models_after_forgetting_deleted_users_are_those_of_before(seed: int, tmp_path: Path) -> None:
    """And any stream can still be looked at, at any version."""
    with closing(Vault(tmp_path, MASTER)) as vault:
        path, mapper = tmp_path / "events.db", EventMapper(EVENT_TYPES, vault)
        deleted: list[str] = []

        async def write() -> None:
            versions: dict[str, int] = {}
            owners: dict[str, str] = {}
            appends = []
            for stream, event in history(Random(seed), 400):
                owner = _owner(stream, event, owners)
                vault.create(owner)
                appends.append(StreamAppend(stream, versions.get(stream, 0), [event], owner))
                versions[stream] = versions.get(stream, 0) + 1
                if isinstance(event, UserDeleted):
                    deleted.append(event.user_id)
            async with open_log(path.parent, mapper) as log:
                await log.append(*appends, origin=ORIGIN)

        trio.run(write)
        for user in deleted:
            vault.destroy(user)
        reader = Reader(path, mapper)
        before, after = Views(), Views()
        before.catch_up(reader)
        compact(path, deleted, {}, needed=NEEDED)
        assert deleted
        assert reader.verify() == len(reader.events(Filter(), -1))
        after.catch_up(reader)
        assert rows(after) == rows(before)
        for stream, *_ in reader.streams("", -1):
            records = reader.events(Filter(stream=stream))
            for until in range(1, len(records) + 1):
                state_after(records[:until])
        reader.close()


async def test_a_runner_that_had_failed_does_not_run_again_once_its_user_was_forgotten(tmp_path: Path) -> None:
    """What ended it is an event with private parts, and those alone are to go."""
    about = {"agent_id": "a", "user_id": "u", "backend": "demo", "container_name": "c", "engine": "process"}
    events = [
        RunnerRequested(runner_id="r", **about, spec_hash="0"),
        RunnerFailed(runner_id="r", stage="died", message="it broke", log_tail="output"),
    ]
    with closing(Vault(tmp_path, MASTER)) as vault:
        vault.create("u")
        async with open_log(tmp_path, EventMapper(EVENT_TYPES, vault)) as log:
            await log.append(StreamAppend("runner:r", 0, events, "u"), origin=ORIGIN)
            await log.append(StreamAppend("user:u", 0, [UserDeleted(user_id="u")], "u"), origin=ORIGIN)
        vault.destroy("u")
        await trio.to_thread.run_sync(partial(compact, tmp_path / "events.db", ["u"], {}, needed=NEEDED))
        reader, views = Reader(tmp_path / "events.db", EventMapper(EVENT_TYPES, vault)), Views()
        views.catch_up(reader)
        reader.close()
    assert views.runners.alive() == []
