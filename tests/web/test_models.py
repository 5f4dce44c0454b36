"""GET /v1/models."""

from collections.abc import Iterator

import httpx
import pytest

from tests.harness.backends import ALL
from tests.harness.contract import has_shape, is_openai_error, new_email
from tests.harness.server import Server

MODEL = {
    "id": str,
    "object": str,
    "created": int,
    "owned_by": str,
    "root": str,
    "running": bool,
    "display_name": str,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with backends that work and backends that do not."""
    with Server(tmp_path_factory.mktemp("models"), backends=ALL) as running:
        yield running


@pytest.fixture
def client(server: Server) -> httpx.Client:
    return server.sign_up(new_email())


def test_every_name_of_every_enabled_backend_is_a_model(client: httpx.Client) -> None:
    answer = client.get("/v1/models")
    assert answer.status_code == 200
    assert answer.json()["object"] == "list"
    models = answer.json()["data"]
    names = ["demo", "missing", "dying", "mute", "many", "many-large", "other/model", "slow"]
    assert [m["id"] for m in models] == names
    for model in models:
        has_shape(model, MODEL)
        assert (model["object"], model["owned_by"], model["running"]) == ("model", "agent-stack", False)
    assert {m["root"] for m in models if m["id"] in {"many", "many-large", "other/model"}} == {"many"}


def test_listing_models_starts_nothing(client: httpx.Client) -> None:
    client.get("/v1/models")
    client.get("/v1/models/demo")
    assert client.get("/api/runners").json() == {"runners": []}
    assert client.get("/api/agents").json()["agents"] == []


def test_a_model_is_running_for_the_one_whose_runner_runs(server: Server, client: httpx.Client) -> None:
    client.post("/api/runners/many/start")
    running = {m["id"] for m in client.get("/v1/models").json()["data"] if m["running"]}
    assert running == {"many", "many-large", "other/model"}
    other = server.sign_up(new_email()).get("/v1/models").json()["data"]
    assert not [m for m in other if m["running"]]


@pytest.mark.parametrize(
    ("name", "root"),
    [("demo", "demo"), ("many-large", "many"), ("other/model", "many"), ("demo/any/thing", "demo")],
)
def test_one_model_is_described_by_any_of_its_names(client: httpx.Client, name: str, root: str) -> None:
    model = client.get(f"/v1/models/{name}").json()
    has_shape(model, MODEL)
    assert (model["id"], model["root"]) == (name, root)


@pytest.mark.parametrize("name", ["nope", "off", "off/x", "DEMO", "demo%20", "%00", "%ff", "..%2fdemo"])
def test_an_unknown_or_disabled_model_is_not_found(client: httpx.Client, name: str) -> None:
    error = is_openai_error(client.get(f"/v1/models/{name}"), 404, "model_not_found")
    assert error["param"] == "model"
    assert "demo" in error["message"]


def test_models_are_for_those_who_are_signed_in(server: Server) -> None:
    error = is_openai_error(server.client().get("/v1/models"), 401)
    assert error["type"] == "authentication_error"
    assert "Bearer" in error["message"]
