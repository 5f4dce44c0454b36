"""Several agents of one backend."""

import re
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import httpx
import pytest

from tests.harness.contract import has_shape, is_problem, new_email
from tests.harness.ports import AGENTS_HOST
from tests.harness.server import Server

AGENT = {
    "id": str,
    "user_id": str,
    "backend": str,
    "name": str,
    "model": str,
    "ordinal": int,
    "created_at": int,
    "updated_at": int,
    "running": bool,
    "container_name": str,
    "host_port": (int, None),
}


@pytest.fixture
def client(server: Server) -> httpx.Client:
    return server.sign_up(new_email())


def make(client: httpx.Client, name: str = "An agent", **more: Any) -> dict[str, Any]:
    answer = client.post("/api/agents", json={"backend": "demo", "name": name, **more})
    assert answer.status_code == 200, answer.text
    agent: dict[str, Any] = answer.json()["agent"]
    return agent


def test_nobody_has_agents_to_begin_with(client: httpx.Client) -> None:
    assert client.get("/api/agents").json() == {"agents": [], "max_per_backend": 3}


def test_a_new_agent_has_the_shape_of_the_contract(client: httpx.Client) -> None:
    user = client.get("/auth/me").json()["user"]
    agent = make(client, "  Ada  ", model="large")
    has_shape(agent, AGENT)
    assert agent["name"] == "Ada"
    assert (agent["user_id"], agent["backend"], agent["model"]) == (user["id"], "demo", "large")
    assert (agent["running"], agent["host_port"]) == (False, None)
    assert client.get("/api/agents").json()["agents"] == [agent]


def test_the_second_agent_bears_its_ordinal_in_its_containers_name(client: httpx.Client) -> None:
    slug = client.get("/auth/me").json()["user"]["slug"]
    names = [make(client)["container_name"] for _ in range(3)]
    assert names == [f"demo-{slug}", f"demo-{slug}-a2", f"demo-{slug}-a3"]
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9_.-]*", name) for name in names)


def test_each_agent_has_a_home_of_its_own(server: Server, client: httpx.Client) -> None:
    slug = client.get("/auth/me").json()["user"]["slug"]
    for _ in range(2):
        client.post(f"/api/agents/{make(client)['id']}/start")
    homes = sorted(p.name for p in (server.data / "users" / slug).iterdir())
    assert homes == ["demo", "demo-a2"]


def test_a_fourth_agent_is_one_too_many(client: httpx.Client) -> None:
    assert [make(client)["ordinal"] for _ in range(3)] == [1, 2, 3]
    answer = client.post("/api/agents", json={"backend": "demo", "name": "x"})
    is_problem(answer, 409, "too_many_agents")
    assert len(client.get("/api/agents").json()["agents"]) == 3


def test_a_new_agent_gets_the_smallest_ordinal_that_is_free(client: httpx.Client) -> None:
    agents = [make(client) for _ in range(3)]
    client.delete(f"/api/agents/{agents[1]['id']}")
    assert make(client)["ordinal"] == 2
    client.delete(f"/api/agents/{agents[0]['id']}")
    assert make(client)["ordinal"] == 1


def test_ordinals_never_clash_when_many_are_made_at_once(server: Server, client: httpx.Client) -> None:
    bearer = {"authorization": f"Bearer {server.token(client)}"}
    with ThreadPoolExecutor(8) as threads:
        answers = list(
            threads.map(
                lambda _: server.client(headers=bearer).post("/api/agents", json={"backend": "demo", "name": "x"}),
                range(8),
            )
        )
    assert sorted(a.status_code for a in answers) == [200] * 3 + [409] * 5
    assert sorted(a["ordinal"] for a in client.get("/api/agents").json()["agents"]) == [1, 2, 3]


@pytest.mark.parametrize(
    "body",
    [
        {"backend": "demo"},
        {"name": "x"},
        {"backend": "demo", "name": ""},
        {"backend": "demo", "name": "   "},
        {"backend": "demo", "name": "x" * 81},
        {"backend": "demo", "name": "x", "model": "m" * 201},
        {"backend": "demo", "name": 1},
    ],
)
def test_an_agent_without_a_proper_name_or_model_is_unprocessable(
    client: httpx.Client, body: dict[str, object]
) -> None:
    is_problem(client.post("/api/agents", json=body), 422)


def test_names_of_eighty_and_models_of_two_hundred_characters_are_allowed(client: httpx.Client) -> None:
    agent = make(client, "ä" * 80, model="m" * 200)
    assert (len(agent["name"]), len(agent["model"])) == (80, 200)


def test_an_agent_of_an_unknown_backend_is_not_found(client: httpx.Client) -> None:
    is_problem(client.post("/api/agents", json={"backend": "nope", "name": "x"}), 404, "unknown_backend")


def test_a_patch_changes_what_it_names_and_leaves_the_rest(client: httpx.Client) -> None:
    agent = make(client, "before", model="m")
    url = f"/api/agents/{agent['id']}"
    renamed = client.patch(url, json={"name": "after"}).json()["agent"]
    has_shape(renamed, AGENT)
    assert (renamed["name"], renamed["model"]) == ("after", "m")
    assert renamed["updated_at"] >= agent["updated_at"]
    cleared = client.patch(url, json={"model": ""}).json()["agent"]
    assert (cleared["name"], cleared["model"]) == ("after", "")
    assert client.patch(url, json={}).json()["agent"]["name"] == "after"
    is_problem(client.patch(url, json={"name": ""}), 422)
    is_problem(client.patch(url, json={"model": "m" * 201}), 422)


def test_an_agent_is_started_and_stopped_by_its_id(client: httpx.Client) -> None:
    make(client)
    second = make(client)
    url = f"/api/agents/{second['id']}"
    runner = client.post(f"{url}/start").json()["runner"]
    has_shape(runner, {"agent_id": str, "backend": str, "container_name": str, "host_port": int})
    assert (runner["agent_id"], runner["container_name"]) == (second["id"], second["container_name"])
    shown = {a["id"]: a for a in client.get("/api/agents").json()["agents"]}[second["id"]]
    assert (shown["running"], shown["host_port"]) == (True, runner["host_port"])
    assert [a["running"] for a in client.get("/api/agents").json()["agents"]] == [False, True]
    assert client.delete(f"{url}/runner").json() == {"stopped": True}
    assert client.delete(f"{url}/runner").json() == {"stopped": False}


def test_deleting_an_agent_stops_its_runner_and_deletes_its_conversations(client: httpx.Client) -> None:
    agent = make(client)
    conversation = client.post("/api/conversations", json={"agent_id": agent["id"]}).json()["conversation"]
    port = client.post(f"/api/agents/{agent['id']}/start").json()["runner"]["host_port"]
    answer = client.delete(f"/api/agents/{agent['id']}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert client.get("/api/agents").json()["agents"] == []
    assert client.get("/api/runners").json() == {"runners": []}
    is_problem(client.get(f"/api/conversations/{conversation['id']}"), 404)
    is_problem(client.delete(f"/api/agents/{agent['id']}"), 404)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://{AGENTS_HOST}:{port}/health", trust_env=False)


def test_somebody_elses_agent_looks_like_none_at_all(server: Server, client: httpx.Client) -> None:
    id_ = make(client)["id"]
    stranger = server.sign_up(new_email())
    for method, path, body in (
        ("PATCH", f"/api/agents/{id_}", {"name": "mine"}),
        ("DELETE", f"/api/agents/{id_}", None),
        ("POST", f"/api/agents/{id_}/start", None),
        ("DELETE", f"/api/agents/{id_}/runner", None),
        ("POST", "/api/conversations", {"agent_id": id_}),
    ):
        foreign = is_problem(stranger.request(method, path, json=body), 404)
        other = {"agent_id": "01h"} if body and "agent_id" in body else body
        none = is_problem(stranger.request(method, path.replace(id_, "01h"), json=other), 404)
        assert foreign == none
    assert client.get("/api/agents").json()["agents"][0]["name"] == "An agent"
    is_problem(server.admin().delete(f"/api/agents/{id_}"), 404)


def test_an_agent_that_is_deleted_twice_at_once_is_gone_without_an_error_of_ours(
    server: Server, client: httpx.Client
) -> None:
    bearer = {"authorization": f"Bearer {server.token(client)}"}
    tabs, together = [server.client(headers=bearer) for _ in range(5)], Barrier(5)

    def delete(tab: httpx.Client) -> int:
        tab.get("/healthz")
        together.wait()
        return tab.delete(url).status_code

    codes: list[int] = []
    for _ in range(12):
        url = f"/api/agents/{make(client)['id']}"
        client.post(f"{url}/start")
        with ThreadPoolExecutor(5) as threads:
            codes += threads.map(delete, tabs)
    assert codes.count(204) >= 12
    assert set(codes) <= {204, 404, 409}


def test_a_start_that_meets_the_deletion_of_its_agent_is_answered(server: Server, client: httpx.Client) -> None:
    bearer = {"authorization": f"Bearer {server.token(client)}"}
    for _ in range(3):
        id_ = make(client)["id"]
        with ThreadPoolExecutor(3) as threads:
            starts = [
                threads.submit(server.client(headers=bearer).post, f"/api/agents/{id_}/start") for _ in range(2)
            ]
            client.delete(f"/api/agents/{id_}")
            for start in starts:
                assert start.result().status_code in {200, 404, 502, 503}
    assert client.get("/api/runners").json() == {"runners": []}


def test_no_two_agents_ever_share_a_containers_name(server: Server) -> None:
    # The second agent of one user must not be called as the first one of another.
    first, second = server.sign_up("carol@example.org"), server.sign_up("carol-a2@example.org")
    names = [make(first)["container_name"], make(first)["container_name"], make(second)["container_name"]]
    assert len(set(names)) == 3
