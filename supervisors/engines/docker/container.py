"""What a runner's container is made with: one pure function from a specification to the daemon's options."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supervisors.engines.docker.host_paths import HostPaths
from supervisors.engines.protocol import HOST_PLACE, PORT_PLACE, Endpoint, RunnerSpec

LABEL = "io.agent-stack."
HOST_NAME = "host.docker.internal"
_ANYWHERE = "0.0.0.0"  # noqa: S104 Of its own network.
_LONGEST_HOST_NAME = 63
_NANO = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Options:
    """Arguments of docker's `create_container`: `host` are those of its host configuration."""

    container: Mapping[str, Any]
    host: Mapping[str, Any]


def labels(spec: RunnerSpec, instance: str, endpoint: Endpoint) -> dict[str, str]:
    """Return the labels by which a restarted router finds its runners, and knows them from those of others."""
    found = {
        "instance": instance,
        "runner": spec.runner_id,
        "agent": spec.agent_id,
        "user": spec.user_id,
        "backend": spec.backend.name,
        "spec-hash": spec.spec_hash,
        "host": endpoint.host,
        "port": str(endpoint.port),
    }
    return {LABEL + name: value for name, value in found.items()}


def options(
    spec: RunnerSpec, *, instance: str, image: str, network: str, endpoint: Endpoint, paths: HostPaths, cpus: int
) -> Options:
    """Return how to make a runner's container. `cpus` is how many the daemon has (0: unknown)."""
    backend = spec.backend
    on_host_network = backend.network_mode == "host"
    address, port = (endpoint.host, endpoint.port) if on_host_network else (_ANYWHERE, backend.port)

    def fill(text: str) -> str:
        return text.replace(HOST_PLACE, address).replace(PORT_PLACE, str(port))

    container: dict[str, Any] = {
        "image": image,
        "command": [fill(part) for part in spec.command] or None,
        "environment": {"HOME": backend.home, **{name: fill(value) for name, value in spec.env.items()}},
        "labels": labels(spec, instance, endpoint),
        "user": numeric(backend.user),
        "ports": None if on_host_network else [(port, "tcp")],
        "hostname": None if on_host_network else (backend.hostname or spec.name[:_LONGEST_HOST_NAME].rstrip("-")),
    }
    if backend.entrypoint is not None:
        container["entrypoint"] = list(backend.entrypoint)
    host: dict[str, Any] = {
        "mounts": _mounts(spec, paths),
        "tmpfs": dict.fromkeys(backend.tmpfs, "rw,nosuid,nodev,mode=1777"),
        "read_only": backend.read_only,
        "init": True,
        "cap_drop": ["ALL"],
        "cap_add": list(backend.capabilities),
        "security_opt": ["no-new-privileges"],
        "mem_limit": backend.memory,
        "memswap_limit": backend.memory,  # The same: no swap beside it.
        "nano_cpus": int(min(backend.cpus, cpus or backend.cpus) * _NANO),
        "pids_limit": backend.pids,
        "shm_size": backend.shm_size,
        "log_config": {
            "Type": "json-file",
            "Config": {"max-size": str(backend.log_max_size), "max-file": str(backend.log_max_files)},
        },
        "restart_policy": {"Name": "no"},
        "network_mode": network,
        "dns": list(backend.dns) or None,
        "extra_hosts": {HOST_NAME: "host-gateway", **backend.extra_hosts},
        "port_bindings": None if on_host_network else {port: (endpoint.host, endpoint.port)},
    }
    return Options(container, host)


def numeric(ids: str) -> str:
    """Return `uid:gid` with the router's own ids filled in."""
    return ids.replace("{uid}", str(os.getuid())).replace("{gid}", str(os.getgid()))


def _mounts(spec: RunnerSpec, paths: HostPaths) -> list[dict[str, Any]]:
    """Return the mounts as the API takes them: unlike plain binds, they do not make a folder that is missing."""
    home = _bind(paths.on_host(spec.home), spec.backend.home, read_only=False)
    more = spec.backend.mounts
    return [home, *(_bind(paths.source(m.source, spec.home), m.target, read_only=m.read_only) for m in more)]


def _bind(source: Path, target: str, *, read_only: bool) -> dict[str, Any]:
    return {"Type": "bind", "Source": str(source), "Target": target, "ReadOnly": read_only}
