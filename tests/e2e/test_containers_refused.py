"""Containers that cannot be made, and what people are told then."""

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.harness.containers import ContainerServer, agent, await_gone, is_refused_everywhere, runner_events, slug
from tests.harness.contract import is_problem
from tests.harness.docker import engine_client, inspect
from tests.harness.faults import faults
from tests.harness.images import scripted_image
from tests.harness.person import Person
from tests.harness.ports import AGENTS_HOST, free_port
from tests.harness.scripted import Gates

pytestmark = [pytest.mark.docker, pytest.mark.slow]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, gates: Gates) -> Iterator[ContainerServer]:
    """Return a server with an agent that needs values of its user."""
    wanted = ("LLM_BASE_URL", "LLM_API_KEY")
    folder = tmp_path_factory.mktemp("server")
    backends = [
        agent(gates),
        agent(gates, {"LLM_BASE_URL": "http://models"}, name="keyless", user_overridable_env=wanted),
        agent(gates, name="greedy", mounts=[{"source": str(folder / "data" / "secrets"), "target": "/secrets"}]),
        agent(gates, name="lost", extra_networks=["no-such-network-anywhere"]),
    ]
    with ContainerServer(folder, backends) as running:
        yield running


@pytest.fixture
def user(server: ContainerServer) -> Iterator[Person]:
    """Return a new user."""
    with Person(server, "refused") as person:
        yield person


def as_root(*command: str) -> None:
    subprocess.run([*([] if os.getuid() == 0 else ["sudo"]), *command], check=True, capture_output=True)


def start_fails(user: Person, backend: str, *words: str) -> None:
    """Assert that a start fails with these words."""
    problem = is_problem(user.http.post(f"/api/runners/{backend}/start"), 502, "engine_failed")
    missing = [word for word in words if word not in problem["detail"]]
    assert not missing, f"{missing} not in {problem['detail']!r}"


def test_a_variable_without_a_value_is_named_everywhere(user: Person) -> None:
    is_refused_everywhere(user, "keyless", 422, "missing_values", "needs a value for LLM_API_KEY", "Settings, Keys")
    problem = is_problem(user.http.post("/api/runners/keyless/start"), 422, "missing_values")
    assert problem["missing"] == ["LLM_API_KEY"]


def test_a_strangers_container_of_the_same_name_is_left_alone_and_named(
    server: ContainerServer, user: Person
) -> None:
    name = f"{server.prefix}-scripted-{slug(user)}"
    with engine_client() as engine:
        stranger = engine.containers.run(scripted_image(), ["sleep", "600"], name=name, detach=True, init=True)
        try:
            start_fails(user, "scripted", name, "does not belong to this agent-stack", "container_prefix")
            found = inspect(name)
            assert found is not None
            assert (found["Id"], found["State"]["Status"]) == (stranger.id, "running")
        finally:
            stranger.remove(force=True)
    assert user.chat("say hello").is_success


def test_our_own_leftover_of_the_same_name_makes_room(server: ContainerServer, user: Person) -> None:
    name = f"{server.prefix}-scripted-{slug(user)}"
    labels = {f"io.agent-stack.{k}": v for k, v in {"instance": server.instance, "runner": "leftover"}.items()}
    with engine_client() as engine:
        leftover = engine.containers.create(scripted_image(), name=name, labels=labels).id
    assert user.chat("say hello").is_success
    assert inspect(leftover) is None


def test_the_folder_with_the_secrets_cannot_be_mounted(user: Person) -> None:
    start_fails(user, "greedy", "cannot be mounted", "secrets")


def test_a_network_that_does_not_exist_is_named_and_nothing_is_left(user: Person) -> None:
    start_fails(user, "lost", "no-such-network-anywhere")
    await_gone(user)
    assert len(runner_events(user, "runner.failed")) == 1


def test_a_port_that_is_taken_is_passed_over_and_without_any_left_people_are_told(
    tmp_path: Path, gates: Gates
) -> None:
    first = free_port()
    with ExitStack() as stack:
        ports = (first, first + 1)
        taken = [stack.enter_context(socket.create_server((AGENTS_HOST, port))) for port in ports]
        env = {"BACKEND_PORT_START": str(ports[0]), "BACKEND_PORT_END": str(ports[1])}
        server = stack.enter_context(ContainerServer(tmp_path / "server", [agent(gates)], env))
        user, other = (stack.enter_context(Person(server, "port")) for _ in range(2))
        start_fails(user, "scripted", f"No free port between {first} and {first + 1}", "BACKEND_PORT_START")
        taken[1].close()
        assert user.http.post("/api/runners/scripted/start").json()["runner"]["host_port"] == first + 1
        start_fails(other, "scripted", "stop some runners")
        user.http.delete("/api/runners/scripted")
        assert other.chat("say hello").is_success
        assert faults(server) == []


def test_a_home_that_the_disk_does_not_take_is_said_to_be_the_reason(tmp_path: Path, gates: Gates) -> None:
    with ContainerServer(tmp_path / "server", [agent(gates)]) as server, Person(server, "disk") as user:
        users = server.data / "users"
        users.mkdir(exist_ok=True)
        # Room for the folder itself and one more.
        as_root("mount", "-t", "tmpfs", "-o", f"nr_inodes=2,uid={os.getuid()},mode=700", "tmpfs", str(users))
        try:
            start_fails(user, "scripted", "No space left on device", "Is the disk full")
            as_root("mount", "-o", "remount,ro,nr_inodes=100", str(users))
            start_fails(user, "scripted", "Read-only file system", "the data folder read-only")
            as_root("mount", "-o", "remount,rw", str(users))
            assert user.chat("say hello").is_success
            user.http.delete("/api/runners/scripted")
        finally:
            server.stop()
            as_root("umount", str(users))
        assert faults(server) == []


def test_the_server_met_all_this_without_an_error_of_its_own(server: ContainerServer) -> None:
    assert faults(server) == []
