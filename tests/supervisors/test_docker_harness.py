"""What the tests of the Docker engine rest on: an image, a registry, a socket to cut, answers to inject."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import docker
import httpx
import pytest
import requests

from domain.backends.definition import Backend
from tests.harness.docker import containers_of, engine_client, execute, inspect, logs, networks_of, remove_labelled
from tests.harness.engine_socket import EngineSocket, engine_path
from tests.harness.fake_engine import HANG, NO_SPACE, FakeEngine, version
from tests.harness.images import demo_container, scripted_container, scripted_image
from tests.harness.registry import Registry, layer, random_layer
from tests.harness.scripted import Gates
from tests.harness.waiting import eventually

pytestmark = pytest.mark.docker

MEGABYTE = 1 << 20
LABEL = "io.agent-stack.test"


@pytest.fixture
def engine() -> Iterator[Any]:
    with engine_client() as client:
        yield client


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry() as running:
        yield running


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[EngineSocket]:
    with EngineSocket(tmp_path / "docker.sock") as running:
        yield running


@pytest.fixture
def label() -> Iterator[str]:
    """Return the value of a label by which everything is found and removed."""
    value = uuid4().hex
    yield value
    remove_labelled(value, label=LABEL)


def _client(url: str, timeout: float = 30) -> Any:
    return closing(docker.DockerClient(base_url=url, version="1.41", timeout=timeout))


def _http(path: Path) -> httpx.Client:
    return httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://docker", timeout=30)


@contextmanager
def _run(engine: Any, entry: dict[str, Any], label: str, env: dict[str, str]) -> Iterator[httpx.Client]:
    """Run an entry of backends.json as tightly as it goes, and yield a client when the agent answers."""
    own = {name: value.format(port=entry["port"]) for name, value in entry["extra_env"].items()}
    port = f"{entry['port']}/tcp"
    container = engine.containers.run(
        entry["image"],
        entry["command"],
        user=entry["user"],
        environment={**own, **env},
        volumes={m["source"]: {"bind": m["target"]} for m in entry.get("mounts", [])},
        ports={port: ("127.0.0.1", None)},
        labels={LABEL: label},
        detach=True,
        init=True,
        read_only=True,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
    )
    container.reload()
    url = f"http://127.0.0.1:{container.attrs['NetworkSettings']['Ports'][port][0]['HostPort']}"
    with httpx.Client(base_url=url, headers={"Authorization": "Bearer k"}, trust_env=False) as client:
        eventually(lambda: _is_up(client), "the agent answers")
        yield client


def _is_up(client: httpx.Client) -> bool:
    try:
        return client.get("/health").is_success
    except httpx.HTTPError:
        return False


# -- The image --------------------------------------------------------------------------------------------


def test_the_scripted_agent_runs_in_a_container_and_shares_gates_with_the_test(
    engine: Any, label: str, tmp_path: Path
) -> None:
    gates = Gates(tmp_path / "gates")
    entry = scripted_container(gates)
    Backend.model_validate(entry)
    with _run(engine, entry, label, {"SCRIPTED_KEY": "k"}) as agent:
        gates.open("g")
        body = {"messages": [{"role": "user", "content": "gates g 1"}], "stream": True}
        assert "[DONE]" in agent.post("/v1/chat/completions", json=body).text
        gates.await_reached("g")
    (container,) = containers_of(label, label=LABEL)
    assert execute(container["Name"], "id", "-u") == (0, "1000\n")


def test_the_demo_agent_runs_in_a_container(engine: Any, label: str) -> None:
    entry = demo_container()
    Backend.model_validate(entry)
    with _run(engine, entry, label, {"DEMO_API_KEY": "k"}) as agent:
        assert agent.get("/v1/models").json()["data"][0]["id"] == "demo"


def test_whatever_has_a_label_can_be_removed(engine: Any, label: str) -> None:
    engine.networks.create(f"test-{label}", labels={LABEL: label})
    name = engine.containers.create(scripted_image(), labels={LABEL: label}, network=f"test-{label}").name
    assert inspect(name)
    remove_labelled(label, label=LABEL)
    assert not inspect(name)
    assert not containers_of(label, label=LABEL)
    assert not networks_of(label, label=LABEL)


# -- The registry -----------------------------------------------------------------------------------------


def test_the_engine_pulls_layers_and_tells_how_far_it_is(engine: Any, registry: Registry) -> None:
    reference = registry.add("test/layers:1", [random_layer(4 * MEGABYTE), random_layer(4 * MEGABYTE)])
    registry.hold()
    lines: list[dict[str, Any]] = []
    pull = threading.Thread(
        target=lambda: lines.extend(engine.api.pull(reference, stream=True, decode=True)), name="pull"
    )
    pull.start()
    assert registry.held.wait(20)
    assert not engine.images.list(reference)
    registry.release()
    pull.join(60)
    assert engine.images.get(reference).attrs["Config"]["Cmd"] == ["/nothing"]
    assert len({line["id"] for line in lines if line["status"] == "Downloading"}) == 2


def test_a_pull_that_is_given_up_is_noticed(registry: Registry) -> None:
    reference = registry.add("test/given-up:1", [random_layer(4 * MEGABYTE)])
    registry.hold()
    create = ("POST", "/images/create")
    with _http(Path(engine_path())) as http, http.stream(*create, params={"fromImage": reference}):
        assert registry.held.wait(20)
    assert registry.gone.wait(20)


@pytest.mark.parametrize(
    ("status", "message"),
    [(401, "unauthorized"), (403, "denied"), (404, "not found"), (500, "500 Internal Server Error")],
)
def test_a_refusal_reaches_whoever_pulls(engine: Any, registry: Registry, status: int, message: str) -> None:
    reference = registry.add("test/refused:1", [layer({"file": b"text"})])
    registry.refusal = status
    with pytest.raises(docker.errors.APIError, match=message):
        engine.images.pull(reference)


def test_a_damaged_layer_is_an_error_in_the_stream(engine: Any, registry: Registry) -> None:
    reference = registry.add("test/damaged:1", [random_layer(MEGABYTE)])
    registry.corrupts = True
    *_, last = engine.api.pull(reference, stream=True, decode=True)
    assert "verification failed" in last["error"]


def test_an_image_that_was_pulled_runs_when_its_base_does(engine: Any, registry: Registry, label: str) -> None:
    reference = registry.add("test/runs:1", [layer({"file": b"pulled"})], base=scripted_image())
    engine.images.pull(reference)
    container = engine.containers.run(reference, ["cat", "/file"], labels={LABEL: label}, detach=True)
    assert container.wait()["StatusCode"] == 0
    assert logs(container.name) == "pulled"


# -- The engine's socket ----------------------------------------------------------------------------------


def test_requests_that_pass_the_relay_are_noted(relay: EngineSocket) -> None:
    with _client(relay.url) as client:
        assert client.ping()
        client.containers.list(filters={"label": "none"})
    assert relay.requests[0] == "GET /_ping"
    assert relay.count("GET", "/containers/json?") == 1
    assert relay.count("POST") == 0


def test_a_stream_of_events_passes_and_ends_when_the_socket_is_cut(
    relay: EngineSocket, engine: Any, label: str
) -> None:
    filters = json.dumps({"label": [f"{LABEL}={label}"]})
    with _http(relay.path) as http:
        with http.stream("GET", "/events", params={"filters": filters}) as events:
            lines = events.iter_lines()
            engine.containers.create(scripted_image(), labels={LABEL: label})
            assert json.loads(next(lines))["Action"] == "create"
            relay.cut()
            with pytest.raises(httpx.HTTPError):
                next(lines)
        with socket.socket(socket.AF_UNIX) as probe, pytest.raises(FileNotFoundError):
            probe.connect(str(relay.path))
        relay.restore()
        assert http.get("/_ping").text == "OK"


def test_a_frozen_engine_says_nothing_until_it_thaws(relay: EngineSocket) -> None:
    with _client(relay.url, timeout=0.2) as hasty, _client(relay.url) as patient:
        relay.freeze()
        with pytest.raises(requests.Timeout):
            hasty.ping()
        threading.Timer(0.1, relay.thaw).start()
        assert patient.ping()


def test_one_call_can_fail_while_all_others_are_real(relay: EngineSocket, label: str) -> None:
    relay.answers["POST", "/containers/create"] = NO_SPACE
    with _client(relay.url) as client:
        with pytest.raises(docker.errors.APIError, match="no space left"):
            client.containers.create(scripted_image(), labels={LABEL: label})
        assert client.ping()
        relay.answers.clear()
        assert client.containers.create(scripted_image(), labels={LABEL: label}).status == "created"


# -- The fake engine --------------------------------------------------------------------------------------


def test_the_fake_engine_answers_what_it_was_given(tmp_path: Path) -> None:
    routes = {("GET", "/version"): version("1.24"), ("GET", "/containers/*/json"): NO_SPACE, ("GET", "/info"): HANG}
    with FakeEngine(tmp_path / "docker.sock", routes) as fake, _client(fake.url) as client:
        assert client.version()["ApiVersion"] == "1.24"
        with pytest.raises(docker.errors.APIError, match="no space left"):
            client.containers.get("any")
        with pytest.raises(docker.errors.NotFound, match="No such thing"):
            client.images.get("any")
        with _client(fake.url, timeout=0.1) as hasty, pytest.raises(requests.Timeout):
            hasty.info()
        assert fake.requests == ["GET /version", "GET /containers/any/json", "GET /images/any/json", "GET /info"]
