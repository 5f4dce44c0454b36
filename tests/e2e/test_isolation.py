"""What an agent in its container can reach, and what it can see."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.harness.containers import ContainerServer, agent, slug
from tests.harness.docker import execute
from tests.harness.faults import faults
from tests.harness.images import PORT
from tests.harness.person import Person
from tests.harness.ports import AGENTS_HOST
from tests.harness.scripted import Gates
from tests.harness.server import ADMIN

pytestmark = [pytest.mark.docker, pytest.mark.slow]

Json = dict[str, Any]
SECRETS = {"JWT_SECRET": "jwt-0123456789-abcdefghijklmnopqrstuvwxyz", "SOME_PASSWORD": "for-the-router-only"}
POST = """
curl -sS -m 10 -w '\n%{http_code}' -H 'Content-Type: application/json' -d '{"content": "Good news."}' \
  -H "Authorization: Bearer $AGENT_STACK_RUNNER_API_KEY" "$AGENT_STACK_CALLBACK_URL/api/internal/agents/$1/event"
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, gates: Gates) -> Iterator[ContainerServer]:
    """Return a server that listens on all addresses, as containers need it, and has secrets in its environment."""
    env = {**SECRETS, "ROUTER_BIND_HOST": "0.0.0.0"}
    with ContainerServer(tmp_path_factory.mktemp("server"), [agent(gates)], env) as running:
        yield running


@pytest.fixture(scope="module")
def ann(server: ContainerServer) -> Iterator[Person]:
    """Return a user whose agent runs."""
    with Person(server, "ann") as person:
        person.chat("say hello")
        yield person


@pytest.fixture(scope="module")
def bob(server: ContainerServer) -> Iterator[Person]:
    """Return another user whose agent runs."""
    with Person(server, "bob") as person:
        person.chat("say hello")
        yield person


def address(container: Json) -> tuple[str, str]:
    """Return the address and the gateway of a container in its user's network."""
    (network,) = container["NetworkSettings"]["Networks"].values()
    return network["IPAddress"], network["Gateway"]


def fetch(container: Json, url: str) -> str:
    """Return the status that a container gets from an address; "000" when there is no answer."""
    _, output = execute(container["Id"], "curl", "-s", "-m", "2", "-o", "/dev/null", "-w", "%{http_code}", url)
    return output


def post(container: Json, agent_id: str) -> tuple[str, str]:
    """Have a container post as an agent, with the key that it was given; return the answer and its status."""
    _, output = execute(container["Id"], "sh", "-c", POST, "sh", agent_id)
    body, _, status = output.rpartition("\n")
    return body, status


def environment(container: Json) -> dict[str, str]:
    """Return the environment of a container's own process."""
    code, output = execute(container["Id"], "cat", "/proc/1/environ")
    assert code == 0, output
    return dict(line.split("=", 1) for line in output.split("\0") if line)


def test_an_agent_reaches_no_agent_of_another_user(server: ContainerServer, ann: Person, bob: Person) -> None:
    mine, theirs = server.container(ann), server.container(bob)
    (ip, gateway), (their_ip, their_gateway) = address(mine), address(theirs)
    (runner,) = bob.runners()
    port, name = runner["host_port"], runner["container_name"]
    assert fetch(mine, f"http://{ip}:{PORT}/health") == "200", "it can ask at all"
    ways = {
        "address": f"{their_ip}:{PORT}",
        "name": f"{name}:{PORT}",
        "port at my gateway": f"{gateway}:{port}",
        "port at their gateway": f"{their_gateway}:{port}",
        "port at the host": f"host.docker.internal:{port}",
    }
    assert {way: fetch(mine, f"http://{target}/health") for way, target in ways.items()} == dict.fromkeys(
        ways, "000"
    )
    assert httpx.get(f"http://{AGENTS_HOST}:{port}/health", trust_env=False).is_success


def test_an_agent_reaches_the_other_agents_of_its_user(server: ContainerServer, ann: Person) -> None:
    made = ann.http.post("/api/agents", json={"backend": "scripted", "name": "Second"}).json()["agent"]
    started = ann.http.post(f"/api/agents/{made['id']}/start").json()["runner"]
    assert fetch(server.container(ann), f"http://{started['container_name']}:{PORT}/health") == "200"
    ann.http.delete(f"/api/agents/{made['id']}")


def test_an_agent_posts_to_its_users_conversation_from_its_container(server: ContainerServer, ann: Person) -> None:
    conversation = ann.conversation()
    container = server.container(ann)
    body, status = post(container, environment(container)["AGENT_STACK_AGENT_ID"])
    assert status == "200", body
    assert json.loads(body)["conversation_id"] == conversation
    assert ann.messages(conversation) == [("assistant", "Good news.")]


def test_an_agent_posts_to_no_other_agents_conversation(server: ContainerServer, ann: Person, bob: Person) -> None:
    conversation = bob.conversation()
    for other in (environment(server.container(bob))["AGENT_STACK_AGENT_ID"], "unknown"):
        assert post(server.container(ann), other)[1] in {"403", "404"}
    assert bob.messages(conversation) == []


def test_an_agents_key_opens_nothing_but_its_own_door(server: ContainerServer, ann: Person, bob: Person) -> None:
    container = server.container(ann)
    bearer = 'curl -s -m 5 -o /dev/null -w "%{http_code}" -H "Authorization: Bearer $AGENT_STACK_RUNNER_API_KEY" '
    for path in ("/api/conversations", "/api/runners", "/v1/models", "/api/admin/users"):
        _, status = execute(container["Id"], "sh", "-c", f'{bearer} "$AGENT_STACK_CALLBACK_URL{path}"')
        assert status == "401", path
    key = environment(container)["AGENT_STACK_RUNNER_API_KEY"]
    (runner,) = bob.runners()
    with httpx.Client(trust_env=False, headers={"Authorization": f"Bearer {key}"}) as client:
        assert client.get(f"http://{AGENTS_HOST}:{runner['host_port']}/v1/models").status_code == 401


def test_an_agents_environment_holds_what_it_is_told_and_nothing_of_the_routers(
    server: ContainerServer, ann: Person
) -> None:
    found = environment(server.container(ann))
    names = {name for name in found if name.startswith(("AGENT_", "SCRIPTED_"))}
    assert names == {
        *("AGENT_STACK_AGENT_ID", "AGENT_STACK_RUNNER_API_KEY", "AGENT_STACK_CALLBACK_URL"),
        *("AGENT_USER_ID", "AGENT_USER_EMAIL", "AGENT_USER_NAME"),
        *("SCRIPTED_PORT", "SCRIPTED_HOST", "SCRIPTED_FOLDER", "SCRIPTED_KEY"),
    }
    assert found["HOME"] == "/home/agent"
    assert found["AGENT_STACK_CALLBACK_URL"] == f"http://host.docker.internal:{server.port}"
    assert not set(found) & {*SECRETS, "STACK_DATA_ROOT", "BOOTSTRAP_ADMIN_PASSWORD", "DOCKER_HOST"}
    secrets = [*SECRETS.values(), ADMIN[1], str(server.data)]
    secrets += [path.read_text().strip() for path in (server.data / "secrets").iterdir()]
    assert not [value for value in found.values() if any(secret in value for secret in secrets)]


def test_an_agent_sees_its_own_home_and_no_file_of_the_router_or_of_another_user(
    server: ContainerServer, ann: Person, bob: Person
) -> None:
    (server.data / "users" / slug(bob) / "scripted" / "private").write_text("bob's")
    container = server.container(ann)
    mounts = {m["Destination"]: m["Source"] for m in container["Mounts"]}
    assert mounts == {
        "/home/agent": str(server.data / "users" / slug(ann) / "scripted"),
        "/gates": mounts["/gates"],
    }
    _, listed = execute(container["Id"], "sh", "-c", "ls -a /home /home/agent; ls / /var/run")
    assert "private" not in listed
    assert "docker.sock" not in listed


def test_an_agent_has_no_powers(server: ContainerServer, ann: Person) -> None:
    container = server.container(ann)["Id"]
    code, output = execute(container, "sh", "-c", "touch /etc/mine || touch /usr/mine || touch /app/mine")
    assert code != 0
    assert "Read-only file system" in output
    assert execute(container, "sh", "-c", "touch /home/agent/mine /tmp/mine")[0] == 0
    _, status = execute(container, "cat", "/proc/1/status")
    lines = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    assert int(lines["CapEff"], 16) == int(lines["CapBnd"], 16) == 0
    assert lines["NoNewPrivs"].strip() == "1"


def test_the_server_met_all_this_without_an_error_of_its_own(server: ContainerServer) -> None:
    assert faults(server) == []
