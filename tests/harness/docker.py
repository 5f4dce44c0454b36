"""The real Docker Engine, as tests look into it and clean up in it."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import docker
import docker.errors

BASE_IMAGE = "agent-stack-test-base:bookworm"
"""What `.ci/engine` makes: Debian with Python and curl."""

INSTANCE_LABEL = "io.agent-stack.instance"
RUNNER_LABEL = "io.agent-stack.runner"


@contextmanager
def engine_client() -> Iterator[Any]:
    """Yield a docker.DockerClient; without an engine this fails and says what to do."""
    try:
        client = docker.from_env(timeout=60)
        client.ping()
    except docker.errors.DockerException as error:
        raise AssertionError(f"no Docker Engine answers ({error}); `.ci/engine` starts one") from error
    try:
        yield client
    finally:
        client.close()


def containers_of(value: str, *, label: str = INSTANCE_LABEL, running: bool = False) -> list[dict[str, Any]]:
    """Return what `docker inspect` shows of every container with a label of this value, oldest first."""
    with engine_client() as client:
        return [c.attrs for c in _containers(client, label, value) if not running or c.status == "running"]


def networks_of(value: str, *, label: str = INSTANCE_LABEL) -> list[dict[str, Any]]:
    """Return what `docker network inspect` shows of every network with a label of this value."""
    with engine_client() as client:
        found = client.networks.list(filters={"label": f"{label}={value}"}, greedy=True)
        return [network.attrs for network in found]


def inspect(name: str) -> dict[str, Any] | None:
    """Return what `docker inspect` shows of a container, by name or id; None when there is none."""
    with engine_client() as client:
        try:
            found: dict[str, Any] = client.api.inspect_container(name)
        except docker.errors.NotFound:
            return None
        return found


def logs(name: str) -> str:
    """Return what a container has printed."""
    with engine_client() as client:
        text: bytes = client.api.logs(name)
        return text.decode(errors="replace")


def execute(name: str, *command: str, user: str = "") -> tuple[int, str]:
    """Run a command in a container and return its exit code and output."""
    with engine_client() as client:
        code, output = client.containers.get(name).exec_run(list(command), user=user)
        return code, output.decode(errors="replace")


def kill(name: str, signal: str = "KILL") -> None:
    """Signal a container behind the router's back."""
    with engine_client() as client:
        client.api.kill(name, signal)


def remove_labelled(value: str, *, label: str = INSTANCE_LABEL) -> None:
    """Remove all containers, then all networks, with a label of this value, whatever state they are in."""
    with engine_client() as client:
        for container in _containers(client, label, value):
            with suppress(docker.errors.NotFound):
                container.remove(force=True, v=True)
        for network in client.networks.list(filters={"label": f"{label}={value}"}):
            with suppress(docker.errors.NotFound):
                network.remove()


def remove_image(reference: str) -> None:
    """Remove an image's tag if it is there."""
    with engine_client() as client, suppress(docker.errors.ImageNotFound):
        client.images.remove(reference, force=True)


def _containers(client: Any, label: str, value: str) -> list[Any]:
    filters = {"label": f"{label}={value}"}
    # One that vanishes between the list and the look at it is no error.
    found = client.containers.list(all=True, filters=filters, ignore_removed=True)
    return sorted(found, key=lambda c: c.attrs["Created"])
