"""A router that is killed leaves its containers serving, and the next start makes log and engine agree."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import docker.errors
import httpx
import pytest

from tests.harness.containers import ContainerServer, agent, runner_events, runner_of
from tests.harness.docker import engine_client, inspect, kill, remove_image
from tests.harness.engine_socket import EngineSocket
from tests.harness.events import events
from tests.harness.fake_engine import HANG
from tests.harness.faults import faults
from tests.harness.images import scripted_image
from tests.harness.person import Person
from tests.harness.scripted import Gates
from tests.harness.waiting import eventually

pytestmark = [pytest.mark.docker, pytest.mark.slow]

Json = dict[str, Any]
KEEP = {"STOP_RUNNERS_ON_EXIT": "false"}
LABEL = "io.agent-stack."
SLEEP = ["sleep", "600"]


@pytest.fixture
def server(tmp_path: Path, gates: Gates) -> Iterator[ContainerServer]:
    """Return a server that leaves its containers running; the agents of the backend `waiting` wait at a gate."""
    backends = [agent(gates), agent(gates, {"SCRIPTED_BOOT": f"boot-{tmp_path.name}"}, name="waiting")]
    with ContainerServer(tmp_path / "server", backends, KEEP) as running:
        yield running


@pytest.fixture
def other_image() -> Iterator[str]:
    """Return another name of the agents' image."""
    name = "agent-stack-test-other:1"
    with engine_client() as engine:
        engine.images.get(scripted_image()).tag(name)
    yield name
    remove_image(name)


@pytest.fixture
def user(server: ContainerServer) -> Iterator[Person]:
    """Return a new user."""
    with Person(server, "keeper") as person:
        yield person


def start_in_background(user: Person, backend: str) -> None:
    """Ask for a runner and do not wait for it."""
    with suppress(httpx.TimeoutException):
        user.http.post(f"/api/runners/{backend}/start", timeout=0.3)


def make_container(server: ContainerServer, name: str, labels: dict[str, str], **more: Any) -> str:
    """Make a container with the server's own label, as an earlier router might have, and return its id."""
    own = {f"{LABEL}instance": server.instance, **{LABEL + k: v for k, v in labels.items()}}
    with engine_client() as engine:
        made = engine.containers.create(
            scripted_image(), SLEEP, name=f"{server.prefix}-{name}", labels=own, init=True, **more
        )
        id_: str = made.id
        return id_


def change(container: str, *steps: str) -> None:
    """Do things to a container: start, pause, kill."""
    with engine_client() as engine:
        for each in steps:
            does: Callable[[], None] = getattr(engine.containers.get(container), each)
            does()


def test_five_runners_are_adopted_and_the_one_that_was_being_made_is_removed(
    server: ContainerServer, user: Person
) -> None:
    with ExitStack() as stack, ThreadPoolExecutor(5) as pool:
        people = [stack.enter_context(Person(server, "many")) for _ in range(5)]
        assert all(a.is_success for a in pool.map(lambda person: person.chat("say hello"), people))
        before = {runner_of(c): c["Id"] for c in server.containers()}
        start_in_background(user, "waiting")
        eventually(lambda: [r for r in user.runners() if r["state"] == "probing"], "the sixth is coming up")
        half_made = server.container(user, "waiting")
        server.kill()
        assert len(server.containers(running=True)) == 6
        server.start()
        for person in people:
            assert [r["state"] for r in person.runners()] == ["ready"]
            assert person.chat("say again").is_success
        assert {runner_of(c): c["Id"] for c in server.containers(running=True)} == before
        assert len(server.networks()) == 5
        assert inspect(half_made["Id"]) is None
        assert user.runners() == []
        (end,) = runner_events(user, "runner.stopped", "runner.vanished", "runner.failed")
        assert (end["type"], end["payload"].get("reason")) == ("runner.stopped", "orphaned")
        assert sorted(e["payload"]["runner_id"] for e in events(server, "runner.adopted")) == sorted(before)
        assert len(events(server, "runner.requested")) == 6
        assert faults(server) == []


def test_an_adopted_container_is_used_watched_and_stopped_like_any_other(
    server: ContainerServer, user: Person
) -> None:
    user.chat("say hello")
    container = server.container(user)
    server.kill()
    server.start()
    assert server.stop() == 0
    server.start()
    assert len(runner_events(user, "runner.adopted")) == 2
    conversation = user.conversation()
    assert user.await_turn(conversation, user.ask(conversation, "say adopted")) == "finished"
    assert server.container(user)["Id"] == container["Id"]
    kill(container["Id"])
    eventually(lambda: user.runners() == [], "its end is noticed")
    assert user.chat("say fresh").is_success
    server.kill()
    server.start()
    assert runner_events(user, "runner.stopped") == []
    assert user.http.delete("/api/runners/scripted").json() == {"stopped": True}
    assert (server.containers(), server.networks()) == ([], [])


def test_a_start_of_which_the_engine_has_made_nothing_is_recorded_as_vanished(tmp_path: Path, gates: Gates) -> None:
    with EngineSocket(tmp_path / "docker.sock") as relay:
        relay.answers["POST", "/containers/create"] = HANG
        env = {**KEEP, "DOCKER_HOST": relay.url}
        with ContainerServer(tmp_path / "server", [agent(gates)], env) as server, Person(server, "keeper") as user:
            start_in_background(user, "scripted")
            eventually(lambda: relay.count("POST", "/containers/create"), "the engine is asked for a container")
            server.kill()
            relay.answers.clear()
            server.start()
            assert (server.containers(), server.networks()) == ([], [])
            assert len(runner_events(user, "runner.vanished")) == 1
            assert user.chat("say hello").is_success


def test_orphans_in_any_state_are_removed_with_their_network_and_strangers_are_left_alone(
    server: ContainerServer, user: Person
) -> None:
    user.chat("say hello")
    mine = server.container(user)["Id"]
    server.kill()
    labels = {"spec-hash": "none", "port": "1", "user": "gone", "agent": "gone", "backend": "scripted"}
    with engine_client() as engine:
        network = engine.networks.create(
            f"agent-stack-{server.instance[:8]}-gone", labels={f"{LABEL}instance": server.instance}
        )
        states = {"created": (), "exited": ("start", "kill"), "running": ("start",), "paused": ("start", "pause")}
        orphans = []
        for state, steps in states.items():
            orphan = make_container(server, state, {**labels, "runner": f"r-{state}"}, network=network.name)
            change(orphan, *steps)
            assert engine.containers.get(orphan).status == state
            orphans.append(orphan)
        like_ours = make_container(server, "stranger", {**labels, "instance": "another", "runner": "stranger"})
        plain = engine.containers.create(scripted_image(), SLEEP, name=f"{server.prefix}-plain").id
        try:
            change(like_ours, "start")
            server.start()
            assert [inspect(orphan) for orphan in orphans] == [None] * 4
            assert [c["Id"] for c in server.containers()] == [mine]
            assert [n["Name"] for n in server.networks()] == list(
                server.container(user)["NetworkSettings"]["Networks"]
            )
            stranger = inspect(like_ours)
            assert stranger is not None
            assert stranger["State"]["Status"] == "running"
            assert inspect(plain) is not None
        finally:
            for each in (like_ours, plain):
                with suppress(docker.errors.NotFound):
                    engine.containers.get(each).remove(force=True)


def test_a_container_with_labels_of_another_version_does_not_keep_the_router_from_starting(
    server: ContainerServer, user: Person
) -> None:
    server.kill()
    make_container(server, "strange", {})
    make_container(server, "stranger", {"runner": "r", "spec-hash": "h", "port": "many"})
    server.start()
    assert user.chat("say hello").is_success


def test_containers_that_ended_while_the_router_was_down_are_recorded_as_vanished(
    server: ContainerServer, user: Person
) -> None:
    with Person(server, "keeper") as other:
        steps = {user: ("kill",), other: ("kill", "remove")}
        for person in steps:
            person.chat("say hello")
        ended = {person: server.container(person)["Id"] for person in steps}
        server.kill()
        for person, done in steps.items():
            change(ended[person], *done)
        server.start()
        for person in steps:
            assert person.runners() == []
            assert inspect(ended[person]) is None
            assert len(runner_events(person, "runner.vanished")) == 1
        assert server.networks() == []
        assert user.chat("say fresh").is_success


def test_containers_that_are_not_as_declared_any_more_are_removed_and_made_anew_when_wanted(
    tmp_path: Path, gates: Gates, other_image: str
) -> None:
    names = ("same", "image", "environment", "memory", "disabled", "undeclared")
    before = {name: agent(gates, name=name) for name in names}
    after = {name: agent(gates, name=name) for name in names if name != "undeclared"}
    after["image"]["image"] = other_image
    after["environment"]["extra_env"]["MORE"] = "1"
    after["memory"]["memory"] = "512m"
    after["disabled"]["disabled"] = True
    with (
        ContainerServer(tmp_path / "server", list(before.values()), KEEP) as first,
        Person(first, "keeper") as user,
        ThreadPoolExecutor(6) as pool,
    ):
        starts = pool.map(lambda name: user.http.post(f"/api/runners/{name}/start"), names)
        assert {start.status_code for start in starts} == {200}
        kept = first.container(user, "same")["Id"]
        first.kill()
        # The address that agents are told is a part of what they are made from.
        second = ContainerServer(
            tmp_path / "server", list(after.values()), {**KEEP, "ROUTER_PORT": str(first.port)}
        )
        second.port = first.port
        with second:
            assert [c["Id"] for c in second.containers()] == [kept]
            stopped = events(second, "runner.stopped")
            assert [e["payload"]["reason"] for e in stopped] == ["orphaned"] * 5
            client = second.client(headers=user.bearer)
            for name in ("image", "environment", "memory"):
                assert client.post(f"/api/runners/{name}/start").is_success
            assert second.container(user, "image")["Config"]["Image"] == after["image"]["image"]
            assert "MORE=1" in second.container(user, "environment")["Config"]["Env"]
            assert second.container(user, "memory")["HostConfig"]["Memory"] == 512 << 20
            assert len(second.containers()) == 4
