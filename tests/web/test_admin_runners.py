"""/api/admin/runners: what runs, of everybody."""

import httpx
import pytest

from tests.harness.contract import has_shape, is_problem
from tests.harness.keys import environment
from tests.harness.person import Person
from tests.harness.server import Server

RUNNERS = "/api/admin/runners"
RUNNER = {
    "user_id": str,
    "email": str,
    "agent_id": str,
    "agent_name": str,
    "runner_id": str,
    "backend": str,
    "container_name": str,
    "host_port": (int, None),
    "state": str,
    "started_at": (int, None),
    "last_active": (int, None),
    "idle_seconds": int,
    "idle_for_seconds": int,
    "stops_in_seconds": (int, None),
    "running": bool,
}


@pytest.fixture(scope="module")
def admin(server: Server) -> httpx.Client:
    return server.admin()


def start(user: Person, name: str = "") -> str:
    """Start an agent and return its id."""
    agent = user.http.post("/api/agents", json={"backend": "demo", "name": name or "My agent"}).json()["agent"]
    answer = user.http.post(f"/api/agents/{agent['id']}/start")
    assert answer.is_success, answer.text
    id_: str = agent["id"]
    return id_


def test_everybodys_runners_are_listed_with_whose_they_are_and_without_their_keys(
    server: Server, admin: httpx.Client
) -> None:
    with Person(server, "ann") as ann, Person(server, "bob") as bob:
        started = {start(ann): ann, start(ann, "Second"): ann, start(bob): bob}
        answer = admin.get(RUNNERS)
        found = {r["agent_id"]: r for r in answer.json()["runners"] if r["agent_id"] in started}
        assert set(found) == set(started)
        for id_, runner in found.items():
            has_shape(runner, RUNNER)
            assert set(runner) == set(RUNNER)
            me = started[id_].http.get("/auth/me").json()["user"]
            assert (runner["user_id"], runner["email"]) == (me["id"], me["email"])
            assert (runner["running"], runner["state"]) == (True, "ready")
            assert environment(server, runner["host_port"])["AGENT_STACK_RUNNER_API_KEY"] not in answer.text
        assert sorted(r["agent_name"] for r in found.values()) == ["My agent", "My agent", "Second"]


def test_the_admin_stops_all_runners_of_one_users_backend_and_no_others(
    server: Server, admin: httpx.Client
) -> None:
    with Person(server, "ann") as ann, Person(server, "bob") as bob:
        for user in (ann, ann, bob):
            start(user)
        me = ann.http.get("/auth/me").json()["user"]["id"]
        assert admin.delete(f"{RUNNERS}/{me}/demo").json() == {"stopped": True}
        assert ann.runners() == []
        assert [r["running"] for r in bob.runners()] == [True]
        assert admin.delete(f"{RUNNERS}/{me}/demo").json() == {"stopped": False}
        assert me not in admin.get(RUNNERS).text


def test_a_user_or_backend_that_does_not_exist_is_not_found(server: Server, admin: httpx.Client) -> None:
    with Person(server) as user:
        me = user.http.get("/auth/me").json()["user"]["id"]
        is_problem(admin.delete(f"{RUNNERS}/nobody/demo"), 404)
        is_problem(admin.delete(f"{RUNNERS}/{me}/nope"), 404, "unknown_backend")


def test_nobody_but_the_admin_sees_or_stops_the_runners_of_others(server: Server) -> None:
    with Person(server, "ann") as ann, Person(server, "bob") as bob:
        start(ann)
        me = ann.http.get("/auth/me").json()["user"]["id"]
        for user in (ann, bob):
            is_problem(user.http.get(RUNNERS), 403, "admin_only")
            is_problem(user.http.delete(f"{RUNNERS}/{me}/demo"), 403, "admin_only")
        assert [r["running"] for r in ann.runners()] == [True]
