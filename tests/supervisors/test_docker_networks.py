"""Networks of the Docker engine: who reaches whom, and how networks come and go."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Network

import pytest
import trio

from supervisors.engines.protocol import EngineError, RunnerSpec
from tests.harness import docker
from tests.harness.docker import engine_client
from tests.supervisors.docker_setup import POOL, SLEEP, DockerRunners, silent

pytestmark = pytest.mark.docker
SMALL_POOL = IPv4Network("10.203.16.0/26")
"""Room for two networks."""


def subnets(instance: str) -> set[IPv4Network]:
    return {IPv4Network(n["IPAM"]["Config"][0]["Subnet"]) for n in docker.networks_of(instance)}


@contextmanager
def listening(host: str) -> Iterator[int]:
    """Greet everybody who connects to a port of this machine."""
    with socket.create_server((host, 0)) as server:

        def greet() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello")

        thread = threading.Thread(target=greet, name="greeter")
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


# -- Who reaches whom -------------------------------------------------------------------------------------


class Neighbours:
    """Two runners of Ann's and one of Bob's, all of which answer."""

    def __init__(self, runners: DockerRunners) -> None:
        self.runners = runners
        self.one = runners.make_spec("one")
        self.two = runners.make_spec("two")
        self.bobs = runners.make_spec("bobs", slug="bob")
        runners.left_running(self.one, self.two, self.bobs)

    def fetched(self, source: RunnerSpec, host: str, port: int = 8900) -> bool:
        """Tell whether a runner gets an answer from there."""
        url = f"http://{host}:{port}/health"
        code, _ = docker.execute(source.name, "curl", "-sf", "--noproxy", "*", "--max-time", "2", url)
        return code == 0

    def network(self, spec: RunnerSpec) -> dict[str, str]:
        """Return what a runner's own network is to it."""
        networks = self.runners.inspected(spec)["NetworkSettings"]["Networks"]
        found: dict[str, str] = networks[self.runners.network_name(spec.user_slug)]
        return found

    def address(self, spec: RunnerSpec) -> str:
        return self.network(spec)["IPAddress"]

    def port(self, spec: RunnerSpec) -> int:
        """Return where a runner is published on this machine."""
        return int(self.runners.inspected(spec)["Config"]["Labels"]["io.agent-stack.port"])


@pytest.fixture(scope="module")
def neighbours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neighbours]:
    runners = DockerRunners()
    with runners.installed(tmp_path_factory.mktemp("data")):
        yield Neighbours(runners)


def test_two_runners_of_one_user_reach_each_other_by_address_and_by_name(neighbours: Neighbours) -> None:
    assert neighbours.fetched(neighbours.one, neighbours.address(neighbours.two))
    assert neighbours.fetched(neighbours.two, neighbours.one.name)


def test_a_runner_does_not_reach_another_users_by_its_address(neighbours: Neighbours) -> None:
    assert neighbours.fetched(neighbours.bobs, neighbours.address(neighbours.bobs))
    assert not neighbours.fetched(neighbours.one, neighbours.address(neighbours.bobs))
    assert not neighbours.fetched(neighbours.bobs, neighbours.address(neighbours.one))


def test_a_runner_does_not_know_another_users_by_name(neighbours: Neighbours) -> None:
    code, _ = docker.execute(neighbours.one.name, "getent", "hosts", neighbours.bobs.name)
    assert code != 0
    assert docker.execute(neighbours.one.name, "getent", "hosts", neighbours.two.name)[0] == 0


def test_a_runner_does_not_reach_anothers_published_port_by_either_gateway(neighbours: Neighbours) -> None:
    for spec in (neighbours.one, neighbours.bobs):
        gateway = neighbours.network(spec)["Gateway"]
        assert not neighbours.fetched(neighbours.one, gateway, neighbours.port(neighbours.bobs))


def test_a_runner_does_not_reach_anothers_published_port_by_the_hosts_name(neighbours: Neighbours) -> None:
    assert not neighbours.fetched(neighbours.one, "host.docker.internal", neighbours.port(neighbours.bobs))


def test_a_runner_reaches_what_listens_for_it_on_the_host(neighbours: Neighbours) -> None:
    with listening("0.0.0.0") as port:
        assert neighbours.fetched(neighbours.one, "host.docker.internal", port)
        assert neighbours.fetched(neighbours.one, neighbours.network(neighbours.one)["Gateway"], port)


def test_a_runner_does_not_reach_what_listens_on_the_hosts_loopback_address(neighbours: Neighbours) -> None:
    with listening("127.0.0.1") as port:
        assert not neighbours.fetched(neighbours.one, "host.docker.internal", port)


def test_a_runner_has_a_way_to_the_outside(neighbours: Neighbours) -> None:
    (network,) = [n for n in docker.networks_of(neighbours.runners.instance) if n["Name"].endswith("-ann")]
    assert not network["Internal"]
    _, routes = docker.execute(neighbours.one.name, "cat", "/proc/net/route")
    assert "00000000" in [line.split()[1] for line in routes.splitlines()]


def test_every_user_has_addresses_of_their_own_from_the_pool(neighbours: Neighbours) -> None:
    found = subnets(neighbours.runners.instance)
    assert len(found) == 2
    assert all(s.subnet_of(POOL) for s in found)
    one, two = found
    assert not one.overlaps(two)


# -- How they come and go ---------------------------------------------------------------------------------


class TestNetworks(DockerRunners):
    """Networks of runners that need not even be started."""

    def spec(self, runner_id: str, slug: str = "ann") -> RunnerSpec:
        return self.make_spec(runner_id, slug=slug, command=SLEEP)

    def names(self) -> set[str]:
        return {n["Name"] for n in docker.networks_of(self.instance)}

    def foreign(self, subnet: str) -> None:
        """Make a network that is not ours, but goes with the test's."""
        from docker.types import IPAMConfig, IPAMPool

        ipam = IPAMConfig(pool_configs=[IPAMPool(subnet=subnet)])
        with engine_client() as client:
            client.networks.create(f"foreign-{self.instance}", ipam=ipam, labels={"test": self.instance})

    @pytest.fixture(autouse=True)
    def _foreigners(self, _own: None) -> Iterator[None]:
        yield
        docker.remove_labelled(self.instance, label="test")

    async def test_a_network_is_there_until_the_last_runner_of_its_user_leaves(self) -> None:
        engine = self.make_engine()
        async with self.created(engine, self.spec("r1")):
            async with self.created(engine, self.spec("r2")):
                await engine.stop("r1", 0)
                assert self.names() == {self.network_name()}
            assert self.names() == set()

    async def test_a_network_comes_back_with_the_next_runner(self) -> None:
        engine = self.make_engine()
        for number in range(2):
            async with self.created(engine, self.spec(f"r{number}")):
                assert self.names() == {self.network_name()}
            assert self.names() == set()

    async def test_runners_that_come_and_go_at_once_agree_on_their_network(self) -> None:
        engine = self.make_engine()

        async def come_and_go(number: int) -> None:
            async with self.created(engine, self.spec(f"r{number}", "bob" if number % 3 == 0 else "ann")):
                pass

        async with trio.open_nursery() as nursery:
            for number in range(9):
                nursery.start_soon(come_and_go, number)
        assert await engine.list() == []
        assert self.names() == set()

    async def test_a_network_that_an_earlier_router_made_is_used_and_removed(self) -> None:
        async with self.created(self.make_engine(), self.spec("r1")):
            again = self.make_engine()
            await again.list()
            async with self.created(again, self.spec("r2")):
                await again.stop("r1", 0)
                assert self.names() == {self.network_name()}
            assert self.names() == set()

    async def test_networks_that_an_earlier_router_left_behind_are_removed_at_the_first_look(self) -> None:
        one, two, three = self.make_engine(), self.make_engine(), self.make_engine()
        for engine, slug in ((one, "ann"), (two, "bob"), (two, "eve")):
            spec = self.spec(slug, slug)
            await engine.prepare(spec, silent)
            await engine.create(spec)
        for spec in (self.spec("ann"), self.spec("eve", "eve")):
            with engine_client() as client:  # As somebody does who clears up by hand.
                client.containers.get(spec.name).remove(force=True)
        assert len(self.names()) == 3
        (found,) = await three.list()
        assert found.runner_id == "bob"
        assert self.names() == {self.network_name("bob")}
        await three.stop("bob", 0)
        assert self.names() == set()

    async def test_networks_of_other_installations_are_left_alone(self) -> None:
        engine = self.make_engine()
        async with self.created(engine, self.spec("r1")):
            assert await self.make_engine(instance="another").list() == []
            assert self.names() == {self.network_name()}

    async def test_a_network_in_which_somebody_elses_container_is_stays(self) -> None:
        engine = self.make_engine()
        name = self.network_name()
        spec = self.spec("r1")
        async with self.created(engine, spec):
            with engine_client() as client:
                guest = client.containers.run(
                    spec.backend.image, list(SLEEP), network=name, labels={"test": self.instance}, detach=True
                )
        assert self.names() == {name}
        guest.remove(force=True)
        assert await engine.list() == []
        assert self.names() == set()

    async def test_a_network_that_somebody_removed_is_no_trouble(self) -> None:
        engine = self.make_engine()
        spec = self.spec("r1")
        async with self.created(engine, spec):
            with engine_client() as client:
                client.containers.get(spec.name).remove(force=True)
                client.networks.get(self.network_name()).remove()
        assert await engine.list() == []

    async def test_when_the_pool_is_used_up_it_is_said_which_setting_to_enlarge(self) -> None:
        engine = self.make_engine(network_pool=SMALL_POOL)
        async with self.created(engine, self.spec("r1", "u1")), self.created(engine, self.spec("r2", "u2")):
            assert subnets(self.instance) == set(SMALL_POOL.subnets(new_prefix=27))
            with pytest.raises(EngineError, match=r"network in 10\.203\.16\.0/26.*RUNNER_NETWORK_POOL"):
                async with self.created(engine, self.spec("r3", "u3")):
                    pass
            assert len(self.names()) == 2
        async with self.created(engine, self.spec("r3", "u3")):
            assert self.names() == {self.network_name("u3")}

    @pytest.mark.parametrize("subnet", ["10.203.16.0/27", "10.203.16.8/29"])
    async def test_addresses_that_somebody_else_has_are_passed_over(self, subnet: str) -> None:
        self.foreign(subnet)
        async with self.created(self.make_engine(network_pool=SMALL_POOL), self.spec("r1")):
            assert subnets(self.instance) == {IPv4Network("10.203.16.32/27")}

    async def test_a_pool_in_a_network_that_somebody_else_has_is_used_up(self) -> None:
        self.foreign("10.203.16.0/24")
        with pytest.raises(EngineError, match="RUNNER_NETWORK_POOL"):
            async with self.created(self.make_engine(network_pool=SMALL_POOL), self.spec("r1")):
                pass

    async def test_a_pool_smaller_than_one_network_is_told_of(self) -> None:
        pool = IPv4Network("10.203.16.0/28")
        with pytest.raises(EngineError, match="RUNNER_NETWORK_POOL"):
            async with self.created(self.make_engine(network_pool=pool), self.spec("r1")):
                pass
