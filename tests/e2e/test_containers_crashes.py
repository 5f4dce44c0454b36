"""Containers that end by themselves, and those that keep failing."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.containers import ContainerServer, agent, is_refused_everywhere, runner_events, slug, user_id
from tests.harness.contract import is_problem
from tests.harness.docker import inspect, kill
from tests.harness.faults import faults
from tests.harness.person import Person
from tests.harness.scripted import Gates
from tests.harness.sse import frames
from tests.harness.waiting import eventually

pytestmark = [pytest.mark.docker, pytest.mark.slow]

Json = dict[str, Any]
IF_MENDED = """
echo "my last words $SCRIPTED_KEY"
test -e /gates/$AGENT_USER_ID && exec python3 -m tests.agents.scripted
exit 7
"""
"""A program that fails until a test puts a file named after its user into the gates."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, gates: Gates) -> Iterator[ContainerServer]:
    """Return a server with an agent that has little memory, and one that does not start until it is mended."""
    backends = [
        agent(gates),
        agent(gates, name="hungry", memory="64m"),
        agent(gates, name="failing", command=["sh", "-c", IF_MENDED]),
        agent(gates, name="absent", command=["no-such-program-anywhere"]),
    ]
    with ContainerServer(tmp_path_factory.mktemp("server"), backends) as running:
        yield running


@pytest.fixture
def user(server: ContainerServer) -> Iterator[Person]:
    """Return a new user."""
    with Person(server, "crash") as person:
        yield person


def mend(user: Person, gates: Gates) -> Path:
    """Let a user's failing agent start from now on; remove the file to undo it."""
    mended = gates.folder / user_id(user)
    mended.touch()
    return mended


def fail_to_start(user: Person, times: int) -> None:
    for _ in range(times):
        problem = is_problem(user.http.post("/api/runners/failing/start"), 502, "engine_failed")
        assert "my last words" in problem["detail"]


def test_a_container_that_is_killed_is_noticed_and_replaced(server: ContainerServer, user: Person) -> None:
    user.chat("print the key is $SCRIPTED_KEY")
    container = server.container(user)
    kill(container["Id"])
    eventually(lambda: user.runners() == [], "its end is noticed")
    eventually(lambda: inspect(container["Id"]) is None, "it is removed")
    assert user.chat("say fresh").is_success
    assert server.container(user)["Id"] != container["Id"]


def test_the_log_holds_how_a_container_ended_and_what_it_printed_last(
    server: ContainerServer, user: Person
) -> None:
    user.chat("print the key is $SCRIPTED_KEY and $AGENT_STACK_RUNNER_API_KEY")
    container = server.container(user)
    key = next(e for e in container["Config"]["Env"] if e.startswith("SCRIPTED_KEY=")).partition("=")[2]
    kill(container["Id"])
    eventually(lambda: inspect(container["Id"]) is None, "it is removed")
    (failed,) = eventually(lambda: runner_events(user, "runner.failed"), "its end is in the log")
    told = failed["payload"]
    assert (told["exit_code"], told["out_of_memory"]) == (137, False)
    assert "the key is [" in told["log_tail"]
    assert "signal 9" in told["message"]
    assert key not in str(told)
    assert key not in server.errors()


def test_a_conversation_is_told_when_its_agent_ends(server: ContainerServer, user: Person) -> None:
    conversation = user.conversation()
    user.chat("say hello")
    with user.http.stream("GET", f"/api/conversations/{conversation}/stream") as stream:
        states = []
        for _, frame in frames(stream):
            if frame["kind"] == "runner_status":
                states.append((frame["payload"]["state"], frame["payload"]["running"]))
                if states[-1] == ("ready", True):
                    kill(server.container(user)["Id"])
            if len(states) == 2:
                break
    assert states == [("ready", True), ("failed", False)]
    assert user.await_turn(conversation, user.ask(conversation, "say fresh")) == "finished"


def test_a_turn_whose_container_is_killed_keeps_what_was_said_and_says_why(
    server: ContainerServer, user: Person, gates: Gates
) -> None:
    conversation = user.conversation()
    turn = user.ask(conversation, "gates struck 2")
    gates.await_reached("struck")
    kill(server.container(user)["Id"])
    assert user.await_turn(conversation, turn) == "failed"
    (_, partial, error) = user.messages(conversation)
    assert partial == ("assistant", "struck-0 ")
    assert error[0] == "error"
    assert "signal 9" in error[1]


def test_an_agent_that_takes_too_much_memory_is_said_to_have_done_so(user: Person) -> None:
    conversation = user.conversation("hungry")
    assert user.await_turn(conversation, user.ask(conversation, "eat 500")) == "failed"
    assert "too much memory" in user.messages(conversation)[-1][1]
    (failed,) = eventually(lambda: runner_events(user, "runner.failed"), "its end is in the log")
    assert (failed["payload"]["exit_code"], failed["payload"]["out_of_memory"]) == (137, True)
    assert user.chat("say modest", "hungry").is_success


def test_an_agent_that_ends_at_once_is_quoted_without_its_key(user: Person) -> None:
    problem = is_problem(user.http.post("/api/runners/failing/start"), 502, "engine_failed")
    assert "my last words [" in problem["detail"]
    assert "code 7" in problem["detail"]
    (failed,) = eventually(lambda: runner_events(user, "runner.failed"), "its end is in the log")
    assert (failed["payload"]["exit_code"], failed["payload"]["stage"]) == (7, "probing")
    assert user.runners() == []


def test_a_command_that_the_image_does_not_have_is_named_with_the_way_to_mend_it(
    server: ContainerServer, user: Person
) -> None:
    problem = is_problem(user.http.post("/api/runners/absent/start"), 502, "engine_failed")
    for part in ("no-such-program-anywhere", "command was not found", "mend `command`"):
        assert part in problem["detail"]
    eventually(lambda: inspect(f"{server.prefix}-absent-{slug(user)}") is None, "it is removed")


def test_what_keeps_failing_is_not_started_again_at_once(server: ContainerServer, user: Person) -> None:
    fail_to_start(user, 3)
    is_refused_everywhere(user, "failing", 503, "backing_off", "3 times in a row", "another", "my last words")
    for refused in (user.http.post("/api/runners/failing/start"), user.chat("say hello", "failing")):
        assert int(refused.headers["Retry-After"]) > 0
    assert len(runner_events(user, "runner.requested")) == 3
    with Person(server, "crash") as other:
        fail_to_start(other, 1)


def test_what_keeps_failing_is_started_again_after_the_pause(user: Person, gates: Gates) -> None:
    fail_to_start(user, 3)
    mend(user, gates)
    eventually(lambda: user.http.post("/api/runners/failing/start").is_success, "the pause is over")


def test_a_stop_in_good_health_clears_the_row_of_failures(user: Person, gates: Gates) -> None:
    fail_to_start(user, 2)
    mended = mend(user, gates)
    assert user.http.post("/api/runners/failing/start").is_success
    assert user.http.delete("/api/runners/failing").json() == {"stopped": True}
    mended.unlink()
    fail_to_start(user, 3)


def test_a_stop_during_the_pause_clears_it(user: Person, gates: Gates) -> None:
    fail_to_start(user, 3)
    mend(user, gates)
    is_problem(user.http.post("/api/runners/failing/start"), 503, "backing_off")
    user.http.delete("/api/runners/failing")
    assert user.http.post("/api/runners/failing/start").is_success


def test_the_server_met_all_this_without_an_error_of_its_own(server: ContainerServer) -> None:
    assert faults(server) == []
