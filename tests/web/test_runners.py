"""Backends and runners, by backend."""

import re
from collections.abc import Iterator

import httpx
import pytest

from tests.harness.backends import ALL
from tests.harness.contract import has_shape, is_problem, new_email
from tests.harness.ports import AGENTS_HOST
from tests.harness.server import Server

BACKEND = {
    "name": str,
    "display_name": str,
    "models": list,
    "default_idle_seconds": int,
    "idle_seconds": int,
    "user_overridable_env": list,
    "disabled": bool,
}
RUNNER = {
    "backend": str,
    "container_name": str,
    "host_port": int,
    "started_at": int,
    "last_active": int,
    "idle_seconds": int,
    "idle_for_seconds": int,
    "stops_in_seconds": (int, None),
    "running": bool,
}
STARTED = {"backend": str, "container_name": str, "host_port": int}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with backends that work and backends that do not."""
    with Server(tmp_path_factory.mktemp("runners"), backends=ALL) as running:
        yield running


@pytest.fixture
def client(server: Server) -> httpx.Client:
    return server.sign_up(new_email())


def test_the_declared_backends_are_listed_in_their_order(client: httpx.Client) -> None:
    answer = client.get("/api/backends")
    assert answer.status_code == 200
    backends = answer.json()["backends"]
    assert [b["name"] for b in backends] == [b["name"] for b in ALL]
    for backend in backends:
        has_shape(backend, BACKEND)
    by_name = {b["name"]: b for b in backends}
    assert by_name["many"]["models"] == ["many", "many-large", "other/model"]
    assert by_name["many"]["default_idle_seconds"] == 120
    assert by_name["demo"]["default_idle_seconds"] == by_name["demo"]["idle_seconds"] == 600
    assert by_name["off"]["disabled"] is True
    assert by_name["demo"]["disabled"] is False


def test_nobody_has_runners_to_begin_with(client: httpx.Client) -> None:
    assert client.get("/api/runners").json() == {"runners": []}


def test_a_started_runner_is_ready_when_the_answer_comes(client: httpx.Client) -> None:
    slug = client.get("/auth/me").json()["user"]["slug"]
    answer = client.post("/api/runners/demo/start")
    assert answer.status_code == 200
    started = answer.json()["runner"]
    has_shape(started, STARTED)
    assert started["backend"] == "demo"
    assert started["container_name"] == f"demo-{slug}"
    health = httpx.get(f"http://{AGENTS_HOST}:{started['host_port']}/health", trust_env=False)
    assert health.status_code == 200
    (runner,) = client.get("/api/runners").json()["runners"]
    has_shape(runner, RUNNER)
    assert runner["running"] is True
    assert runner["host_port"] == started["host_port"]
    assert runner["container_name"] == started["container_name"]
    assert 0 <= runner["stops_in_seconds"] <= 600


def test_starting_what_runs_already_answers_with_the_same_runner(client: httpx.Client) -> None:
    first = client.post("/api/runners/demo/start").json()
    assert client.post("/api/runners/demo/start").json() == first


def test_starting_by_backend_makes_the_first_agent_and_no_second_one(client: httpx.Client) -> None:
    client.post("/api/runners/demo/start")
    client.post("/api/runners/demo/start")
    (agent,) = client.get("/api/agents").json()["agents"]
    assert (agent["backend"], agent["ordinal"], agent["running"]) == ("demo", 1, True)


def test_runners_are_seen_and_stopped_by_their_owner_only(server: Server, client: httpx.Client) -> None:
    client.post("/api/runners/demo/start")
    stranger = server.sign_up(new_email())
    assert stranger.get("/api/runners").json() == {"runners": []}
    assert stranger.delete("/api/runners/demo").json() == {"stopped": False}
    assert len(client.get("/api/runners").json()["runners"]) == 1


def test_stopping_tells_whether_there_was_something_to_stop(client: httpx.Client) -> None:
    assert client.delete("/api/runners/demo").json() == {"stopped": False}
    port = client.post("/api/runners/demo/start").json()["runner"]["host_port"]
    assert client.delete("/api/runners/demo").json() == {"stopped": True}
    assert client.get("/api/runners").json() == {"runners": []}
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://{AGENTS_HOST}:{port}/health", trust_env=False)
    assert client.delete("/api/runners/demo").json() == {"stopped": False}
    assert client.post("/api/runners/demo/start").status_code == 200


@pytest.mark.parametrize("call", [("post", "start"), ("delete", ""), ("put", "idle"), ("get", "progress")])
def test_an_unknown_backend_is_not_found_and_the_answer_names_the_known_ones(
    client: httpx.Client, call: tuple[str, str]
) -> None:
    method, verb = call
    body = {"idle_seconds": 60} if verb == "idle" else None
    problem = is_problem(client.request(method, f"/api/runners/nope/{verb}".rstrip("/"), json=body), 404)
    assert "nope" in problem["detail"]
    assert "demo" in problem["detail"]


def test_a_disabled_backend_is_not_started(client: httpx.Client) -> None:
    problem = is_problem(client.post("/api/runners/off/start"), 503, "backend_disabled")
    assert "backends.json" in problem["detail"]


def test_a_program_that_is_not_installed_is_named_with_the_way_to_mend_it(client: httpx.Client) -> None:
    problem = is_problem(client.post("/api/runners/missing/start"), 502)
    assert "no-such-program-anywhere" in problem["detail"]
    assert "backends.json" in problem["detail"]


def test_an_agent_that_ends_at_once_is_quoted(client: httpx.Client) -> None:
    problem = is_problem(client.post("/api/runners/dying/start"), 502)
    assert "my last words" in problem["detail"]
    assert "code 3" in problem["detail"]
    assert client.get("/api/runners").json() == {"runners": []}


def test_an_agent_that_is_never_ready_times_out_with_its_last_twenty_lines(client: httpx.Client) -> None:
    problem = is_problem(client.post("/api/runners/mute/start"), 504)
    lines = re.findall(r"^line (\d+)$", problem["detail"], re.MULTILINE)
    assert lines == [str(n) for n in range(11, 30)]
    assert "within 2 seconds" in problem["detail"]


def test_the_key_of_a_runner_is_blotted_out_of_what_it_printed(client: httpx.Client) -> None:
    problem = is_problem(client.post("/api/runners/mute/start"), 504)
    assert "key [AGENT_STACK_RUNNER_API_KEY]" in problem["detail"]
    assert not re.search(r"[0-9a-f]{64}", problem["detail"])


def test_a_failed_start_can_be_tried_again(client: httpx.Client) -> None:
    is_problem(client.post("/api/runners/dying/start"), 502)
    is_problem(client.post("/api/runners/dying/start"), 502)
    assert client.post("/api/runners/demo/start").status_code == 200


@pytest.mark.parametrize(
    ("asked", "kept"),
    [(0, 0), (-1, 0), (-(2**31), 0), (1, 60), (59, 60), (60, 60), (1234, 1234), (21600, 21600), (2**31 - 1, 21600)],
)
def test_the_idle_time_is_clamped_and_nought_means_never(client: httpx.Client, asked: int, kept: int) -> None:
    answer = client.put("/api/runners/demo/idle", json={"idle_seconds": asked})
    assert (answer.status_code, answer.json()) == (200, {"idle_seconds": kept})
    backends = {b["name"]: b for b in client.get("/api/backends").json()["backends"]}
    assert backends["demo"]["idle_seconds"] == kept
    assert backends["demo"]["default_idle_seconds"] == 600
    assert backends["many"]["idle_seconds"] == 120


@pytest.mark.parametrize("value", ["60 s", None, 1.5, [], 2**63])
def test_an_idle_time_that_is_no_whole_number_is_unprocessable(client: httpx.Client, value: object) -> None:
    is_problem(client.put("/api/runners/demo/idle", json={"idle_seconds": value}), 422)


def test_the_idle_time_of_a_running_runner_changes_at_once(client: httpx.Client) -> None:
    client.post("/api/runners/demo/start")
    client.put("/api/runners/demo/idle", json={"idle_seconds": 0})
    (runner,) = client.get("/api/runners").json()["runners"]
    assert (runner["idle_seconds"], runner["stops_in_seconds"]) == (0, None)
    client.put("/api/runners/demo/idle", json={"idle_seconds": 100})
    (runner,) = client.get("/api/runners").json()["runners"]
    assert runner["idle_seconds"] == 100
    assert runner["stops_in_seconds"] <= 100


def test_the_idle_time_is_each_users_own(server: Server, client: httpx.Client) -> None:
    client.put("/api/runners/demo/idle", json={"idle_seconds": 77})
    other = server.sign_up(new_email()).get("/api/backends").json()["backends"]
    assert next(b for b in other if b["name"] == "demo")["idle_seconds"] == 600


def test_a_user_whose_name_holds_a_nul_can_start_agents(server: Server) -> None:
    client = server.client()
    body = {"email": new_email(), "password": "a user's password", "name": "a\x00b"}
    if client.post("/auth/signup", json=body).is_success:
        assert client.post("/api/runners/demo/start").status_code == 200
