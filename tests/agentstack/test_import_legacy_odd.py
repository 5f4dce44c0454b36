"""`agentstack import-legacy`: odd times and places, kills in the middle, and looking back at what was imported."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agentstack.legacy_setup import BOB, BORN, CAROL, ROOT, is_empty, legacy_database, login, new_server
from tests.agentstack.serving import serving, stored
from tests.agentstack.test_cli import ok, told
from tests.harness.server import ROOT as CHECKOUT
from tests.harness.server import Server

ODD = os.fsdecode(b"lar[bold]ge\xff")
"""A name that is markup, and no text."""


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Server]:
    """Return a server with nothing in its data folder."""
    server = new_server(tmp_path)
    yield server
    server.__exit__()


def _import(server: Server, *statements: str) -> None:
    ok(server.cli("import-legacy", str(legacy_database(server.folder / "router.db", *statements))))


# -- times ------------------------------------------------------------------------------------------------


def test_messages_that_seem_older_than_their_conversation_are_kept(fresh: Server) -> None:
    """The clock of that time was set back, or a time was rounded: the conversation comes first all the same."""
    _import(fresh, f"UPDATE messages SET created_at={BORN + 140} WHERE id IN ('m9', 'm1')")
    with fresh:
        found = login(fresh, BOB).get("/api/conversations/c1").json()
        assert len(found["messages"]) == 5
        assert found["conversation"]["title"] == "Old talk"


@pytest.mark.parametrize(
    "statement",
    [
        f"UPDATE conversations SET created_at={BORN - 500}",
        f"UPDATE agents SET created_at={BORN - 500}, updated_at={BORN - 400}",
        f"UPDATE agents SET updated_at={BORN - 400}",
        f"UPDATE users SET created_at={BORN + 5000} WHERE id='2'",
    ],
)
def test_things_that_seem_older_than_what_they_belong_to_are_kept(fresh: Server, statement: str) -> None:
    _import(fresh, statement)
    with fresh:
        bob = login(fresh, BOB)
        assert len(bob.get("/api/conversations/c1").json()["messages"]) == 5
        assert [a["name"] for a in bob.get("/api/agents").json()["agents"]] == ["Bob's demo"]
        assert "LLM_API_KEY" in str(bob.get("/api/me/env-overrides").json()["overrides"])


def test_a_time_in_the_future_does_not_stop_the_clock_of_the_log(fresh: Server) -> None:
    """The log's time never goes back: with such an event in it, all that happen from now on would have its time."""
    database = legacy_database(
        fresh.folder / "router.db", "UPDATE messages SET created_at=4000000000 WHERE id='m3'"
    )
    run = fresh.cli("import-legacy", str(database))
    if run.returncode:
        assert "messages" in told(run)
        assert is_empty(fresh)
        return
    with fresh:
        carol = login(fresh, CAROL)
        assert carol.post("/api/conversations", json={"backend": "demo", "title": "Today"}).is_success
        (made,) = carol.get("/api/conversations").json()["conversations"]
        assert made["created_at"] < 3_900_000_000
    times = [r.at for r in stored(fresh.data)]
    assert times == sorted(times), "filters by time rely on it"


# -- homes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slug", ["", ".", "..", "./", "carol/", "carol/../root"])
def test_nobody_gets_the_home_of_somebody_else(fresh: Server, slug: str) -> None:
    """A slug that was damaged names the folder of all homes, or somebody else's."""
    homes = fresh.folder / "homes"
    for name in ("root", "carol"):
        (homes / name).mkdir(parents=True)
        (homes / name / f"secret-of-{name}").write_text("x")
    database = legacy_database(fresh.folder / "router.db", f"UPDATE users SET slug='{slug}' WHERE id='2'")
    run = fresh.cli("import-legacy", str(database), "--users-root", str(homes))
    assert "Traceback" not in run.stdout + run.stderr
    found = {p.relative_to(fresh.data / "users").parts for p in (fresh.data / "users").rglob("secret-of-*")}
    assert found <= {(name, f"secret-of-{name}") for name in ("root", "carol")}


def _homes(server: Server) -> Path:
    """Make a home for bob and one for carol."""
    homes = server.folder / "homes"
    for name in ("bob-a2", "carol"):
        (homes / name).mkdir(parents=True)
        (homes / name / "notes.txt").write_text(f"of {name}")
    return homes


def test_a_home_that_cannot_be_copied_whole_is_not_there_until_another_import_copies_it(fresh: Server) -> None:
    """The disk has room for all files but one, and then for all."""
    database, homes = legacy_database(fresh.folder / "router.db"), _homes(fresh)
    with (homes / "bob-a2" / ODD).open("wb") as file:
        file.truncate(6 << 20)
    command = [sys.executable, "-m", "agentstack", "import-legacy", str(database), "--users-root", str(homes)]
    run = subprocess.run(
        ["bash", "-c", 'ulimit -f 4096 && exec "$@"', "_", *command],
        env=fresh.env,
        cwd=fresh.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert f"{homes / 'bob-a2'}/lar[bold]ge\ufffd: " in told(run).replace("\n", "")
    assert [p.name for p in (fresh.data / "users").iterdir()] == ["carol"]
    ok(fresh.cli("import-legacy", str(database), "--users-root", str(homes)))
    copied = fresh.data / "users" / "bob"
    assert {p.name: p.stat().st_size for p in copied.iterdir()} == {ODD: 6 << 20, "notes.txt": 9}
    assert sorted(p.name for p in (fresh.data / "users").iterdir()) == ["bob", "carol"]


def test_pipes_and_sockets_in_a_home_are_left_behind_and_are_no_failure(fresh: Server) -> None:
    database, homes = legacy_database(fresh.folder / "router.db"), _homes(fresh)
    (homes / "carol" / "deep").mkdir()
    os.mkfifo(homes / "carol" / "deep" / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(homes / "carol" / "socket"))
        report = json.loads(ok(fresh.cli("import-legacy", str(database), "--users-root", str(homes), "--json")))
    assert (report["done"], report["homes"]) == ("imported", [])
    copied = fresh.data / "users" / "carol"
    assert sorted(p.name for p in copied.rglob("*")) == ["deep", "notes.txt"]


# -- kills ------------------------------------------------------------------------------------------------

_CHILD = """
import sys, time
from agentstack.cli import main
from agentstack.legacy import importing
from eventlog import log
import shutil

def stop(*_, **__):
    print("here", flush=True)
    while True:
        time.sleep(60)

point = sys.argv.pop(1)
if point == "keys":
    from eventlog.vault import Vault
    made = []
    create = Vault.create
    Vault.create = lambda self, owner: stop() if made else made.append(create(self, owner))
elif point == "commit":
    from eventlog.schema import ChainedRecorder
    insert = ChainedRecorder.insert
    ChainedRecorder.insert = lambda *a: (insert(*a), stop())
else:
    real_copy = shutil.copy2
    copied = []
    def copy(source, target, *a, **k):
        if copied:
            stop()
        copied.append(real_copy(source, target, *a, **k))
        return copied[-1]
    real_tree = shutil.copytree
    importing.shutil.copytree = lambda s, d, **k: real_tree(s, d, copy_function=copy, **k)
main()
"""


def _killed(server: Server, point: str, *args: str) -> None:
    """Import in another process, and kill it at a point of that."""
    server.folder.mkdir(parents=True, exist_ok=True)
    env = {**server.env, "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-c", _CHILD, point, "import-legacy", *args]
    child = subprocess.Popen(command, env=env, cwd=server.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert child.stdout is not None
        line = child.stdout.readline()
        assert line == b"here\n", child.communicate()[1].decode()
    finally:
        child.send_signal(signal.SIGKILL)
        child.communicate()


@pytest.mark.parametrize("point", ["keys", "commit"])
def test_a_kill_in_the_middle_brings_in_nothing_and_the_next_import_everything(fresh: Server, point: str) -> None:
    database = legacy_database(fresh.folder / "router.db")
    _killed(fresh, point, str(database))
    assert stored(fresh.data) == []
    ok(fresh.cli("import-legacy", str(database)))
    with fresh:
        assert len(login(fresh, BOB).get("/api/conversations/c1").json()["messages"]) == 5


def test_a_kill_while_homes_are_copied_leaves_none_half_copied_after_the_next_import(fresh: Server) -> None:
    database = legacy_database(fresh.folder / "router.db")
    homes = fresh.folder / "homes"
    for name in ("bob-a2", "carol"):
        (homes / name).mkdir(parents=True)
        for n in range(3):
            (homes / name / f"file-{n}").write_text(f"{name} {n}")
    _killed(fresh, "homes", str(database), "--users-root", str(homes))
    assert stored(fresh.data), "the database is in"
    ok(fresh.cli("import-legacy", str(database), "--users-root", str(homes)))
    for old, new in (("bob-a2", "bob"), ("carol", "carol")):
        copied = fresh.data / "users" / new
        assert {p.name: p.read_text() for p in copied.iterdir()} == {f"file-{n}": f"{old} {n}" for n in range(3)}


@pytest.mark.parametrize("args", [[], ["--dry-run"], ["--json"]])
def test_another_database_than_the_one_of_before_is_refused(fresh: Server, args: list[str]) -> None:
    _import(fresh)
    before = stored(fresh.data)
    other = legacy_database(fresh.folder / "other.db", "UPDATE users SET name='Another'")
    run = fresh.cli("import-legacy", str(other), "--users-root", str(_homes(fresh)), *args)
    assert "Another database than" in told(run)
    assert run.returncode == 1
    assert stored(fresh.data) == before
    assert not list((fresh.data / "users").glob("*"))
    ok(fresh.cli("import-legacy", str(fresh.folder / "router.db")))


# -- afterwards -------------------------------------------------------------------------------------------


def test_people_sign_in_to_a_read_only_view_with_their_old_passwords(fresh: Server) -> None:
    """There, no password can be hashed anew: signing in works all the same."""
    _import(fresh)
    out = fresh.folder / "then"
    ok(fresh.cli("replay", "--to", str(len(stored(fresh.data))), "--out", str(out)))
    before = stored(out)
    with serving(fresh, "--read-only", "--data", str(out)):
        for who in (ROOT, BOB):
            assert login(fresh, who).get("/auth/me").is_success
    assert stored(out) == before


def test_what_was_imported_can_be_replayed_to_a_time_long_before_the_import(fresh: Server) -> None:
    _import(fresh)
    out = fresh.folder / "then"
    made = json.loads(ok(fresh.cli("replay", "--to", "2023-11-15T00:00", "--out", str(out), "--json")))
    assert 0 <= made["position"] <= len(stored(fresh.data))


def test_an_import_can_be_backed_up_and_audited(fresh: Server) -> None:
    _import(fresh)
    backup = fresh.folder / "one.backup"
    ok(fresh.cli("backup", "create", str(backup)))
    ok(fresh.cli("backup", "verify", str(backup)))
    ok(fresh.cli("audit", "verify"))
