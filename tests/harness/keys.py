"""Values of variables of users under test, and what their agents got of them."""

from pathlib import Path
from typing import Any

import httpx

from tests.harness.processes import runner_processes
from tests.harness.server import Server

Json = dict[str, Any]
OVERRIDES = "/api/me/env-overrides"
SHARED = "/api/admin/shared-env"


def put_key(
    client: httpx.Client, name: str, value: str, backend: str = "", *, force: bool = False
) -> httpx.Response:
    """Set a value for one backend or, as usual, for all."""
    params = {"force": "true"} if force else {}
    return client.put(f"{OVERRIDES}/{name}", json={"value": value, "backend": backend}, params=params)


def set_key(client: httpx.Client, name: str, value: str, backend: str = "", *, force: bool = False) -> None:
    """Set a value, which must go well."""
    answer = put_key(client, name, value, backend, force=force)
    assert answer.json() == {"ok": True, "set": bool(value)}, answer.text


def share(admin: httpx.Client, name: str, shared: bool = True) -> None:
    """Have the admin share a value, or no longer."""
    answer = admin.put(f"{SHARED}/{name}", json={"shared": shared})
    assert answer.json() == {"ok": True, "shared": shared}, answer.text


def effective(client: httpx.Client, backend: str) -> dict[str, tuple[str, str]]:
    """Return (source, masked value) of each variable of a backend."""
    found: dict[str, Json] = client.get(OVERRIDES).json()["effective"][backend]
    return {name: (e["source"], e["masked"]) for name, e in found.items()}


def environment(server: Server, port: int) -> dict[str, str]:
    """Return the environment of the runner that listens on a port."""
    (runner,) = [r for r in runner_processes(server) if r.port == port]
    return process_environment(runner.pid)


def process_environment(pid: int) -> dict[str, str]:
    """Return the environment of a process."""
    pairs = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return dict(pair.decode().split("=", 1) for pair in pairs if pair)
