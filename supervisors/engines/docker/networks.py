"""A bridge network for each user: their agents reach each other and the outside, nobody else's."""

from collections.abc import Callable, Iterator
from ipaddress import IPv4Network

import trio

from supervisors.engines.docker.container import LABEL
from supervisors.engines.docker.daemon import Daemon, MissingError, RefusedError
from supervisors.engines.protocol import EngineError, RunnerSpec

PREFIX_LENGTH = 27
"""Thirty addresses: more than one user's runners."""
_FORBIDDEN = 403


class UserNetworks:
    """Makes networks when the first runner of a user needs one, and removes them after the last.

    Subnets are cut from `pool`, since Docker's own pools have room for about thirty networks only.
    """

    def __init__(self, daemon: Daemon, instance: str, pool: IPv4Network) -> None:
        self._daemon = daemon
        self._instance = instance
        self._pool = pool
        self._users: dict[str, set[str]] = {}
        self._lock = trio.Lock()
        """Held for a few milliseconds while networks are made or removed, never while a container starts."""

    async def join(self, spec: RunnerSpec) -> str:
        """Return the network of a runner's user, which exists until the runner leaves it."""
        name = self.name(spec.user_slug)
        async with self._lock:
            self._users.setdefault(name, set()).add(spec.runner_id)
            try:
                await self._daemon.call(lambda client: client.inspect_network(name))
            except MissingError:
                await self._create(name, spec.user_id)
        return name

    def note(self, name: str, runner_id: str) -> None:
        """Count a runner that an earlier router started."""
        self._users.setdefault(name, set()).add(runner_id)

    async def leave(self, runner_id: str) -> None:
        """Forget a runner, and remove its user's network when it was the last one there."""
        async with self._lock:
            for name, members in list(self._users.items()):
                members.discard(runner_id)
                if not members:
                    del self._users[name]
                    await self._remove(name)

    async def tidy(self) -> None:
        """Remove every network of this installation that no runner uses."""

        def ours(client: object) -> list[str]:
            networks = client.networks(filters={"label": f"{LABEL}instance={self._instance}"})  # type: ignore[attr-defined]
            return [network["Name"] for network in networks]

        async with self._lock:
            for name in await self._daemon.call(ours):
                if name not in self._users:
                    await self._remove(name)

    def name(self, slug: str) -> str:
        """Return the name of a user's network."""
        return f"agent-stack-{self._instance[:8]}-{slug}"

    async def _remove(self, name: str) -> None:
        try:
            await self._daemon.call(lambda client: client.remove_network(name))
        except MissingError:
            pass
        except RefusedError as error:
            if error.status != _FORBIDDEN:  # Somebody else's container is in it: then it stays.
                raise

    async def _create(self, name: str, user_id: str) -> None:
        labels = {LABEL + "instance": self._instance, LABEL + "user": user_id}
        for subnet in await self._free_subnets():
            try:
                await self._daemon.call(_make(name, subnet, labels))
            except RefusedError as error:
                # Something on the host has these addresses, though Docker's list did not show it.
                if "overlap" not in error.words.lower():
                    raise
            else:
                return
        raise EngineError(
            f"No free addresses for another user's network in {self._pool}. "
            "Set RUNNER_NETWORK_POOL to a larger range that nothing else uses."
        )

    async def _free_subnets(self) -> Iterator[IPv4Network]:
        if self._pool.prefixlen > PREFIX_LENGTH:
            raise EngineError(
                f"RUNNER_NETWORK_POOL={self._pool} has no room for a network: it needs /{PREFIX_LENGTH} or wider."
            )
        networks = await self._daemon.call(lambda client: client.networks())
        taken = [
            IPv4Network(config["Subnet"], strict=False)
            for network in networks
            for config in (network.get("IPAM") or {}).get("Config") or []
            if ":" not in config.get("Subnet", ":")
        ]
        return (s for s in self._pool.subnets(new_prefix=PREFIX_LENGTH) if not any(s.overlaps(t) for t in taken))


def _make(name: str, subnet: IPv4Network, labels: dict[str, str]) -> Callable[[object], object]:
    def make(client: object) -> object:
        import docker.types  # noqa: PLC0415

        ipam = docker.types.IPAMConfig(pool_configs=[docker.types.IPAMPool(subnet=str(subnet))])
        return client.create_network(name, driver="bridge", ipam=ipam, labels=labels, check_duplicate=True)  # type: ignore[attr-defined]

    return make
