"""projections.store with a vault: what is private in the saved read models is encrypted, and goes with its key."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import pytest

from domain.agents.events import AgentCreated
from domain.catalogue import EVENT_TYPES
from domain.conversations.events import ConversationStarted
from domain.invites.events import InviteCreated
from domain.keys.events import KeySet
from domain.sessions.events import SessionOpened
from domain.tokens.events import TokenCreated
from domain.users.events import UserDeleted, UserRegistered
from domain.users.rules import register
from eventlog.codec import EventMapper
from eventlog.envelope import StreamAppend
from eventlog.log import EventLog, open_log
from eventlog.reader import Reader
from eventlog.vault import Vault
from projections.store import FILE_NAME, ViewStore
from projections.table import Table
from projections.views import Views, open_views, rebuild
from tests.eventlog.things_sealed import MASTER
from tests.projections.histories import ORIGIN, Step, history, record, rows

LOG = b"one log"
HEAD = 10**9
SEALED = [(t.name, column) for p in Views().all for t in p.tables for column in t.sealed]


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Vault]:
    """Return a vault."""
    with closing(Vault(tmp_path, MASTER)) as opened:
        yield opened


def _steps(seed: int, length: int = 300) -> list[Step]:
    return history(Random(seed), length)


def _give_keys(vault: Vault, steps: list[Step]) -> list[str]:
    """Give everybody a key; return those who are deleted by the end."""
    for _, event in steps:
        if isinstance(event, UserRegistered):
            vault.create(event.user_id)
    return [e.user_id for _, e in steps if isinstance(e, UserDeleted)]


def _planted(user: str) -> list[Step]:
    """Return the life of a user who writes `planted-...` wherever that ends up in a read model."""
    about = {"user_id": user, "prefix": "p"}
    made = register(
        user_id=user,
        email=f"planted-email-{user}@example.org",
        name="planted-name",
        slug=user,
        role="user",
        password_hash="planted-hash",
        email_key=user,
    )
    agent = AgentCreated(
        agent_id=f"a-{user}", user_id=user, backend="demo", name="planted-agent", model="planted-model", ordinal=1
    )
    conversation = ConversationStarted(
        conversation_id=f"c-{user}",
        user_id=user,
        agent_id=f"a-{user}",
        backend="demo",
        model="planted-m",
        title="planted-title",
    )
    return [
        *made.items(),
        (
            f"session:{user}",
            SessionOpened(session_id=f"s-{user}", user_id=user, device="planted-device", expires_at=9**9),
        ),
        (f"token:{user}", TokenCreated(**about, token_id=f"t-{user}", name="planted-token", hash="h", scope="v1")),
        (
            f"invite:{user}",
            InviteCreated(**about, invite_id=f"i-{user}", note="planted-note", hash="h", uses=1, expires_at=9**9),
        ),
        (f"keys:{user}", KeySet(user_id=user, backend="", name="LLM_MODEL", value="planted-value")),
        (f"agent:a-{user}", agent),
        (f"conversation:c-{user}", conversation),
    ]


def _saved(folder: Path, vault: Vault | None, steps: list[Step]) -> Views:
    """Save views of these events and return them."""
    views = Views()
    with closing(ViewStore(folder / FILE_NAME, vault)) as store:
        store.load(views.all, LOG, HEAD)
        views.apply(record(steps))
        store.save(views.take_changes())
    return views


def _loaded(folder: Path, vault: Vault | None) -> Views:
    views = Views()
    with closing(ViewStore(folder / FILE_NAME, vault)) as store:
        store.load(views.all, LOG, HEAD)
    return views


def _files(folder: Path) -> bytes:
    return b"".join(p.read_bytes() for p in folder.glob(f"{FILE_NAME}*"))


def _sealed_tables(views: Views) -> list[Table[Any]]:
    return [t for p in views.all for t in p.tables if t.sealed]


def _owners(views: Views) -> set[str]:
    return {getattr(row, t.owner) for t in _sealed_tables(views) for row in t}


# -- what is on disk --------------------------------------------------------------------------------------


def test_nothing_private_is_in_any_file_of_the_saved_copy(tmp_path: Path, vault: Vault) -> None:
    vault.create("u1")
    views = Views()
    store = ViewStore(tmp_path / FILE_NAME, vault)
    store.load(views.all, LOG, HEAD)
    views.apply(record(_planted("u1")))
    store.save(views.take_changes())
    assert b"u1" in _files(tmp_path)
    assert b"planted" not in _files(tmp_path)
    store.close()
    assert b"planted" not in _files(tmp_path)
    private = {getattr(row, c) for p in views.all for t in p.tables for c in t.sealed for row in t}
    assert {text.partition("-")[0] for text in private} == {"planted"}, "every sealed column was looked for"
    assert rows(_loaded(tmp_path, vault)) == rows(views)


def test_every_text_of_an_event_that_is_private_is_sealed_in_the_views_too(tmp_path: Path) -> None:
    """Without a vault the same texts are there to be found: so each of them is in a column that must be sealed."""
    _saved(tmp_path, None, _planted("u1"))
    kept = _files(tmp_path)
    for text in ("email", "name", "hash", "device", "token", "note", "value", "agent", "model", "title"):
        assert f"planted-{text}".encode() in kept


@pytest.mark.parametrize("seed", range(5))
def test_what_was_saved_is_loaded_in_the_same_order(tmp_path: Path, vault: Vault, seed: int) -> None:
    steps = _steps(seed)
    for user in _give_keys(vault, steps):
        vault.destroy(user)
    views = _saved(tmp_path, vault, steps)
    loaded = _loaded(tmp_path, vault)
    assert rows(loaded) == rows(views)
    assert loaded.position == views.position > 0


# -- keys that are gone -----------------------------------------------------------------------------------


def test_the_rows_of_a_destroyed_key_are_dropped_and_no_others(tmp_path: Path, vault: Vault) -> None:
    for user in ("u1", "u2"):
        vault.create(user)
    views = _saved(tmp_path, vault, [*_planted("u1"), *_planted("u2")])
    vault.destroy("u1")
    loaded = _loaded(tmp_path, vault)
    assert _owners(loaded) == {"u2"}
    assert loaded.position == views.position
    for before, after in zip(_sealed_tables(views), _sealed_tables(loaded), strict=True):
        assert list(after) == [row for row in before if getattr(row, before.owner) != "u1"] != []


def test_a_row_whose_owner_was_deleted_before_it_was_saved_is_not_saved(tmp_path: Path, vault: Vault) -> None:
    for user in ("u1", "u2"):
        vault.create(user)
    views = Views()
    with closing(ViewStore(tmp_path / FILE_NAME, vault)) as store:
        store.load(views.all, LOG, HEAD)
        views.apply(record([*_planted("u1"), *_planted("u2")]))
        vault.destroy("u1")
        store.save(views.take_changes())
    loaded = _loaded(tmp_path, vault)
    assert _owners(loaded) == {"u2"}
    assert loaded.position == views.position


def test_what_was_saved_of_a_deleted_user_leaves_the_file_also_after_a_crash(tmp_path: Path, vault: Vault) -> None:
    """The crash comes when the key is gone and the views that know it are not saved yet."""
    for user in ("u1", "u2"):
        vault.create(user)
    before = [*_planted("u1"), *_planted("u2")]
    _saved(tmp_path, vault, before)
    vault.destroy("u1")
    views = Views()
    with closing(ViewStore(tmp_path / FILE_NAME, vault)) as store:
        store.load(views.all, LOG, HEAD)
        views.apply(record([("user:u1", UserDeleted(user_id="u1"))], after=len(before)))
        store.save(views.take_changes())
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        assert connection.execute("SELECT id FROM users").fetchall() == [("u2",)]
        assert connection.execute("SELECT id FROM tokens").fetchall() == [("t-u2",)]


# -- other keys -------------------------------------------------------------------------------------------


def test_a_copy_that_was_written_without_a_vault_is_thrown_away(tmp_path: Path, vault: Vault) -> None:
    vault.create("u1")
    _saved(tmp_path, None, _planted("u1"))
    loaded = _loaded(tmp_path, vault)
    assert {p.name: p.position for p in loaded.all if any(t.sealed for t in p.tables)} == dict.fromkeys(
        ("users", "sessions", "tokens", "invites", "keys", "agents", "conversations"), 0
    )
    assert _owners(loaded) == set()


def test_a_copy_that_was_written_with_other_keys_is_thrown_away(tmp_path: Path, vault: Vault) -> None:
    vault.create("u1")
    _saved(tmp_path, vault, _planted("u1"))
    (tmp_path / "other").mkdir()
    with closing(Vault(tmp_path / "other", MASTER)) as other:
        other.create("u1")
        loaded = _loaded(tmp_path, other)
    assert loaded.position == 0
    assert _owners(loaded) == set()


@pytest.mark.parametrize(("table", "column"), SEALED)
@pytest.mark.parametrize("how", ["changed", "of another row"])
def test_a_sealed_column_that_was_tampered_with_has_its_projection_rebuilt(
    tmp_path: Path, vault: Vault, table: str, column: str, how: str
) -> None:
    for user in ("u1", "u2"):
        vault.create(user)
    views = _saved(tmp_path, vault, [*_planted("u1"), *_planted("u2")])
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection, connection:
        one, two = (bytes(v) for (v,) in connection.execute(f"SELECT {column} FROM {table} ORDER BY rowid"))
        forged = two if how == "of another row" else one[:-1] + bytes([one[-1] ^ 1])
        connection.execute(f"UPDATE {table} SET {column}=? WHERE {column}=?", (forged, one))
    loaded = _loaded(tmp_path, vault)
    hit = {p.name for p in views.all if table in {t.name for t in p.tables}}
    assert {p.name for p in loaded.all if p.position == 0} == hit


async def _write(log: EventLog, steps: list[Step]) -> None:
    versions: dict[str, int] = {}
    owners: dict[str, str] = {}
    for stream, event in steps:
        told: dict[str, Any] = event.model_dump()
        kind, _, id_ = stream.partition(":")
        owner = owners[stream] = told.get("user_id") or owners.get(stream) or _of_agent(told, owners)
        append = StreamAppend(stream, versions.get(stream, 0), [event], owner or (id_ if kind == "user" else ""))
        await log.append(append, origin=ORIGIN)
        versions[stream] = versions.get(stream, 0) + 1


def _of_agent(told: dict[str, Any], owners: dict[str, str]) -> str:
    return owners.get(f"agent:{told.get('agent_id')}", "")


@pytest.mark.parametrize("seed", range(4))
async def test_a_rebuild_equals_the_live_views_also_after_users_were_deleted(
    tmp_path: Path, vault: Vault, seed: int
) -> None:
    mapper, steps = EventMapper(EVENT_TYPES, vault), _steps(seed, 400)
    deleted = _give_keys(vault, steps)
    async with open_log(tmp_path, mapper) as log, open_views(tmp_path, log, vault) as views:
        await _write(log, steps)
        for user in deleted:
            vault.destroy(user)
        live = rows(views)
    assert deleted, "this history has nobody who was deleted"
    async with open_log(tmp_path, mapper) as log, open_views(tmp_path, log, vault) as views:
        assert rows(views) == live
    reader = Reader(tmp_path / "events.db", mapper)
    assert rows(rebuild(tmp_path, reader, vault=vault)) == live
    reader.close()
    async with open_log(tmp_path, mapper) as log, open_views(tmp_path, log, vault) as views:
        assert rows(views) == live


async def test_views_of_another_vault_are_rebuilt_from_the_log(tmp_path: Path, vault: Vault) -> None:
    mapper = EventMapper(EVENT_TYPES, vault)
    steps = _planted("u1")
    vault.create("u1")
    async with open_log(tmp_path, mapper) as log, open_views(tmp_path, log, vault) as views:
        await _write(log, steps)
        live = rows(views)
        identity = log.reader.identity()
    (tmp_path / FILE_NAME).unlink()
    (tmp_path / "other").mkdir()
    with (
        closing(Vault(tmp_path / "other", MASTER)) as other,
        closing(ViewStore(tmp_path / FILE_NAME, other)) as store,
    ):
        other.create("u1")
        foreign = Views()
        store.load(foreign.all, identity, len(steps))
        foreign.apply(record(steps))
        store.save(foreign.take_changes())
    async with open_log(tmp_path, mapper) as log, open_views(tmp_path, log, vault) as views:
        # Sizes are no secrets, and these were made of events that have none.
        assert {**rows(views), "footprints": live["footprints"]} == live
