"""`agentstack import-legacy`: what is wrong with a database, said clearly, with nothing half done."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.agentstack.legacy_setup import (
    BOB,
    is_empty,
    legacy_database,
    login,
    new_server,
)
from tests.agentstack.test_cli import ok, told
from tests.harness.server import Server


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Server]:
    """Return a server with nothing in its data folder."""
    server = new_server(tmp_path)
    yield server
    server.__exit__()


# -- what is wrong with it --------------------------------------------------------------------------------

WRONG: dict[str, tuple[list[str], list[str]]] = {
    "two admins": (["UPDATE users SET role='admin' WHERE id='2'"], ["2 admins"]),
    "no admin": (["UPDATE users SET role='user'"], ["0 admins"]),
    "emails that differ in case": (
        ["UPDATE users SET email='BOB@example.org' WHERE id='3'"],
        ["bob@example.org", "2 users"],
    ),
    "emails that differ in form": (
        ["UPDATE users SET email='\uff42ob@example.org' WHERE id='3'"],
        ["bob@example.org"],
    ),
    "slugs twice": (["UPDATE users SET slug='bob-a2' WHERE id='3'"], ["bob-a2", "2 users"]),
    "an email that is none": (["UPDATE users SET email='bob' WHERE id='2'"], ["users 2", "email"]),
    "no table": (["DROP TABLE messages"], ["messages", "missing"]),
    "no column": (["ALTER TABLE agents DROP COLUMN ordinal"], ["agents", "ordinal"]),
    "a message of no conversation": (
        ["INSERT INTO messages VALUES('x','nope','user','t',1)"],
        ["1 rows of messages"],
    ),
    "a conversation of no user": (["UPDATE conversations SET user_id='9'"], ["conversations", "no user"]),
    "a conversation of no agent": (["UPDATE conversations SET agent_id='none'"], ["conversations", "no agent"]),
    "an agent of no user": (["UPDATE agents SET user_id='9'"], ["agents", "no user"]),
    "a key of no user": (["UPDATE user_env_overrides SET user_id='9' WHERE user_id='2'"], ["user_env_overrides"]),
    "a preference of no user": (["UPDATE user_backend_prefs SET user_id='9'"], ["user_backend_prefs"]),
    "an unknown role": (["UPDATE messages SET role='tool' WHERE id='m1'"], ["unknown role 'tool'"]),
    "no time": (["UPDATE messages SET created_at=NULL WHERE id='m1'"], ["messages", "created_at"]),
    "a time that is text": (["UPDATE users SET created_at='2023-11-14' WHERE id='2'"], ["users", "created_at"]),
    "a number that is text": (["UPDATE agents SET ordinal='first'"], ["agents ag1"]),
    "a number of 64 bits": (["UPDATE agents SET ordinal=9.3e18"], ["agents ag1", "64 bits"]),
    "a number that is huge": (["UPDATE agents SET ordinal=1e300"], ["agents ag1", "64 bits"]),
    "an idle time without end": (["UPDATE user_backend_prefs SET idle_seconds=9e999"], ["user_backend_prefs"]),
    "an idle time of 64 bits": (["UPDATE user_backend_prefs SET idle_seconds=9.3e18"], ["user_backend_prefs"]),
    "a name that is a number": (["UPDATE users SET name=5 WHERE id='2'"], ["users 2"]),
    "a name that is no text": (["UPDATE users SET name=x'ff' WHERE id='2'"], ["users 2"]),
    "an agent without a number": (["UPDATE agents SET ordinal=NULL"], ["agents ag1"]),
    "an id twice": (["UPDATE messages SET id='m9' WHERE id='m1'"], ["messages"]),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_told_and_nothing_is_brought_in(fresh: Server, what: str) -> None:
    statements, words = WRONG[what]
    database = legacy_database(fresh.folder / "router.db", *statements)
    run = fresh.cli("import-legacy", str(database))
    said = told(run)
    assert run.returncode == 1
    for word in (*words, "nothing was brought in"):
        assert word in said
    report = json.loads(fresh.cli("import-legacy", str(database), "--json").stdout)
    assert report["problems"]
    assert report["done"] == ""
    assert is_empty(fresh)


def test_all_problems_are_told_at_once(fresh: Server) -> None:
    statements = ["UPDATE users SET role='user'", "DROP TABLE agents", "UPDATE messages SET role='tool'"]
    said = told(fresh.cli("import-legacy", str(legacy_database(fresh.folder / "router.db", *statements))))
    for words in ("0 admins", "agents is missing", "unknown role"):
        assert words in said


def _overwritten(data: bytes) -> bytes:
    return data[:8192] + b"x" * 300 + data[8492:]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "a page is overwritten": _overwritten,
    "half is missing": lambda data: data[: len(data) // 2],
    "it is text": lambda _: b"This is no database at all. " * 400,
    "it is empty": lambda _: b"",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_told_apart_and_nothing_is_brought_in(fresh: Server, damage: str) -> None:
    database = legacy_database(fresh.folder / "router.db")
    database.write_bytes(DAMAGE[damage](database.read_bytes()))
    run = fresh.cli("import-legacy", str(database))
    said = told(run)
    assert run.returncode == 1
    assert "damaged" in said or "missing" in said
    assert is_empty(fresh)


def test_a_database_that_is_not_there_is_named(fresh: Server) -> None:
    assert "no-such.db" in told(fresh.cli("import-legacy", "no-such.db"))
    assert not fresh.data.exists()


def test_an_installation_can_be_imported_with_what_was_still_in_its_journal(fresh: Server) -> None:
    """The earlier server was killed: the newest rows are in the file beside the database."""
    database = legacy_database(fresh.folder / "router.db", "UPDATE users SET name='Before'")
    with closing(sqlite3.connect(database)) as c:
        c.execute("PRAGMA journal_mode=WAL")
        c.execute("UPDATE users SET name='Newest'")
        c.commit()
        ok(fresh.cli("import-legacy", str(database)))
    with fresh:
        assert login(fresh, BOB).get("/auth/me").json()["user"]["name"] == "Newest"
