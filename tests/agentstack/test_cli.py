"""The command line, beside a running server and without one."""

import json
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import FAST_DEMO
from tests.harness.contract import has_shape, new_email
from tests.harness.server import ADMIN, PASSWORD, ROOT, Server
from tests.harness.waiting import eventually

USER = {"id": str, "email": str, "name": str, "slug": str, "role": str, "created_at": int}


def run_once(folder: Path) -> Iterator[Server]:
    """A server that has run once and has users and a conversation in its folder."""
    with Server(folder, backends=[FAST_DEMO]) as server:
        client = server.sign_up("ada@example.org")
        client.post("/api/conversations", json={"backend": "demo", "title": "Ships"})
        server.stop()
        yield server


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that has run once, to look at."""
    yield from run_once(tmp_path_factory.mktemp("stopped"))


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Server]:
    """A server that has run once, to change and to break."""
    yield from run_once(tmp_path)


def told(run: subprocess.CompletedProcess[str]) -> str:
    """Return what a command that failed has said: one message, no traceback."""
    assert run.returncode != 0, run.stdout
    said = run.stdout + run.stderr
    assert "Traceback" not in said
    return said


def ok(run: subprocess.CompletedProcess[str]) -> str:
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stderr == ""
    return run.stdout


def lines(run: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in ok(run).splitlines()]


def test_an_unknown_command_is_named(tmp_path: Path) -> None:
    assert "bogus" in told(Server(tmp_path).cli("bogus"))


# -- serve ------------------------------------------------------------------------------------------------


def test_a_second_server_on_the_same_folder_is_refused(server: Server) -> None:
    said = told(server.cli("serve"))
    assert "in use by another agent-stack process" in said
    assert str(server.pid) in said
    assert "STACK_DATA_ROOT" in said


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    server = Server(tmp_path, backends=[FAST_DEMO])
    with socket.create_server(("127.0.0.1", server.port)):
        said = told(server.cli("serve"))
    assert f"Port {server.port}" in said
    assert "ROUTER_PORT" in said


def test_wrong_settings_are_told_in_one_message(tmp_path: Path) -> None:
    said = told(Server(tmp_path, env={"ROUTER_PORT": "x", "MAX_BODY_MIB": "0"}).cli("serve"))
    assert "ROUTER_PORT" in said
    assert "MAX_BODY_MIB" in said


def test_a_wrong_backends_file_is_told_with_its_entry_and_key(tmp_path: Path) -> None:
    server = Server(tmp_path, backends=[{**FAST_DEMO, "comand": []}])
    said = told(server.cli("serve"))
    assert "backends.json" in said
    assert "'demo'" in said
    assert "comand" in said


def test_a_backends_file_that_is_missing_is_named(tmp_path: Path) -> None:
    said = told(Server(tmp_path, env={"BACKENDS_CONFIG_PATH": str(tmp_path / "none.json")}).cli("serve"))
    assert "none.json" in said
    assert "BACKENDS_CONFIG_PATH" in said


# -- events -----------------------------------------------------------------------------------------------


def test_events_are_listed_as_json_with_their_envelope_and_without_secrets(stopped: Server) -> None:
    events = lines(stopped.cli("events", "list", "--json"))
    assert [e["position"] for e in events] == list(range(1, len(events) + 1))
    for event in events:
        has_shape(event, {"stream": str, "version": int, "type": str, "time": str, "actor": str, "payload": dict})
    registered = [e for e in events if e["type"] == "user.registered"]
    assert {e["payload"]["email"] for e in registered} == {ADMIN[0], "ada@example.org"}
    assert {e["payload"]["password_hash"] for e in registered} == {"••••••••"}


def test_events_are_chosen_by_type_stream_position_and_number(stopped: Server) -> None:
    events = lines(stopped.cli("events", "list", "--json"))
    registered = lines(stopped.cli("events", "list", "--json", "--type", "user.registered"))
    assert [e["type"] for e in registered] == ["user.registered"] * 2
    one = lines(stopped.cli("events", "list", "--json", "--stream", registered[0]["stream"]))
    assert {e["stream"] for e in one} == {registered[0]["stream"]}
    prefixed = lines(stopped.cli("events", "list", "--json", "--prefix", "conversation:"))
    assert [e["type"] for e in prefixed] == ["conversation.started"]
    assert lines(stopped.cli("events", "list", "--json", "--after", "3")) == events[3:]
    assert lines(stopped.cli("events", "list", "--json", "--limit", "2")) == events[-2:]
    assert lines(stopped.cli("events", "list", "--json", "--limit", "2", "--oldest")) == events[:2]


def test_events_are_listed_for_people_too(stopped: Server) -> None:
    shown = ok(stopped.cli("events", "list"))
    assert "conversation.started" in shown
    assert "Ships" in shown
    assert "argon2" not in shown


def test_one_event_is_shown_in_full(stopped: Server) -> None:
    events = lines(stopped.cli("events", "list", "--json"))
    assert json.loads(ok(stopped.cli("events", "show", "2"))) == events[1]
    assert "no event at position 9999" in told(stopped.cli("events", "show", "9999"))
    assert "Invalid value" in told(stopped.cli("events", "show", "0"))


def test_the_log_is_followed_while_the_server_runs(server: Server) -> None:
    server.sign_up(new_email())
    # What runs the tests in the background may have had SIGINT ignored, which is inherited.
    heeding = ["env", "--default-signal=INT"]
    command = [*heeding, sys.executable, "-m", "agentstack", "events", "tail", "--json", "--lines", "1"]
    with subprocess.Popen(command, env=server.env, cwd=server.folder, stdout=subprocess.PIPE, text=True) as tail:
        assert tail.stdout is not None
        first = json.loads(tail.stdout.readline())
        email = new_email("tailed")
        server.sign_up(email)
        seen: list[dict[str, Any]] = []
        while "session.opened" not in [e["type"] for e in seen]:
            seen.append(json.loads(tail.stdout.readline()))
        tail.terminate()
    assert [e["position"] for e in seen] == list(range(first["position"] + 1, seen[-1]["position"] + 1))
    assert email in [e["payload"].get("email") for e in seen]


def test_streams_are_listed_by_prefix(stopped: Server) -> None:
    shown = ok(stopped.cli("events", "streams", "conversation:"))
    assert "conversation:" in shown
    assert "user:" not in shown


def test_the_log_verifies_beside_a_running_server(server: Server) -> None:
    server.sign_up(new_email())
    assert re.search(r"The log verifies: \d+ events, head [0-9a-f]{16}", ok(server.cli("audit", "verify")))


def test_a_log_that_was_tampered_with_does_not_verify(own: Server) -> None:
    database = sqlite3.connect(own.data / "events.db")
    with database:
        database.execute("UPDATE stored_events SET actor = 'somebody' WHERE position = 2")
    database.close()
    told(own.cli("audit", "verify"))


@pytest.mark.parametrize("command", ["events list", "audit verify", "projections status", "users list"])
def test_without_a_log_a_command_says_how_to_make_one(tmp_path: Path, command: str) -> None:
    server = Server(tmp_path)
    said = told(server.cli(*command.split()))
    assert "There is no event log" in said
    assert "agentstack serve" in said
    assert not server.data.exists()


# -- projections ------------------------------------------------------------------------------------------


def test_the_state_of_the_projections_is_shown(stopped: Server) -> None:
    shown = ok(stopped.cli("projections", "status"))
    for name in ("users", "sessions", "agents", "runners", "conversations"):
        assert name in shown
    assert re.search(r"The log is at position \d+", shown)


def test_projections_made_anew_are_as_they_were(own: Server) -> None:
    before = lines(own.cli("users", "list", "--json"))
    (own.data / "views.db").write_bytes(b"not a database")
    assert "Rebuilt 11 projections" in ok(own.cli("projections", "rebuild"))
    assert lines(own.cli("users", "list", "--json")) == before
    with own.start().client() as client:
        body = {"email": "ada@example.org", "password": PASSWORD}
        client.post("/auth/login", json=body)
        assert [c["title"] for c in client.get("/api/conversations").json()["conversations"]] == ["Ships"]


def test_projections_are_not_made_anew_under_a_running_server(server: Server) -> None:
    assert "in use" in told(server.cli("projections", "rebuild"))
    assert server.client().get("/readyz").status_code == 200


# -- users ------------------------------------------------------------------------------------------------


def test_users_are_made_and_listed_without_a_server(own: Server) -> None:
    made = lines(own.cli("users", "create", "bob@example.org", "--json", "--password", PASSWORD, "--name", "Bob"))
    has_shape(made[0], USER)
    assert (made[0]["email"], made[0]["name"], made[0]["role"]) == ("bob@example.org", "Bob", "user")
    listed = lines(own.cli("users", "list", "--json"))
    assert [u["email"] for u in listed] == ["bob@example.org", "ada@example.org", ADMIN[0]]
    assert listed[0] == made[0]
    assert "bob@example.org" in ok(own.cli("users", "list"))


def test_users_are_made_and_listed_through_a_running_server(server: Server) -> None:
    email = new_email("cli")
    (made,) = lines(server.cli("users", "create", email, "--json", "--password", PASSWORD))
    has_shape(made, USER)
    assert server.client().post("/auth/login", json={"email": email, "password": PASSWORD}).is_success
    assert lines(server.cli("users", "list", "--json")) == server.admin().get("/api/admin/users").json()["users"]


def test_the_password_is_asked_for_when_it_is_not_given(server: Server) -> None:
    email = new_email("asked")
    command = [sys.executable, "-m", "agentstack", "users", "create", email, "--json"]
    run = subprocess.run(
        command,
        env={**server.env, "PYTHONWARNINGS": "ignore"},  # The password comes from no terminal.
        cwd=server.folder,
        input=f"{PASSWORD}\n{PASSWORD}\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert PASSWORD not in run.stdout + run.stderr
    assert server.client().post("/auth/login", json={"email": email, "password": PASSWORD}).is_success


@pytest.mark.parametrize("running", [True, False])
def test_what_is_wrong_with_a_new_user_is_told(own: Server, running: bool) -> None:
    if running:
        own.start()
    create = ("users", "create")
    assert "already" in told(own.cli(*create, "ADA@example.org", "--password", PASSWORD))
    assert "too short" in told(own.cli(*create, "new@example.org", "--password", "short"))
    assert "not an email address" in told(own.cli(*create, "nonsense", "--password", PASSWORD))


def test_there_is_one_admin_and_the_command_line_makes_no_second(own: Server) -> None:
    said = told(own.cli("users", "create", "two@example.org", "--admin", "--password", PASSWORD))
    assert "an admin already" in said
    own.start()
    told(own.cli("users", "create", "two@example.org", "--admin", "--password", PASSWORD))
    assert [u["role"] for u in lines(own.cli("users", "list", "--json"))].count("admin") == 1


def test_the_first_admin_can_be_made_before_the_first_start(tmp_path: Path) -> None:
    env = {"BOOTSTRAP_ADMIN_EMAIL": "", "BOOTSTRAP_ADMIN_PASSWORD": ""}
    server = Server(tmp_path, backends=[FAST_DEMO], env=env)
    (made,) = lines(server.cli("users", "create", "boss@example.org", "--admin", "--json", "--password", PASSWORD))
    assert made["role"] == "admin"
    with server:
        assert server.client().get("/auth/state").json()["needs_setup"] is False
        assert "token=" not in (tmp_path / "out.txt").read_text()


# -- doctor -----------------------------------------------------------------------------------------------


def test_the_doctor_finds_a_good_set_up_well(stopped: Server) -> None:
    shown = ok(stopped.cli("doctor"))
    assert "All is well." in shown
    for subject in ("settings", "data folder", "disk space", "backends", "engine process", "program of demo"):
        assert subject in shown


def test_the_doctor_finds_a_running_server_well(server: Server) -> None:
    shown = ok(server.cli("doctor"))
    assert "in use by a running server" in shown
    assert "used by the running server" in shown


BAD: dict[str, tuple[dict[str, str], list[str]]] = {
    "settings": ({"ROUTER_PORT": "x"}, ["ROUTER_PORT"]),
    "folder": ({"STACK_DATA_ROOT": "/proc/nowhere"}, ["data folder", "STACK_DATA_ROOT"]),
    "backends": ({"BACKENDS_CONFIG_PATH": "/nowhere.json"}, ["/nowhere.json", "BACKENDS_CONFIG_PATH"]),
}


@pytest.mark.parametrize(("env", "words"), BAD.values(), ids=BAD)
def test_the_doctor_says_what_is_wrong_and_how_to_mend_it(
    tmp_path: Path, env: dict[str, str], words: list[str]
) -> None:
    backends = None if "BACKENDS_CONFIG_PATH" in env else [FAST_DEMO]
    said = told(Server(tmp_path, backends=backends, env=env).cli("doctor"))
    assert "1 thing(s) to mend" in said
    for word in words:
        assert word in said


def test_the_doctor_finds_missing_programs_and_taken_ports(tmp_path: Path) -> None:
    broken = {**FAST_DEMO, "command": ["no-such-program-anywhere"]}
    server = Server(tmp_path, backends=[broken])
    with socket.create_server(("127.0.0.1", server.port)):
        said = told(server.cli("doctor"))
    assert "no-such-program-anywhere" in said
    assert "taken by another program" in said
    assert "2 thing(s) to mend" in said


def test_the_doctor_finds_that_no_backend_is_enabled(tmp_path: Path) -> None:
    said = told(Server(tmp_path, backends=[{**FAST_DEMO, "disabled": True}]).cli("doctor"))
    assert "none enabled" in said


def test_the_module_can_be_run_from_any_folder(tmp_path: Path) -> None:
    assert ROOT not in tmp_path.parents
    assert "agent-stack" in ok(Server(tmp_path).cli("--version"))


def test_ctrl_c_ends_the_following_of_the_log_without_a_traceback(server: Server) -> None:
    # What runs the tests in the background may have had SIGINT ignored, which is inherited.
    heeding = ["env", "--default-signal=INT"]
    command = [*heeding, sys.executable, "-m", "agentstack", "events", "tail", "--json", "--lines", "1"]
    with subprocess.Popen(
        command,
        env=server.env,
        cwd=server.folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as tail:
        assert tail.stdout is not None
        assert tail.stdout.readline()
        tail.send_signal(signal.SIGINT)
        _, said = tail.communicate(timeout=20)
    assert "Traceback" not in said
    eventually(lambda: tail.poll() is not None)


def test_a_new_password_ends_the_api_tokens_when_that_is_asked_for(server: Server) -> None:
    email = new_email("cli")
    client = server.sign_up(email)
    secret = client.post("/api/me/tokens", json={"name": "t"}).json()["secret"]
    program = server.client(headers={"authorization": f"Bearer {secret}"})
    said = ok(server.cli("users", "password", email, "--password", "another password 1"))
    assert "--revoke-tokens" in said
    assert program.get("/v1/models").is_success
    ok(server.cli("users", "password", email, "--password", "another password 2", "--revoke-tokens"))
    assert program.get("/v1/models").status_code == 401
