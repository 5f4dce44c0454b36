"""The life of an agent in a container: its cold start, its names and its idle time."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.harness.containers import (
    ContainerServer,
    agent,
    await_gone,
    containers_of_user,
    networks_of_user,
    runner_events,
    runner_of,
    slug,
)
from tests.harness.docker import inspect
from tests.harness.faults import faults
from tests.harness.person import Person
from tests.harness.ports import AGENTS_HOST
from tests.harness.scripted import Gates
from tests.harness.sse import frames, until
from tests.harness.waiting import eventually

pytestmark = [pytest.mark.docker, pytest.mark.slow]

Json = dict[str, Any]
STAGES = ["snapshot", "preparing", "pulling", "creating", "starting", "probing", "ready"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, gates: Gates) -> Iterator[ContainerServer]:
    """Return a server whose agents run in containers; those of the backend `brief` idle for one second."""
    backends = [agent(gates), agent(gates, name="calm"), agent(gates, name="brief", default_idle_seconds=1)]
    with ContainerServer(tmp_path_factory.mktemp("server"), backends, {"MIN_IDLE_SECONDS": "1"}) as running:
        yield running


@pytest.fixture
def user(server: ContainerServer) -> Iterator[Person]:
    """Return a new user, whose runners are stopped at the end."""
    with Person(server, "life") as person:
        yield person
        for each in person.http.get("/api/agents").json()["agents"]:
            person.http.delete(f"/api/agents/{each['id']}")


def await_idle_stop(server: ContainerServer, gates: Gates) -> None:
    """Wait until a runner that began to idle just now has been stopped for it."""
    with Person(server, "clock") as clock:
        clock.chat("say tick", "brief")
        eventually(lambda: clock.runners() == [], "the runner of the clock is stopped")


def is_a_cold_start(shown: list[Json]) -> None:
    stages, values = [s["stage"] for s in shown], [s["progress"] for s in shown]
    assert [STAGES.index(s) for s in stages] == sorted(STAGES.index(s) for s in stages)
    assert {"creating", "starting", "probing", "ready"} <= set(stages)
    assert values == sorted(values)
    assert [v for v in values if v == 100] == [100], "a hundred is shown once, when it is ready"
    assert stages[-1] == "ready"
    assert all(s["message"] for s in shown)


def test_an_openai_client_is_answered_from_a_container(server: ContainerServer, user: Person) -> None:
    said = user.openai.chat.completions.create(
        model="scripted", messages=[{"role": "user", "content": "say hello"}]
    )
    assert said.choices[0].message.content == "hello "
    stream = user.openai.chat.completions.create(
        model="scripted", messages=[{"role": "user", "content": "say one two"}], stream=True
    )
    assert "".join(part.choices[0].delta.content or "" for part in stream if part.choices) == "one two "
    assert server.container(user)["State"]["Status"] == "running"


def test_a_turn_is_answered_from_a_container(user: Person) -> None:
    conversation = user.conversation()
    assert user.await_turn(conversation, user.ask(conversation, "say hello")) == "finished"
    assert user.messages(conversation) == [("user", "say hello"), ("assistant", "hello ")]


def test_a_cold_start_is_followed_from_nothing_to_a_hundred(user: Person) -> None:
    with ThreadPoolExecutor(1) as thread, user.http.stream("GET", "/api/runners/scripted/progress") as stream:
        found = frames(stream)
        shown = [next(found)[1]]
        with user.again() as other:
            start = thread.submit(other.post, "/api/runners/scripted/start")
            shown += [data for _, data in found]
            assert start.result().status_code == 200
    assert (shown[0]["stage"], shown[0]["progress"]) == ("snapshot", 0)
    is_a_cold_start(shown)


def test_a_conversation_shows_the_cold_start_of_its_turn(user: Person, gates: Gates) -> None:
    conversation = user.conversation()
    with user.http.stream("GET", f"/api/conversations/{conversation}/stream") as stream:
        with user.again() as other:
            other.post(f"/api/conversations/{conversation}/turns", json={"content": "gates cold 1"})
        seen = []
        for _, frame in frames(stream):
            seen.append(frame)
            if frame["kind"] == "turn_progress" and frame["payload"]["stage"] == "ready":
                gates.open("cold")
            if frame["kind"] == "turn_finished":
                break
    is_a_cold_start([f["payload"] for f in seen if f["kind"] == "turn_progress"])
    states = [f["payload"]["state"] for f in seen if f["kind"] == "runner_status"]
    assert (states[0], states[-1]) == ("absent", "ready")
    assert seen[-1]["payload"]["message"]["content"] == "cold-0 end"


def test_a_warm_turn_shows_no_progress(user: Person) -> None:
    user.chat("say warm")
    conversation = user.conversation()
    with user.http.stream("GET", f"/api/conversations/{conversation}/stream") as stream:
        with user.again() as other:
            other.post(f"/api/conversations/{conversation}/turns", json={"content": "say hello"})
        seen = until(stream, "turn_finished")
    assert [f for f in seen if f["kind"] == "turn_progress"] == []


def test_what_has_been_started_is_in_the_log(server: ContainerServer, user: Person) -> None:
    port = user.http.post("/api/runners/scripted/start").json()["runner"]["host_port"]
    container = server.container(user)
    (started,) = runner_events(user, "runner.started")
    assert started["payload"] == {
        "runner_id": runner_of(container),
        "handle": container["Name"].lstrip("/"),
        "host": AGENTS_HOST,
        "port": port,
        "image": container["Image"],
    }
    assert container["NetworkSettings"]["Ports"] == {"8900/tcp": [{"HostIp": AGENTS_HOST, "HostPort": str(port)}]}


def test_a_container_and_its_home_are_named_after_backend_and_user(server: ContainerServer, user: Person) -> None:
    made = user.http.post("/api/runners/scripted/start").json()["runner"]["container_name"]
    agents = user.http.post("/api/agents", json={"backend": "scripted", "name": "Second"}).json()["agent"]
    second = user.http.post(f"/api/agents/{agents['id']}/start").json()["runner"]["container_name"]
    assert made == f"{server.prefix}-scripted-{slug(user)}"
    assert second == f"{made}-a2"
    homes = server.data / "users" / slug(user)
    assert sorted(path.name for path in homes.iterdir()) == ["scripted", "scripted-a2"]
    for name, home in ((made, "scripted"), (second, "scripted-a2")):
        container = inspect(name)
        assert container is not None
        mounted = {m["Destination"]: m["Source"] for m in container["Mounts"]}
        assert mounted["/home/agent"] == str(homes / home)
    assert len(containers_of_user(user)) == 2


def test_the_agents_of_a_user_share_a_network_of_their_own(server: ContainerServer, user: Person) -> None:
    user.chat("say one")
    user.chat("say two", "calm")
    with Person(server, "neighbour") as neighbour:
        neighbour.chat("say three")
        one, two = server.container(user), server.container(user, "calm")
        three = server.container(neighbour)
        networks = [list(c["NetworkSettings"]["Networks"]) for c in (one, two, three)]
        assert networks[0] == networks[1] != networks[2]
        neighbour.http.delete("/api/runners/scripted")


def test_a_stop_removes_the_container_and_its_network_but_not_the_home(
    server: ContainerServer, user: Person
) -> None:
    user.chat("say hello")
    container = server.container(user)
    assert len(networks_of_user(user)) == 1
    assert user.http.delete("/api/runners/scripted").json() == {"stopped": True}
    assert inspect(container["Id"]) is None
    assert networks_of_user(user) == []
    assert (server.data / "users" / slug(user) / "scripted").is_dir()
    (stopped,) = runner_events(user, "runner.stopped")
    assert stopped["payload"]["reason"] == "requested"
    assert user.chat("say again").is_success


def test_an_agent_finds_what_it_has_left_in_its_home(server: ContainerServer, user: Person) -> None:
    user.chat("say hello")
    home = server.data / "users" / slug(user) / "scripted"
    (home / "diary").write_text("kept")
    user.http.delete("/api/runners/scripted")
    user.chat("say hello")
    assert (home / "diary").read_text() == "kept"


def test_a_container_that_has_idled_long_enough_is_removed(user: Person) -> None:
    assert user.chat("say hello", "brief").is_success
    await_gone(user)
    eventually(lambda: user.runners() == [], "it is not shown any more")
    (stopped,) = runner_events(user, "runner.stopped")
    assert stopped["payload"]["reason"] == "idle"


def test_neither_a_silent_turn_nor_an_open_stream_is_stopped_for_idling(
    server: ContainerServer, user: Person, gates: Gates
) -> None:
    with Person(server, "life") as other, ThreadPoolExecutor(1) as thread:
        conversation = user.conversation("brief")
        turn = user.ask(conversation, "silent thinking")
        stream = thread.submit(other.chat, "gates streaming 1", "brief", stream=True)
        gates.await_reached("thinking")
        gates.await_reached("streaming")
        await_idle_stop(server, gates)
        for each in (user, other):
            (runner,) = each.runners()
            assert (runner["state"], runner["idle_seconds"], runner["stops_in_seconds"]) == ("ready", 1, None)
        gates.open("thinking")
        gates.open("streaming")
        assert user.await_turn(conversation, turn) == "finished"
        assert "end" in stream.result().text
    assert len(runner_events(user, "runner.requested")) == 1


def test_an_idle_time_of_nought_means_for_ever(server: ContainerServer, user: Person, gates: Gates) -> None:
    user.http.put("/api/runners/brief/idle", json={"idle_seconds": 0})
    user.chat("say hello", "brief")
    await_idle_stop(server, gates)
    (runner,) = user.runners()
    assert (runner["state"], runner["stops_in_seconds"]) == ("ready", None)
    user.http.put("/api/runners/brief/idle", json={"idle_seconds": 1})
    eventually(lambda: user.runners() == [], "it is stopped once it may be")


def test_the_server_met_all_this_without_an_error_of_its_own(server: ContainerServer) -> None:
    assert faults(server) == []
