"""A Docker Engine that goes away, hangs or fails while agents run."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.harness.containers import ContainerServer, agent, await_gone, is_refused_everywhere, runner_events
from tests.harness.contract import is_problem
from tests.harness.docker import engine_client, inspect, kill
from tests.harness.engine_socket import EngineSocket
from tests.harness.fake_engine import NO_SPACE
from tests.harness.images import scripted_image
from tests.harness.person import Person
from tests.harness.scripted import Gates
from tests.harness.waiting import eventually

pytestmark = [pytest.mark.docker, pytest.mark.slow]

AWAY = ("The Docker Engine does not answer", "Is it running", "DOCKER_HOST")


@pytest.fixture(scope="module")
def between(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineSocket]:
    """Return a relay to the engine, which can be cut."""
    with EngineSocket(tmp_path_factory.mktemp("engine") / "docker.sock") as relay:
        yield relay


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, between: EngineSocket, gates: Gates
) -> Iterator[ContainerServer]:
    """Return a server that reaches the engine through the relay only, and leaves its containers running."""
    env = {"DOCKER_HOST": between.url, "STOP_RUNNERS_ON_EXIT": "false"}
    with ContainerServer(tmp_path_factory.mktemp("server"), [agent(gates)], env) as running:
        yield running


@pytest.fixture
def relay(between: EngineSocket, server: ContainerServer) -> Iterator[EngineSocket]:
    """Return the relay, which lets everything through again after the test."""
    yield between
    between.answers.clear()
    between.thaw()
    between.restore()
    await_ready(server)


@pytest.fixture
def user(server: ContainerServer) -> Iterator[Person]:
    """Return a user whose agent is warm."""
    with Person(server, "warm") as person:
        assert person.chat("say hello").is_success
        yield person


@pytest.fixture
def newcomer(server: ContainerServer) -> Iterator[Person]:
    """Return a user whose agent was never started."""
    with Person(server, "cold") as person:
        yield person


def await_ready(server: ContainerServer) -> None:
    with server.client() as client:
        eventually(lambda: client.get("/readyz").is_success, "the router is ready again")


def engine_calls(server: ContainerServer) -> str:
    with server.client() as client:
        lines = client.get("/metrics").text.splitlines()
    return next(line for line in lines if line.startswith('agentstack_engine_calls_total{engine="docker"}'))


def test_while_the_engine_is_away_warm_agents_answer_and_cold_ones_say_why_they_do_not(
    server: ContainerServer, relay: EngineSocket, user: Person, newcomer: Person, gates: Gates
) -> None:
    conversation = user.conversation()
    turn = user.ask(conversation, "gates through 1")
    gates.await_reached("through")
    relay.cut()
    gates.open("through")
    assert user.await_turn(conversation, turn) == "finished"
    assert user.chat("say still here").is_success
    assert user.await_turn(conversation, user.ask(conversation, "say more")) == "finished"
    is_refused_everywhere(newcomer, "scripted", 503, "engine_away", *AWAY)
    with server.client() as client:
        unready = is_problem(client.get("/readyz"), 503, "not_ready")
        assert "engine docker: The Docker Engine does not answer" in unready["detail"]
        assert client.get("/healthz").is_success
    relay.restore()
    assert newcomer.chat("say at last").is_success, "it needs nobody's help, and nothing is held against it"
    await_ready(server)
    assert [r["state"] for r in user.runners()] == ["ready"]
    assert len(runner_events(user, "runner.requested")) == 1


def test_what_has_happened_while_the_engine_was_away_is_noticed_when_it_is_back(
    server: ContainerServer, relay: EngineSocket, user: Person, newcomer: Person
) -> None:
    newcomer.chat("say hello")
    dead, alive = server.container(newcomer)["Id"], server.container(user)["Id"]
    relay.cut()
    kill(dead)
    labels = {"runner": "orphan", "instance": server.instance, "port": "1", "spec-hash": "none"}
    with engine_client() as engine:
        named = {f"io.agent-stack.{name}": value for name, value in labels.items()}
        orphan = engine.containers.run(scripted_image(), ["sleep", "600"], labels=named, detach=True).id
    relay.restore()
    eventually(lambda: newcomer.runners() == [], "the death is noticed")
    eventually(lambda: inspect(dead) is None and inspect(orphan) is None, "both are removed")
    (failed,) = eventually(lambda: runner_events(newcomer, "runner.failed"), "the death is in the log")
    assert failed["payload"]["exit_code"] == 137
    assert newcomer.chat("say fresh").is_success
    assert server.container(user)["Id"] == alive
    assert user.chat("say hello").is_success
    assert runner_events(user, "runner.adopted", "runner.failed", "runner.stopped") == []


def test_an_agent_that_is_stopped_while_the_engine_is_away_is_removed_when_it_is_back(
    server: ContainerServer, relay: EngineSocket, user: Person
) -> None:
    container = server.container(user)["Id"]
    relay.cut()
    assert user.http.delete("/api/runners/scripted").json() == {"stopped": True}
    assert user.runners() == []
    relay.restore()
    eventually(lambda: inspect(container) is None, "it is removed")
    assert user.chat("say fresh").is_success


@pytest.mark.parametrize("asked", [False, True], ids=["unasked", "asked for meanwhile"])
def test_a_router_that_starts_without_the_engine_adopts_its_runners_when_the_engine_is_there(
    server: ContainerServer, relay: EngineSocket, user: Person, *, asked: bool
) -> None:
    container = server.container(user)["Id"]
    server.kill()
    relay.cut()
    server.start(until="/healthz")
    with server.client() as client:
        assert "Docker Engine does not answer" in is_problem(client.get("/readyz"), 503, "not_ready")["detail"]
    if asked:
        assert user.chat("say hello").json()["error"]["code"] == "engine_away"
    relay.restore()
    eventually(lambda: user.runners() or inspect(container) is None, "the runner is adopted, or else removed")
    assert user.chat("say again").is_success
    assert server.container(user)["Id"] == container
    assert len(runner_events(user, "runner.requested")) == 1
    assert runner_events(user, "runner.adopted")
    await_ready(server)


def test_warm_chats_need_no_call_of_the_engine(server: ContainerServer, relay: EngineSocket, user: Person) -> None:
    conversation = user.conversation()
    user.await_idle()
    before, calls = list(relay.requests), engine_calls(server)
    for number in range(40):
        assert user.chat(f"say {number}", stream=number % 2 == 0).is_success
    for number in range(10):
        assert user.await_turn(conversation, user.ask(conversation, f"say {number}")) == "finished"
    assert user.runners()
    assert relay.requests == before
    assert engine_calls(server) == calls


def test_an_engine_that_hangs_keeps_warm_agents_from_nothing_and_cold_ones_only_waiting(
    server: ContainerServer, relay: EngineSocket, user: Person, newcomer: Person
) -> None:
    relay.freeze()
    with ThreadPoolExecutor(1) as thread:
        cold = thread.submit(newcomer.chat, "say thawed")
        eventually(newcomer.runners, "the start is under way")
        assert user.chat("say warm").is_success
        assert newcomer.runners()[0]["state"] != "ready"
        relay.thaw()
        assert cold.result().is_success


def test_an_engine_that_hangs_does_not_keep_the_router_from_ending(
    server: ContainerServer, relay: EngineSocket, user: Person
) -> None:
    relay.freeze()
    assert user.chat("say warm").is_success
    assert server.stop() == 0
    relay.thaw()
    server.start()
    assert [r["state"] for r in user.runners()] == ["ready"]


@pytest.mark.parametrize("step", ["create", "*/start"])
def test_what_the_engine_refuses_is_told_in_its_own_words_and_nothing_is_left(
    server: ContainerServer, relay: EngineSocket, newcomer: Person, step: str
) -> None:
    relay.answers["POST", f"/containers/{step}"] = NO_SPACE
    detail = is_problem(newcomer.http.post("/api/runners/scripted/start"), 502, "engine_failed")["detail"]
    assert "no space left on device" in detail
    await_gone(newcomer)
    relay.answers.clear()
    assert newcomer.chat("say hello").is_success


def test_the_server_met_all_this_without_an_error_of_its_own(server: ContainerServer) -> None:
    assert [r for r in server.records() if r["level"] in {"error", "critical"}] == []
