"""`agentstack import-legacy`: the data of the earlier agent-stack, from databases that are made here."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.agentstack.legacy_setup import (
    BACKEND,
    BOB,
    BORN,
    CAROL,
    MESSAGES,
    ROOT,
    is_empty,
    legacy_database,
    login,
    new_server,
)
from tests.agentstack.serving import digests, stored
from tests.agentstack.test_cli import lines, ok, told
from tests.harness.server import Server


@dataclass(frozen=True)
class Imported:
    """A server that runs on what was imported, and what the import said."""

    server: Server
    report: dict[str, Any]
    events: list[dict[str, Any]]


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Imported]:
    """Return a server that runs on the imported database, and on the homes beside it."""
    folder = tmp_path_factory.mktemp("imported")
    database = legacy_database(folder / "router.db")
    home = folder / "homes" / "bob-a2" / "demo"
    home.mkdir(parents=True)
    (home / "notes.txt").write_text("Bob's notes")
    (home / "notes.txt").chmod(0o640)
    (home / "link").symlink_to("/nowhere/at/all")
    (folder / "homes" / "carol").mkdir()
    (folder / "homes" / "a-stranger").mkdir()
    server = new_server(folder)
    before = digests(folder / "homes")
    said = ok(server.cli("import-legacy", str(database), "--users-root", str(folder / "homes"), "--json"))
    assert digests(folder / "homes") == before
    events = lines(server.cli("events", "list", "--json", "--limit", "500"))
    with server:
        yield Imported(server, json.loads(said), events)


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Server]:
    """Return a server with nothing in its data folder."""
    server = new_server(tmp_path)
    yield server
    server.__exit__()


# -- what is brought in -----------------------------------------------------------------------------------


def test_the_report_counts_what_came_and_what_stayed(imported: Imported) -> None:
    counts = {"users": 3, "user_backend_prefs": 1, "user_env_overrides": 3, "admin_shared_env": 1}
    counts |= {"agents": 1, "conversations": 1, "messages": 5}
    assert imported.report["counts"] == counts
    assert imported.report["left"] == {"runners": 1, "rooms": 1}
    assert (imported.report["done"], imported.report["problems"], imported.report["homes"]) == ("imported", [], [])
    assert imported.report["events"] == len(imported.events) - 1, "the last one says that it was imported"


def test_events_are_in_the_order_of_the_time_at_which_things_happened(imported: Imported) -> None:
    times = _times(imported)
    assert times == sorted(times)
    assert times[0] == BORN * 1_000_000
    assert (BORN + 180.5) * 1_000_000 in times


def _times(imported: Imported) -> list[int]:
    with closing(sqlite3.connect(imported.server.data / "events.db")) as c:
        last = imported.report["events"]
        return [
            r[0] for r in c.execute("SELECT at FROM stored_events WHERE position <= ? ORDER BY position", (last,))
        ]


def test_all_of_it_is_one_commit(imported: Imported) -> None:
    with closing(sqlite3.connect(imported.server.data / "events.db")) as c:
        first = c.execute("SELECT MIN(last_position) FROM commits").fetchone()[0]
    assert first == len(imported.events)
    assert "The log verifies" in ok(imported.server.cli("audit", "verify"))


def test_conversations_keep_their_ids_times_titles_and_the_order_of_their_messages(imported: Imported) -> None:
    client = login(imported.server, BOB)
    (listed,) = client.get("/api/conversations").json()["conversations"]
    told_ = {k: listed[k] for k in ("id", "title", "backend", "agent_id", "created_at", "message_count")}
    expected = {"id": "c1", "title": "Old talk", "backend": "demo", "agent_id": "ag1"}
    assert told_ == {**expected, "created_at": BORN + 160, "message_count": len(MESSAGES)}
    messages = client.get("/api/conversations/c1").json()["messages"]
    found = [(m["id"], m["role"], m["content"], m["created_at"]) for m in messages]
    assert found == [(id_, role, content, int(at)) for id_, role, content, at in MESSAGES]


def test_a_conversation_was_last_changed_when_something_was_last_said(imported: Imported) -> None:
    """A new title does not count, here as little as for conversations that began here."""
    (listed,) = login(imported.server, BOB).get("/api/conversations").json()["conversations"]
    assert listed["updated_at"] == BORN + 190


def test_users_keep_their_ids_names_roles_and_the_time_at_which_they_came(imported: Imported) -> None:
    users = login(imported.server, ROOT).get("/api/admin/users").json()["users"]
    found = {u["id"]: (u["email"].lower(), u["name"], u["role"], u["created_at"]) for u in users}
    assert found == {
        "1": (ROOT[0], "Root", "admin", BORN),
        "2": (BOB[0], "Bob B.", "user", BORN + 100),
        "3": (CAROL[0], "carol", "user", BORN + 120),
    }


def test_agents_keep_their_ids_and_names_and_a_conversation_goes_on_with_its_own(imported: Imported) -> None:
    client = login(imported.server, BOB)
    agents = client.get("/api/agents").json()["agents"]
    assert [(a["id"], a["name"]) for a in agents if a["backend"] == "demo"] == [("ag1", "Bob's demo")]
    turn = client.post("/api/conversations/c1/turns", json={"content": "Do you remember?"})
    assert turn.status_code == 202, turn.text


def test_idle_times_keys_and_shares_are_kept(imported: Imported) -> None:
    client = login(imported.server, BOB)
    (backend,) = client.get("/api/backends").json()["backends"]
    assert backend["idle_seconds"] == 300
    keys = client.get("/api/me/env-overrides").json()
    assert keys["overrides"][""]["LLM_API_KEY"].endswith("4321")
    assert keys["overrides"]["demo"]["OTHER_KEY"].endswith("9876")
    assert keys["admin_shared"]["LLM_API_KEY"] is True
    carol = login(imported.server, CAROL).get("/api/me/env-overrides").json()
    assert not carol["overrides"].get("")
    assert carol["effective"]["demo"]["LLM_API_KEY"]["source"] not in {"none", "global"}, "the admin shares theirs"


def test_what_users_wrote_and_their_keys_are_encrypted_in_the_log(imported: Imported) -> None:
    data = (imported.server.data / "events.db").read_bytes() + b"".join(
        p.read_bytes() for p in imported.server.data.glob("events.db-wal")
    )
    for secret in (b"sk-bobs-own-key-4321", b"other-value-of-bob", b"Asked first", b"$2b$04$"):
        assert secret not in data


def test_secrets_are_not_in_what_the_import_says(imported: Imported) -> None:
    said = json.dumps([imported.report, imported.events])
    for secret in ("sk-bobs", "other-value", "$2b$"):
        assert secret not in said


# -- passwords --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", [ROOT, BOB, CAROL, ("BOB@example.ORG", BOB[1])])
def test_people_sign_in_with_their_old_passwords(imported: Imported, who: tuple[str, str]) -> None:
    assert login(imported.server, who).get("/auth/me").is_success


def test_a_wrong_password_is_as_wrong_as_ever(imported: Imported) -> None:
    answer = imported.server.client().post("/auth/login", json={"email": BOB[0], "password": ROOT[1]})
    assert answer.status_code == 401


def test_a_password_is_hashed_anew_at_the_first_sign_in_and_not_again(fresh: Server) -> None:
    database = legacy_database(fresh.folder / "router.db")
    ok(fresh.cli("import-legacy", str(database)))
    with fresh:
        for _ in range(3):
            login(fresh, BOB)
        changes = lines(fresh.cli("events", "list", "--json", "--limit", "500", "--type", "user.password_changed"))
    assert [e["stream"] for e in changes] == ["user:2"]


def test_nobody_has_to_set_up_a_server_with_an_imported_admin(imported: Imported) -> None:
    assert imported.server.client().get("/auth/state").json()["needs_setup"] is False


# -- slugs and homes --------------------------------------------------------------------------------------


def test_a_home_is_copied_to_the_name_that_its_owner_has_now(imported: Imported) -> None:
    assert imported.report["slugs"] == {"bob-a2": "bob"}
    users = imported.server.data / "users"
    home = users / "bob" / "demo"
    assert (home / "notes.txt").read_text() == "Bob's notes"
    assert (home / "notes.txt").stat().st_mode & 0o777 == 0o640
    assert (home / "link").readlink() == Path("/nowhere/at/all")
    assert (users / "carol").is_dir()
    assert not (users / "a-stranger").exists(), "it is nobody's"
    assert not (users / "bob-a2").exists()


@pytest.mark.parametrize(
    ("slugs", "expected"),
    [
        ({"2": "bob-a2", "3": "bob"}, {"bob-a2": "bob2"}),
        ({"2": "a1", "3": "carol"}, {"a1": "bob"}),
        ({"2": "bob-a", "3": "bob-a7"}, {"bob-a": "bob", "bob-a7": "carol"}),
        ({"2": "Bob B", "3": "carol"}, {"Bob B": "bob"}),
        ({"2": "../..", "3": "c" * 41}, {"../..": "bob", "c" * 41: "carol"}),
        ({"2": "bob-b", "3": "c"}, {}),
    ],
)
def test_a_slug_that_could_be_taken_for_an_agents_or_is_none_becomes_another_that_is_free(
    fresh: Server, slugs: dict[str, str], expected: dict[str, str]
) -> None:
    changes = [f"UPDATE users SET slug='{slug}' WHERE id='{id_}'" for id_, slug in slugs.items()]
    database = legacy_database(fresh.folder / "router.db", *changes)
    report = json.loads(ok(fresh.cli("import-legacy", str(database), "--json")))
    assert report["slugs"] == expected
    claimed = {e.originator_id for e in stored(fresh.data) if e.topic == "slug.claimed"}
    assert claimed == {f"slug:{expected.get(slug, slug)}" for slug in ("root", *slugs.values())}


def test_a_slug_that_leads_out_of_the_homes_copies_nothing_from_there(fresh: Server) -> None:
    database = legacy_database(fresh.folder / "router.db", "UPDATE users SET slug='../private' WHERE id='2'")
    (fresh.folder / "homes").mkdir()
    (fresh.folder / "private").mkdir()
    (fresh.folder / "private" / "secret").write_text("not a home")
    fresh.cli("import-legacy", str(database), "--users-root", str(fresh.folder / "homes"))
    assert not list((fresh.data / "users").rglob("secret"))


# -- looking, and doing it twice --------------------------------------------------------------------------


def test_a_dry_run_tells_what_would_come_and_brings_in_nothing(fresh: Server) -> None:
    database = legacy_database(fresh.folder / "router.db")
    before = database.read_bytes()
    said = ok(fresh.cli("import-legacy", str(database), "--dry-run"))
    assert "Nothing was changed" in said
    report = json.loads(ok(fresh.cli("import-legacy", str(database), "--dry-run", "--json")))
    assert (report["done"], report["problems"], report["slugs"]) == ("", [], {"bob-a2": "bob"})
    assert is_empty(fresh)
    assert database.read_bytes() == before
    done = json.loads(ok(fresh.cli("import-legacy", str(database), "--json")))
    assert {**done, "done": ""} == report


def test_a_second_import_changes_nothing(fresh: Server) -> None:
    database = legacy_database(fresh.folder / "router.db")
    ok(fresh.cli("import-legacy", str(database)))
    before = stored(fresh.data)
    assert "brought in before" in ok(fresh.cli("import-legacy", str(database)))
    assert json.loads(ok(fresh.cli("import-legacy", str(database), "--json")))["done"] == "already"
    assert stored(fresh.data) == before


def test_the_homes_of_an_import_that_was_cut_short_can_be_copied_by_a_second_one(fresh: Server) -> None:
    """The database is in, and then the disk was full or somebody pressed Ctrl-C."""
    database = legacy_database(fresh.folder / "router.db")
    ok(fresh.cli("import-legacy", str(database)))
    (fresh.folder / "homes" / "carol").mkdir(parents=True)
    (fresh.folder / "homes" / "carol" / "kept.txt").write_text("kept")
    ok(fresh.cli("import-legacy", str(database), "--users-root", str(fresh.folder / "homes")))
    assert (fresh.data / "users" / "carol" / "kept.txt").read_text() == "kept"


def test_a_folder_that_is_in_use_already_is_refused(tmp_path: Path) -> None:
    server = Server(tmp_path, backends=[BACKEND])
    with server:
        server.sign_up("ada@example.org")
    before = stored(server.data)
    database = legacy_database(tmp_path / "router.db")
    assert "in use already" in told(server.cli("import-legacy", str(database)))
    assert stored(server.data) == before


def test_nothing_is_imported_under_a_runningnew_server(imported: Imported) -> None:
    database = legacy_database(imported.server.folder / "again.db")
    assert "in use by another" in told(imported.server.cli("import-legacy", str(database)))
