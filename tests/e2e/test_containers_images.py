"""Images that are pulled, cannot be pulled, or have not been built."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.containers import ContainerServer, agent, is_refused_everywhere, runner_events
from tests.harness.contract import is_problem
from tests.harness.faults import faults
from tests.harness.images import scripted_image
from tests.harness.person import Person
from tests.harness.registry import Registry, random_layer
from tests.harness.scripted import Gates
from tests.harness.sse import frames, until
from tests.harness.waiting import eventually

pytestmark = [pytest.mark.docker, pytest.mark.slow]

LAYER_BYTES = 4 << 20
"""Large enough for the engine to report while it comes."""
TO_BE_BUILT = {"folder": "nowhere", "image": "agent-stack-test-unbuilt:1"}


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    """Return a registry."""
    with Registry() as running:
        yield running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, gates: Gates, registry: Registry) -> Iterator[ContainerServer]:
    """Return a server with an agent for each thing that an image can suffer from."""
    offered = registry.add("offered:1", [random_layer(LAYER_BYTES)])
    backends = [
        agent(gates, name="offered", image=offered),
        agent(gates, name="damaged", image=registry.add("damaged:1", [random_layer(1000)])),
        agent(gates, name="unknown", image=f"{registry.host}/unknown:1"),
        agent(gates, name="nowhere", image="127.0.0.1:1/nowhere:1"),
        agent(gates, name="unbuilt", build=TO_BE_BUILT),
        agent(gates, name="either", image=f"{registry.host}/unknown:1", build=TO_BE_BUILT),
        agent(gates, name="fallback", build=TO_BE_BUILT),
    ]
    del backends[4]["image"]
    with ContainerServer(tmp_path_factory.mktemp("server"), backends) as running:
        yield running


@pytest.fixture
def user(server: ContainerServer) -> Iterator[Person]:
    """Return a new user."""
    with Person(server, "puller") as person:
        yield person


def prepull(server: ContainerServer) -> dict[str, str]:
    with server.client() as client:
        found: dict[str, str] = client.get("/healthz").json()["prepull_status"]
        return found


def test_images_are_fetched_at_startup_without_delaying_it_and_a_start_joins_in(
    tmp_path: Path, gates: Gates, registry: Registry
) -> None:
    image = registry.add("agent:1", [random_layer(LAYER_BYTES)], base=scripted_image())
    missing = f"{registry.host}/missing:1"
    backends = [
        agent(gates, name="fetched", image=image),
        agent(gates, name="present"),
        agent(gates, name="missing", image=missing),
        agent(gates, name="off", image=f"{registry.host}/off:1", disabled=True),
    ]
    registry.hold()
    env = {"BACKEND_PREPULL_AT_STARTUP": "true"}
    with ContainerServer(tmp_path / "server", backends, env) as server, Person(server, "puller") as user:
        # It is ready, or it would not be here.
        assert registry.held.wait(60)
        assert prepull(server)[image] == "pulling"
        assert user.chat("say hello", "present").is_success
        conversation = user.conversation("fetched")
        turn = user.ask(conversation, "say fetched")
        with user.http.stream("GET", "/api/runners/fetched/progress") as stream:
            shown = []
            for _, frame in frames(stream):
                shown.append(frame)
                if frame["stage"] == "pulling" and "MiB" in frame["detail"]:
                    registry.release()
        assert user.await_turn(conversation, turn) == "finished"
        pulling = [s for s in shown if s["stage"] == "pulling"]
        assert any("layers" in s["detail"] for s in pulling)
        assert [s["progress"] for s in shown] == sorted(s["progress"] for s in shown)
        assert (shown[-1]["stage"], shown[-1]["progress"]) == ("ready", 100)
        eventually(lambda: "pulling" not in prepull(server).values(), "all is fetched or has failed")
        status = prepull(server)
        assert (status[image], status[scripted_image()]) == ("ok", "present")
        assert status[missing].startswith("failed: ")
        assert set(status) == {image, scripted_image(), missing}
        assert sum(r == "GET /v2/agent/manifests/1" for r in registry.requests) <= 1
        (started,) = [e for e in runner_events(user, "runner.started") if "@sha256:" in e["payload"]["image"]]
        assert started["payload"]["image"].startswith(f"{registry.host}/agent@sha256:")
        assert faults(server) == []


def test_the_turn_that_waits_for_an_image_shows_how_far_it_is(user: Person, registry: Registry) -> None:
    registry.hold()
    conversation = user.conversation("offered")
    with user.http.stream("GET", f"/api/conversations/{conversation}/stream") as stream:
        with user.again() as other:
            other.post(f"/api/conversations/{conversation}/turns", json={"content": "say hello"})
        assert registry.held.wait(60)
        registry.release()
        seen = until(stream, "turn_failed")
    shown = [f["payload"] for f in seen if f["kind"] == "turn_progress"]
    assert "pulling" in {s["stage"] for s in shown}
    assert any("layers" in s["detail"] for s in shown if s["stage"] == "pulling")


def test_stopping_a_start_that_waits_for_its_image_ends_it_at_once(
    tmp_path: Path, gates: Gates, registry: Registry
) -> None:
    image = registry.add("endless:1", [random_layer(LAYER_BYTES)])
    registry.hold()
    with (
        ContainerServer(tmp_path / "server", [agent(gates, name="endless", image=image)]) as server,
        Person(server, "puller") as user,
    ):
        conversation = user.conversation("endless")
        turn = user.ask(conversation, "say hello")
        assert registry.held.wait(60)
        eventually(lambda: [r for r in user.runners() if r["state"] == "pulling"], "it waits for its image")
        assert user.http.delete("/api/runners/endless").json() == {"stopped": True}
        assert user.await_turn(conversation, turn) == "failed"
        assert user.runners() == []
        assert server.stop() == 0, "a pull that goes on keeps the router from nothing"
    registry.release()


@pytest.mark.parametrize(
    ("refusal", "words"), [(401, "unauthorized"), (403, "denied"), (500, "500 Internal Server")]
)
def test_what_a_registry_refuses_with_is_told_with_the_way_to_mend_it(
    user: Person, registry: Registry, refusal: int, words: str
) -> None:
    registry.refusal = refusal
    try:
        problem = is_problem(user.http.post("/api/runners/damaged/start"), 502, "engine_failed")
    finally:
        registry.refusal = 0
    for part in (words, f"{registry.host}/damaged:1", "backends.json", "docker login"):
        assert part in problem["detail"]


def test_an_image_that_arrives_damaged_is_said_to_be(user: Person, registry: Registry) -> None:
    registry.corrupts = True
    try:
        problem = is_problem(user.http.post("/api/runners/damaged/start"), 502, "engine_failed")
    finally:
        registry.corrupts = False
    assert "could not be pulled" in problem["detail"]


def test_an_image_that_no_registry_has_is_named_everywhere(user: Person, registry: Registry) -> None:
    words = (f"{registry.host}/unknown:1 could not be pulled", "not found", "Check its name in backends.json")
    is_refused_everywhere(user, "unknown", 502, "engine_failed", *words)


def test_a_registry_that_does_not_answer_is_named(user: Person) -> None:
    problem = is_problem(user.http.post("/api/runners/nowhere/start"), 502, "engine_failed")
    for part in ("127.0.0.1:1/nowhere:1", "connection refused", "reaches the registry"):
        assert part in problem["detail"]


def test_an_image_that_has_not_been_built_names_the_command_that_builds_it(user: Person) -> None:
    words = ("agent-stack-test-unbuilt:1", "has not been built", "agentstack images build unbuilt")
    is_refused_everywhere(user, "unbuilt", 502, "engine_failed", *words)


def test_an_image_that_can_neither_be_pulled_nor_was_built_names_both_ways(user: Person) -> None:
    problem = is_problem(user.http.post("/api/runners/either/start"), 502, "engine_failed")
    for part in ("could not be pulled", "agentstack images build either"):
        assert part in problem["detail"]


def test_while_nothing_has_been_built_the_published_image_runs(server: ContainerServer, user: Person) -> None:
    assert user.chat("say hello", "fallback").is_success
    assert server.container(user, "fallback")["Config"]["Image"] == scripted_image()


def test_the_server_met_all_this_without_an_error_of_its_own(server: ContainerServer) -> None:
    assert faults(server) == []
