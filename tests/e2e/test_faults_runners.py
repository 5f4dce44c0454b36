"""Starts, stops and deaths of runners that meet requests."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.harness.events import events
from tests.harness.faults import faults
from tests.harness.person import Person
from tests.harness.processes import runner_processes
from tests.harness.scripted import Gates, scripted_backend
from tests.harness.server import Server
from tests.harness.waiting import eventually, settled


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, gates: Gates) -> Iterator[Server]:
    """Return a server whose runners idle for one second; one of its backends cannot be hurried to end."""
    backends = [
        scripted_backend(gates),
        scripted_backend(gates, {"SCRIPTED_STUBBORN": "1"}, name="stubborn", stop_grace_seconds=1),
        scripted_backend(gates, {"SCRIPTED_BOOT": "boot"}, name="waiting", default_idle_seconds=600),
    ]
    env = {"DEFAULT_IDLE_SECONDS": "1", "MIN_IDLE_SECONDS": "1"}
    with Server(tmp_path_factory.mktemp("server"), backends=backends, env=env) as running:
        yield running


def test_ten_starts_at_once_make_one_process(user: Person, server: Server) -> None:
    with ThreadPoolExecutor(10) as pool:
        starts = [pool.submit(user.http.post, "/api/runners/scripted/start") for _ in range(5)]
        chats = [pool.submit(user.pid) for _ in range(5)]
    assert {s.result().status_code for s in starts} == {200}
    assert len({s.result().json()["runner"]["host_port"] for s in starts}) == 1
    assert len({c.result() for c in chats}) == 1
    me = user.http.get("/auth/me").json()["user"]
    assert len([e for e in events(server, "runner.requested") if e["payload"]["user_id"] == me["id"]]) == 1
    assert len([r for r in runner_processes(server) if r.name == f"scripted-{me['slug']}"]) <= 1


def test_a_runner_is_stopped_when_it_has_idled_long_enough(user: Person, server: Server) -> None:
    user.pid()
    eventually(lambda: user.runners() == [], "the runner is stopped")
    stopped = [e["payload"]["reason"] for e in events(server, "runner.stopped")]
    assert stopped[-1] == "idle"


def test_requests_around_the_idle_deadline_are_never_refused(server: Server) -> None:
    def ask(number: int) -> None:
        with Person(server, "racer") as user:
            user.pid()
            for turn in range(6):
                time.sleep(0.97 + 0.01 * turn + 0.002 * number)  # The deadline itself is what is met here.
                assert user.chat("say yes").status_code == 200

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(ask, range(5)))


def test_a_request_that_meets_a_stopping_runner_gets_a_fresh_one(user: Person) -> None:
    pid = user.pid("stubborn")
    eventually(lambda: [r for r in user.runners() if r["state"] == "stopping"], "the runner is stopping")
    assert user.pid("stubborn") != pid


def test_a_running_stream_holds_its_runner_past_the_idle_time(user: Person, gates: Gates) -> None:
    pid = user.pid()
    conversation = user.conversation()
    turn = user.ask(conversation, "gates hold 1")
    gates.await_reached("hold")
    time.sleep(1.5)  # Longer than the idle time.
    gates.open("hold")
    assert user.await_turn(conversation, turn) == "finished"
    assert user.pid() == pid


def test_a_watcher_does_not_hold_a_runner(user: Person) -> None:
    conversation = user.conversation()
    user.pid()
    with user.http.stream("GET", f"/api/conversations/{conversation}/stream"):
        eventually(lambda: user.runners() == [], "the runner is stopped")


def test_a_runner_that_is_killed_while_idle_is_replaced_at_the_next_request(user: Person, server: Server) -> None:
    pid = user.pid("scripted")
    next(r for r in runner_processes(server) if r.pid == pid).kill()
    assert user.pid() != pid


def test_a_turn_after_a_killed_runner_is_answered(user: Person, server: Server) -> None:
    pid = user.pid()
    conversation = user.conversation()
    next(r for r in runner_processes(server) if r.pid == pid).kill()
    assert user.await_turn(conversation, user.ask(conversation, "say alive")) == "finished"


def test_stopping_a_runner_in_the_middle_of_its_start_ends_the_start(user: Person, gates: Gates) -> None:
    with ThreadPoolExecutor(1) as pool:
        start = pool.submit(user.http.post, "/api/runners/waiting/start")
        try:
            eventually(lambda: [r for r in user.runners() if r["state"] == "probing"], "the runner is coming up")
            assert user.http.delete("/api/runners/waiting").json() == {"stopped": True}
            assert settled(user.runners) == []
        finally:
            gates.folder.joinpath("boot").touch()
    assert start.result().status_code == 503


def test_the_server_met_all_this_without_an_error_of_its_own(server: Server) -> None:
    assert faults(server) == []
