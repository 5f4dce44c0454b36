"""What users write is nowhere in the clear, and nowhere at all once they were deleted; also after a crash."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agentstack.serving import stored
from tests.e2e.deletion_child import MOMENTS, NOTHING_YET
from tests.harness.faults import faults
from tests.harness.planted import EMAIL, PASSWORD, Planted, planted_backend
from tests.harness.processes import is_running, kill_runners
from tests.harness.scripted import Gates
from tests.harness.server import ROOT, Server
from tests.harness.waiting import eventually


@pytest.fixture
def gates(tmp_path: Path) -> Gates:
    """Return the folder that the agent shares with its test."""
    return Gates(tmp_path / "gates")


@pytest.fixture
def server(tmp_path: Path, gates: Gates) -> Iterator[Server]:
    """Return a server of its own."""
    with Server(tmp_path, backends=[planted_backend(gates)]) as running:
        yield running


@pytest.fixture
def ada(server: Server, gates: Gates) -> Planted:
    """Return a user who has written everywhere."""
    planted = Planted(server, gates)
    planted.plant()
    return planted


def _delete(server: Server, user: Planted) -> None:
    answer = server.admin().delete(f"/api/admin/users/{user.id}")
    assert answer.status_code == 204, answer.text


def test_nothing_that_a_user_writes_is_in_the_clear_while_the_server_runs_nor_afterwards(
    server: Server, ada: Planted
) -> None:
    note = {"note": "planted-note", "uses": 1}
    assert server.admin().post("/api/admin/invites", json=note).is_success
    eventually(lambda: {"users", "conversations", "keys", "tokens", "agents"} <= ada.tables(), "views are saved")
    assert ada.in_the_clear() == {}
    server.stop()
    assert ada.in_the_clear() == {}
    server.start()
    assert ada.in_the_clear() == {}
    # And it is all there: it was not lost, only sealed.
    titles = [c["title"] for c in ada.http.get("/api/conversations").json()["conversations"]]
    assert titles == ["planted-title-2"]
    shown = server.cli("events", "list", "--json", "--limit", "10000").stdout
    for text in (
        "planted-message",
        "planted-question-and-answer",
        "planted-payload",
        "planted-note",
        "planted-output",
    ):
        assert text in shown
    assert "planted-password" not in shown
    assert "planted-key" not in shown, "values of keys are masked"


def test_the_models_that_a_user_names_are_not_in_the_clear_either(server: Server, gates: Gates) -> None:
    ada = Planted(server, gates)
    about = {"backend": "scripted", "model": "planted-model-of-a-conversation"}
    conversation = ada._post("/api/conversations", about)["conversation"]["id"]
    ada._post(
        f"/api/conversations/{conversation}/turns", {"content": "say hello", "model": "planted-model-of-a-turn"}
    )
    server.stop()
    assert ada.in_the_clear() == {}


def test_of_a_deleted_user_nothing_is_left_but_who_did_what_when(server: Server, ada: Planted) -> None:
    bob = server.sign_up("bob@example.org")
    assert bob.post("/api/conversations", json={"backend": "scripted", "title": "Of Bob"}).is_success
    assert is_running(ada.pid)
    _delete(server, ada)
    ada.check_gone()
    assert ada.http.get("/auth/me").status_code == 401
    bearer = {"authorization": f"Bearer {ada.token}"}
    assert server.client(headers=bearer).get("/v1/models").status_code == 401
    assert ada.sign_in().status_code == 401
    users = server.admin().get("/api/admin/users").json()["users"]
    assert [u["email"] for u in users] == ["bob@example.org", "admin@example.org"]

    again = server.client().post("/auth/signup", json={"email": EMAIL.upper(), "password": PASSWORD})
    assert again.status_code == 200
    assert again.json()["user"]["slug"] not in {ada.slug, "bob", "admin"}
    assert again.json()["user"]["id"] != ada.id
    server.stop()
    server.start()
    assert not ada.tables()
    assert [c["title"] for c in bob.get("/api/conversations").json()["conversations"]] == ["Of Bob"]
    assert faults(server) == []


def test_what_was_erased_stays_so_when_the_read_models_are_made_anew(server: Server, ada: Planted) -> None:
    _delete(server, ada)
    server.stop()
    before = server.cli("users", "list", "--json").stdout
    rebuilt = server.cli("projections", "rebuild")
    assert rebuilt.returncode == 0, rebuilt.stderr
    assert server.cli("users", "list", "--json").stdout == before
    server.start()
    ada.check_gone()


# -- crashes ----------------------------------------------------------------------------------------------


@pytest.fixture
def left_running(tmp_path: Path, gates: Gates) -> Iterator[Planted]:
    """Return a user of a server that was stopped, whose agent still runs and writes into its home."""
    command = ["{python}", "-m", "tests.agents.diarist"]
    backend = planted_backend(gates, command=command)
    server = Server(tmp_path, backends=[backend], env={"STOP_RUNNERS_ON_EXIT": "false"})
    try:
        with server:
            ada = Planted(server, gates)
            ada.plant()
            server.stop()
            yield ada
    finally:
        kill_runners(server)


def _cut_short(user: Planted, moment: str) -> None:
    server = user.server
    crashed = subprocess.run(
        [sys.executable, "-m", "tests.e2e.deletion_child", user.id, moment],
        env={**server.env, "PYTHONPATH": str(ROOT)},
        cwd=server.folder,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    assert crashed.returncode == -signal.SIGKILL, crashed.stderr


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_deletion_that_a_crash_cuts_short_is_finished_at_the_next_start(
    left_running: Planted, moment: str
) -> None:
    ada, server = left_running, left_running.server
    _cut_short(ada, moment)
    server.start()
    if moment == NOTHING_YET:
        assert ada.has_key()
        assert ada.sign_in().status_code == 200
        titles = [c["title"] for c in ada.http.get("/api/conversations").json()["conversations"]]
        assert titles == ["planted-title-2"]
        _delete(server, ada)
    ada.check_gone()
    assert ada.sign_in().status_code == 401
    again = server.client().post("/auth/signup", json={"email": EMAIL, "password": PASSWORD})
    assert again.status_code == 200
    assert again.json()["user"]["slug"] != ada.slug
    assert faults(server) == []
    assert not list((server.data / "runners").iterdir())


def test_what_a_deletion_that_was_cut_short_still_needs_is_not_forgotten_before_it_is_finished(
    left_running: Planted,
) -> None:
    """It is the event of the sign-up that tells which home is to be removed."""
    ada, server = left_running, left_running.server
    _cut_short(ada, "after_commit")
    before = stored(server.data)
    forgotten = server.cli("compact", "--json")
    assert forgotten.returncode == 0, forgotten.stderr
    assert stored(server.data) == before
    assert ada.has_key()
    assert (server.data / "users" / ada.slug).exists()
    server.start()
    ada.check_gone()
    assert faults(server) == []
