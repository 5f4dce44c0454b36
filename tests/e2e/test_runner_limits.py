"""How many runners there may be: for one user, and altogether."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.harness.backends import DYING
from tests.harness.contract import is_openai_error, is_problem
from tests.harness.faults import faults
from tests.harness.keys import set_key
from tests.harness.person import Person
from tests.harness.processes import kill_runners, runner_processes
from tests.harness.scripted import Gates, scripted_backend
from tests.harness.server import Server
from tests.harness.sse import frames
from tests.harness.waiting import eventually

WAITING = "Waiting until another agent stops"


def _backends(gates: Gates) -> list[dict[str, Any]]:
    keyed = {"user_overridable_env": ["KEY"]}
    return [scripted_backend(gates, {"KEY": "-"}, **keyed), scripted_backend(gates, name="second"), DYING]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, gates: Gates) -> Iterator[Server]:
    """Return a server on which each user may have one runner."""
    env = {"MAX_RUNNERS_PER_USER": "1"}
    with Server(tmp_path_factory.mktemp("server"), backends=_backends(gates), env=env) as running:
        yield running


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, gates: Gates) -> Iterator[Server]:
    """Return a server with room for one runner."""
    with Server(tmp_path_factory.mktemp("small"), backends=_backends(gates), env={"MAX_RUNNERS": "1"}) as running:
        yield running


@pytest.fixture
def people(small: Server) -> Iterator[list[Person]]:
    """Return three users, who have no runner before and after."""
    with ExitStack() as stack:
        found = [stack.enter_context(Person(small, name)) for name in ("ann", "bob", "cyd")]
        yield found
        for person in found:
            stop(person)


def start(user: Person, name: str = "scripted") -> httpx.Response:
    return user.http.post(f"/api/runners/{name}/start")


def stop(user: Person, name: str = "scripted") -> bool:
    stopped: bool = user.http.delete(f"/api/runners/{name}").json()["stopped"]
    return stopped


@contextmanager
def waiting(*users: Person) -> Iterator[list[Future[httpx.Response]]]:
    """Have users ask for a runner, one after the other, when there is no room."""
    with ThreadPoolExecutor(len(users)) as pool:
        asked = []
        for number, user in enumerate(users, start=1):
            asked.append(pool.submit(start, user))
            await_place(user, number)
        yield asked


def place(user: Person) -> str:
    """Return the place in the queue that a user is shown, "" for none."""
    with user.again() as tab, tab.stream("GET", "/api/runners/scripted/progress") as stream:
        shown = frames(stream)
        next(shown)
        if not [r for r in user.runners() if r["state"] == "preparing"]:
            return ""
        _, last = next(shown)
        return str(last["detail"]) if last["message"] == WAITING else ""


def await_place(user: Person, number: int) -> None:
    eventually(lambda: place(user) == f"place {number} in the queue", f"place {number} in the queue")


# -- for one user -----------------------------------------------------------------------------------------


def test_a_user_who_has_all_runners_is_told_to_stop_one(user: Person) -> None:
    user.pid()
    problem = is_problem(start(user, "second"), 429, "runner_quota")
    assert "1 agents running" in problem["detail"]
    refused = user.chat("say hello", "second")
    is_openai_error(refused, 429, "runner_quota")
    assert refused.headers["x-should-retry"] == "false"
    conversation = user.conversation("second")
    assert user.await_turn(conversation, user.ask(conversation, "say hello")) == "failed"
    assert "1 agents running" in user.messages(conversation)[-1][1]
    assert user.chat("say still here").is_success
    stop(user)
    assert start(user, "second").is_success


def test_the_runners_of_others_are_not_counted(server: Server, user: Person) -> None:
    user.pid()
    with Person(server, "other") as other:
        assert start(other).is_success


def test_a_user_gets_the_place_back_however_the_runner_ends(server: Server, user: Person) -> None:
    for _ in range(3):
        is_problem(start(user, "dying"), 502)
    user.http.delete("/api/runners/dying")
    pid = user.pid()
    set_key(user.http, "KEY", "another one")
    assert user.pid() != pid
    next(r for r in runner_processes(server) if r.pid == user.pid()).kill()
    eventually(lambda: start(user, "second").is_success, "its place is given back")
    stop(user, "second")
    with ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(start, user, name) for name in ("scripted", "second") * 3]
        found = {a.result().status_code for a in asked}
    assert found == {200, 429}
    assert len(user.runners()) == 1


# -- altogether -------------------------------------------------------------------------------------------


def test_who_finds_no_room_waits_and_is_shown_the_place_in_the_queue(people: list[Person]) -> None:
    ann, bob, cyd = people
    ann.pid()
    with waiting(bob, cyd) as (second, third):
        assert ann.chat("say hello").is_success
        assert not second.done()
        assert stop(ann)
        assert second.result().is_success
        await_place(cyd, 1)
        assert stop(bob)
        assert third.result().is_success
    assert cyd.chat("say hello").is_success


def test_a_runner_that_dies_makes_room(small: Server, people: list[Person]) -> None:
    ann, bob, _ = people
    pid = ann.pid()
    with waiting(bob) as (second,):
        next(r for r in runner_processes(small) if r.pid == pid).kill()
        assert second.result().is_success
    with waiting(ann) as (first,):
        stop(bob)
        assert first.result().is_success


def test_a_start_that_fails_makes_room(people: list[Person]) -> None:
    ann, bob, _ = people
    for _ in range(3):
        is_problem(start(ann, "dying"), 502)
    assert start(bob).is_success


def test_a_start_that_is_stopped_in_the_queue_leaves_it(people: list[Person]) -> None:
    ann, bob, cyd = people
    ann.pid()
    with waiting(bob, cyd) as (second, third):
        assert stop(bob)
        is_problem(second.result(), 503, "start_stopped")
        await_place(cyd, 1)
        stop(ann)
        assert third.result().is_success
    stop(cyd)
    assert start(bob).is_success


def test_a_change_of_values_in_the_queue_loses_no_place(people: list[Person]) -> None:
    ann, bob, cyd = people
    ann.pid()
    with waiting(bob, cyd) as (second, third):
        set_key(bob.http, "KEY", "another one")
        set_key(ann.http, "KEY", "another one")
        assert second.result().is_success
        await_place(cyd, 1)
        set_key(bob.http, "KEY", "yet another one", force=True)
        assert third.result().is_success


def test_a_request_over_v1_and_a_turn_wait_too(people: list[Person]) -> None:
    ann, bob, cyd = people
    ann.pid()
    conversation = cyd.conversation()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(bob.chat, "say waited")
        await_place(bob, 1)
        turn = cyd.ask(conversation, "say waited too")
        await_place(cyd, 2)
        stop(ann)
        assert "waited" in asked.result().text
        stop(bob)
        assert cyd.await_turn(conversation, turn) == "finished"


def test_what_is_adopted_after_a_restart_takes_its_place_also_when_there_is_less_room(
    tmp_path: Path, gates: Gates
) -> None:
    env = {"MAX_RUNNERS": "2", "STOP_RUNNERS_ON_EXIT": "false", "MAX_RUNNERS_PER_USER": "1"}
    server = Server(tmp_path, backends=_backends(gates), env=env)
    try:
        with server, Person(server, "ann") as ann, Person(server, "bob") as bob, Person(server, "cyd") as cyd:
            kept = [ann.pid(), bob.pid()]
            server.kill()
            server.env["MAX_RUNNERS"] = "1"
            server.start()
            assert [ann.pid(), bob.pid()] == kept
            is_problem(start(ann, "second"), 429, "runner_quota")
            with waiting(cyd) as (third,):
                stop(ann)
                await_place(cyd, 1)
                assert not third.done()
                stop(bob)
                assert third.result().is_success
            assert faults(server) == []
    finally:
        kill_runners(server)


def test_the_servers_met_all_this_without_an_error_of_their_own(server: Server, small: Server) -> None:
    assert faults(server) == []
    assert faults(small) == []
