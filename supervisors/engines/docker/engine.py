"""The engine itself: the engine protocol on Docker containers."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import trio

from supervisors.engines.docker.build import Builder
from supervisors.engines.docker.container import LABEL, Options, options
from supervisors.engines.docker.daemon import Daemon, MissingError, RefusedError
from supervisors.engines.docker.exits import Exits
from supervisors.engines.docker.host_paths import HostPaths, find_host_paths
from supervisors.engines.docker.images import Images
from supervisors.engines.docker.networks import UserNetworks
from supervisors.engines.protocol import PAGE_HOST, Endpoint, EngineError, Exit, Found, Report, RunnerSpec
from supervisors.ports import PortPool

_CONFLICT = 409
_PORT_ATTEMPTS = 5
_KILL_SECONDS = 10
"""How long a container may take to be gone after SIGKILL."""


class DockerEngine:
    """Runs each agent as a container, published on `agents_host`. `instance` marks what belongs here."""

    name = "docker"

    def __init__(
        self,
        *,
        host: str,
        instance: str,
        data_root: Path,
        host_root: Path | None,
        ports: PortPool,
        agents_host: str,
        network_pool: IPv4Network,
        pull_seconds: float,
    ) -> None:
        self._daemon = Daemon(host)
        self._instance = instance
        self._data_root = data_root
        self._host_root = host_root
        self._paths: HostPaths | None = None
        self._ports = ports
        self._agents_host = agents_host
        self._exits = Exits(self._daemon, instance)
        self._networks = UserNetworks(self._daemon, instance, network_pool)
        self.images = Images(self._daemon, pull_seconds)
        self._starting = trio.CapacityLimiter(1)
        """As many at once as the daemon has processors: more are not faster, and whoever chats notices them."""
        self._image_of: dict[str, str] = {}
        self._containers: dict[str, str] = {}
        self._reserved: dict[str, Endpoint] = {}

    def __repr__(self) -> str:
        return f"<DockerEngine {self._daemon.host}: {len(self._containers)} containers>"

    def builder(self, folders: tuple[Path, ...]) -> Builder:
        """Return what builds images, from the Dockerfiles below these folders."""
        return Builder(self._daemon, folders)

    def statistics(self) -> dict[str, int]:
        """Return how many calls the daemon has had."""
        return {"calls": self._daemon.calls}

    async def run(self, on_return: Callable[[], Awaitable[None]]) -> None:
        """Follow the daemon's events, and pull images, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.images.run)
            await self._exits.run(on_return)

    async def check(self) -> None:
        """Raise EngineError unless the daemon answers and is new enough."""
        await self._daemon.check()

    async def prepare(self, spec: RunnerSpec, report: Report) -> str:
        """Have the image present, and return its digest."""
        image = await self.images.ensure(spec.backend, report)
        self._image_of[spec.runner_id] = image.name
        return image.identity

    async def create(self, spec: RunnerSpec) -> None:
        """Create the container, in its user's own network."""
        if self._paths is None:
            self._paths = await find_host_paths(self._daemon, self._data_root, self._host_root)
        network = spec.backend.network_mode
        if network == "user":
            network = await self._networks.join(spec)
        # On the host's network nobody publishes anything: it is for the agent to listen where it is told to.
        is_told = network != "host" or spec.chooses_host
        endpoint = Endpoint(self._agents_host if is_told else PAGE_HOST, self._ports.reserve())
        self._reserved[spec.runner_id] = endpoint
        made = options(
            spec,
            instance=self._instance,
            image=self._image_of[spec.runner_id],
            network=network,
            endpoint=endpoint,
            paths=self._paths,
            cpus=self._daemon.cpus,
        )
        try:
            container = await self._create(spec, made)
        except RefusedError as error:
            if error.status != _CONFLICT:
                raise
            await self._make_room(spec.name)
            container = await self._create(spec, made)
        self._containers[spec.runner_id] = container
        for extra in spec.backend.extra_networks:
            await self._connect(container, extra)

    async def start(self, spec: RunnerSpec) -> Endpoint:
        """Start the container. A port that somebody else took in the meantime is exchanged for another."""
        self._starting.total_tokens = max(2, self._daemon.cpus)
        taken: list[int] = []
        try:
            for _ in range(_PORT_ATTEMPTS):
                try:
                    async with self._starting:
                        await self._daemon.call(lambda client: client.start(self._containers[spec.runner_id]))
                except RefusedError as error:
                    if not _is_port_taken(error.words):
                        raise EngineError(_not_started(spec, error)) from None
                    # Kept reserved until there is another one, so that it is not handed out again.
                    taken.append(self._reserved.pop(spec.runner_id).port)
                    await self._remove(self._containers.pop(spec.runner_id))
                    await self.create(spec)
                else:
                    return self._reserved[spec.runner_id]
        finally:
            for port in taken:
                self._ports.release(port)
        raise EngineError(
            f"The ports {taken[0]} to {taken[-1]} are used by other programs. "
            "Set BACKEND_PORT_START and BACKEND_PORT_END to a range that is free."
        )

    async def wait_exit(self, runner_id: str) -> Exit:
        """Return once the container has ended."""
        container = await self._find(runner_id)
        return await self._exits.wait(container) if container else Exit(None)

    async def stop(self, runner_id: str, grace_seconds: float) -> Exit:
        """Send the image's stop signal, after the grace SIGKILL, and remove the container."""
        with trio.CancelScope(shield=True):
            container = await self._find(runner_id)
            ended = await self._end(container, grace_seconds) if container else Exit(None)
            self._containers.pop(runner_id, None)
            self._image_of.pop(runner_id, None)
            if (endpoint := self._reserved.pop(runner_id, None)) is not None:
                self._ports.release(endpoint.port)
            await self._networks.leave(runner_id)
        return ended

    async def logs(self, runner_id: str, lines: int) -> str:
        """Return the last lines of standard output and standard error."""
        container = await self._find(runner_id)
        if container is None:
            return ""

        def read(client: Any) -> bytes:
            found: bytes = client.logs(container, stdout=True, stderr=True, tail=lines)
            return found

        try:
            printed: bytes = await self._daemon.call(read)
        except MissingError:
            return ""
        return printed.decode(errors="replace").strip("\n")

    async def list(self) -> list[Found]:
        """Return every container of this installation, whatever its state, and drop networks without any."""
        found = [self._noted(c) for c in await self._labelled()]
        await self._networks.tidy()
        return found

    # -- helpers ------------------------------------------------------------------------------------------

    async def _labelled(self, **more: str) -> Sequence[dict[str, Any]]:
        labels = [f"{LABEL}instance={self._instance}", *(f"{LABEL}{k}={v}" for k, v in more.items())]
        containers: Sequence[dict[str, Any]] = await self._daemon.call(
            lambda client: client.containers(all=True, filters={"label": labels})
        )
        return containers

    async def _find(self, runner_id: str) -> str | None:
        """Return a runner's container, or None when there is none."""
        if runner_id not in self._containers:
            labelled = await self._labelled(runner=runner_id)
            if not labelled:
                return None
            self._containers[runner_id] = labelled[0]["Id"]
        return self._containers[runner_id]

    def _noted(self, container: dict[str, Any]) -> Found:
        """Return a listed container, and keep what belongs to it: its port and its network."""
        labels = container["Labels"]
        # Another version may have labelled it otherwise: then nobody knows it, and it is removed as an orphan.
        runner_id = labels.get(LABEL + "runner") or container["Id"]
        running = container["State"] in {"running", "paused"}
        self._containers[runner_id] = container["Id"]
        for network in container["NetworkSettings"]["Networks"]:
            if network.startswith(self._networks.name("")):
                self._networks.note(network, runner_id)
        label = labels.get(LABEL + "port", "")
        endpoint = Endpoint(labels.get(LABEL + "host", PAGE_HOST), int(label)) if label.isdecimal() else None
        if endpoint:
            self._reserved[runner_id] = endpoint
            self._ports.hold(endpoint.port)
        name = container["Names"][0].lstrip("/")
        spec_hash = labels.get(LABEL + "spec-hash", "")
        return Found(runner_id, name, spec_hash, running, endpoint if running else None)

    async def _create(self, spec: RunnerSpec, made: Options) -> str:
        def create(client: Any) -> str:
            host = client.create_host_config(**made.host)
            container = client.create_container(name=spec.name, host_config=host, **made.container)
            found: str = container["Id"]
            return found

        container: str = await self._daemon.call(create)
        return container

    async def _connect(self, container: str, network: str) -> None:
        try:
            # Docker itself would notice only at the start that it is not there.
            await self._daemon.call(lambda client: client.inspect_network(network))
            await self._daemon.call(lambda client: client.connect_container_to_network(container, network))
        except MissingError:
            raise EngineError(
                f"There is no Docker network {network!r}. Make it (docker network create {network}), or mend "
                "`extra_networks` in backends.json."
            ) from None

    async def _make_room(self, name: str) -> None:
        """Remove a container of ours that has the name of a new one. Raises EngineError for a stranger's."""
        try:
            found = await self._daemon.call(lambda client: client.inspect_container(name))
        except MissingError:  # It was just being removed.
            return
        labels = found["Config"]["Labels"] or {}
        if labels.get(LABEL + "instance") != self._instance:
            raise EngineError(
                f"There is already a container named {name!r} that does not belong to this agent-stack, so it was "
                "left alone. Rename or remove it, or set `container_prefix` of the backend."
            )
        await self._remove(found["Id"])

    async def _end(self, container: str, grace_seconds: float) -> Exit:
        try:
            details = await self._daemon.call(lambda client: client.inspect_container(container))
        except MissingError:
            self._exits.forget(container)
            return Exit(None)
        if details["State"]["Status"] == "created":
            ended = Exit(None)
        else:
            ended = await self._signalled(
                container, details["Config"].get("StopSignal") or "SIGTERM", grace_seconds
            )
        await self._remove(container)
        return ended

    async def _signalled(self, container: str, signal: str, grace_seconds: float) -> Exit:
        for name, seconds in ((signal, grace_seconds), ("SIGKILL", _KILL_SECONDS)):
            with suppress(RefusedError):  # It is not running any more.
                await self._daemon.call(lambda client, sent=name: client.kill(container, sent))
            with trio.move_on_after(seconds):
                return await self._exits.wait(container)
        return Exit(None)

    async def _remove(self, container: str) -> None:
        try:
            await self._daemon.call(lambda client: client.remove_container(container, force=True, v=True))
        except MissingError:
            pass
        except RefusedError as error:
            if error.status != _CONFLICT:  # It is just being removed.
                raise
        self._exits.forget(container)


def _is_port_taken(words: str) -> bool:
    return "port is already allocated" in words or "address already in use" in words


def _not_started(spec: RunnerSpec, error: RefusedError) -> str:
    words = error.words.rstrip(".")
    if "executable file not found" in words or "no such file or directory" in words:
        program = spec.command[0] if spec.command else "its own command"
        return (
            f"The image of backend {spec.backend.name!r} has no program {program!r} ({words}). "
            "Mend `command` or `image` in backends.json."
        )
    return f"Docker could not start the container: {words}."
