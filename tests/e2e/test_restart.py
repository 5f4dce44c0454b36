"""A router that is killed leaves its runners serving, and the next start finds them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.events import events
from tests.harness.faults import faults
from tests.harness.person import Person
from tests.harness.processes import RunnerProcess, is_running, kill_runners, runner_processes
from tests.harness.scripted import Gates, scripted_backend
from tests.harness.server import Server
from tests.harness.waiting import eventually

KEEP = {"STOP_RUNNERS_ON_EXIT": "false"}


@pytest.fixture
def server(tmp_path: Path, gates: Gates) -> Iterator[Server]:
    """Return a server that leaves its runners running."""
    server = Server(tmp_path, backends=[scripted_backend(gates)], env=KEEP)
    try:
        with server:
            yield server
    finally:
        kill_runners(server)


def _types(server: Server, runner_id: str) -> list[str]:
    return [e["type"] for e in events(server) if e["stream"] == f"runner:{runner_id}"]


def _only_runner(server: Server) -> RunnerProcess:
    (found,) = runner_processes(server)
    return found


def test_a_runner_that_survived_a_crash_of_the_router_is_adopted(server: Server, user: Person) -> None:
    pid = user.pid()
    runner = _only_runner(server)
    server.kill()
    assert is_running(pid)
    server.start()
    assert [(r["state"], r["host_port"]) for r in user.runners()] == [("ready", runner.port)]
    assert user.pid() == pid
    assert _types(server, runner.runner_id) == [
        "runner.requested",
        "runner.started",
        "runner.ready",
        "runner.adopted",
    ]
    assert len(events(server, "runner.requested")) == 1
    assert faults(server) == []


def test_a_runner_that_survived_a_shutdown_of_the_router_is_adopted(server: Server, user: Person) -> None:
    pid = user.pid()
    assert server.stop() == 0
    assert is_running(pid)
    server.start()
    assert user.pid() == pid
    assert events(server, "runner.stopped") == []


def test_an_adopted_runner_can_be_adopted_again(server: Server, user: Person) -> None:
    pid = user.pid()
    for _ in range(2):
        server.kill()
        server.start()
    assert user.pid() == pid
    assert len(events(server, "runner.adopted")) == 2


def test_an_adopted_runner_is_stopped_on_request(server: Server, user: Person) -> None:
    pid = user.pid()
    server.kill()
    server.start()
    assert user.http.delete("/api/runners/scripted").json() == {"stopped": True}
    assert not is_running(pid)
    assert runner_processes(server) == []
    assert user.pid() != pid


def test_an_adopted_runner_that_dies_is_replaced(server: Server, user: Person) -> None:
    pid = user.pid()
    server.kill()
    server.start()
    _only_runner(server).kill()
    _await_failed(user)
    assert user.pid() != pid
    assert len(events(server, "runner.failed")) == 1


def test_a_turn_is_answered_by_an_adopted_runner(server: Server, user: Person) -> None:
    user.pid()
    server.kill()
    server.start()
    conversation = user.conversation()
    assert user.await_turn(conversation, user.ask(conversation, "say adopted")) == "finished"
    assert len(events(server, "runner.requested")) == 1


def test_a_runner_that_the_log_does_not_know_is_removed(server: Server, user: Person) -> None:
    pid = user.pid()
    runner = _only_runner(server)
    server.kill()
    orphan = runner.folder.with_name("orphan")
    runner.folder.rename(orphan)
    record = (orphan / "runner.json").read_text().replace(runner.runner_id, "orphan")
    (orphan / "runner.json").write_text(record)
    server.start()
    assert not orphan.exists()
    assert not is_running(pid)
    assert _types(server, runner.runner_id)[-1] == "runner.vanished"


def test_a_record_that_cannot_be_read_is_removed(server: Server, user: Person) -> None:
    user.pid()
    server.kill()
    broken = server.data / "runners" / "broken"
    broken.mkdir()
    (broken / "runner.json").write_text("{")
    server.start()
    assert not broken.exists()
    assert len(runner_processes(server)) == 1


def test_a_runner_of_which_nothing_is_left_is_recorded_as_vanished(server: Server, user: Person) -> None:
    user.pid()
    runner = _only_runner(server)
    server.kill()
    runner.kill()
    for path in runner.folder.iterdir():
        path.unlink()
    runner.folder.rmdir()
    server.start()
    assert _types(server, runner.runner_id)[-1] == "runner.vanished"
    assert user.chat("say fresh").is_success


def test_a_runner_that_died_while_the_router_was_down_is_recorded_as_vanished(server: Server, user: Person) -> None:
    user.pid()
    runner = _only_runner(server)
    server.kill()
    runner.kill()
    server.start()
    assert user.runners() == []
    assert user.chat("say fresh").is_success
    assert not runner.folder.exists()
    assert _types(server, runner.runner_id)[-1] == "runner.vanished"


@pytest.mark.parametrize(
    "change",
    [{"extra_env": {"MORE": "1"}}, {"command": ["{python}", "-B", "-m", "tests.agents.scripted"]}],
    ids=["environment", "command"],
)
def test_a_runner_whose_definition_changed_is_replaced(
    tmp_path: Path, gates: Gates, change: dict[str, Any]
) -> None:
    before = scripted_backend(gates)
    after = {**before, **change, "extra_env": {**before["extra_env"], **change.get("extra_env", {})}}
    first = Server(tmp_path, backends=[before], env=KEEP)
    try:
        with first, Person(first) as user:
            pid = user.pid()
            first.kill()
            second = Server(tmp_path, backends=[after], env=KEEP)
            second.env |= {k: first.env[k] for k in ("ROUTER_PORT", "BACKEND_PORT_START", "BACKEND_PORT_END")}
            second.port = first.port  # Else the address that agents are told would be another, too.
            with second:
                assert not is_running(pid)
                assert [e["payload"]["reason"] for e in events(second, "runner.stopped")] == ["orphaned"]
                client = second.client(headers=user.bearer)
                body = {"model": "scripted", "messages": [{"role": "user", "content": "echo"}]}
                assert client.post("/v1/chat/completions", json=body).json()["pid"] != pid
    finally:
        kill_runners(first)


def test_a_runner_of_a_backend_that_is_no_longer_declared_is_removed(tmp_path: Path, gates: Gates) -> None:
    first = Server(tmp_path, backends=[scripted_backend(gates)], env=KEEP)
    try:
        with first, Person(first) as user:
            pid = user.pid()
            first.kill()
            with Server(tmp_path, backends=[scripted_backend(gates, name="another")], env=KEEP) as second:
                assert not is_running(pid)
                assert runner_processes(second) == []
    finally:
        kill_runners(first)


def test_a_shutdown_stops_runners_when_told_to(tmp_path: Path, gates: Gates) -> None:
    with Server(tmp_path, backends=[scripted_backend(gates)]) as server, Person(server) as user:
        pid = user.pid()
        assert server.stop() == 0
        assert not is_running(pid)
        assert runner_processes(server) == []


def _await_failed(user: Person) -> None:
    eventually(lambda: user.runners() == [], "the death is noticed")
