"""What cannot work with the Docker engine is refused in words that say what to do, and leaves nothing behind."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from supervisors.engines.docker.engine import DockerEngine
from supervisors.engines.protocol import EngineAwayError, EngineError, RunnerSpec
from supervisors.ports import PortPool
from tests.harness import docker
from tests.harness.docker import engine_client
from tests.harness.engine_socket import EngineSocket
from tests.harness.fake_engine import NO_SPACE
from tests.harness.images import scripted_image
from tests.harness.ports import AGENTS_HOST
from tests.supervisors.docker_setup import SLEEP, UNCONNECTED, DockerRunners, silent
from tests.supervisors.engine_conformance import PATIENCE_SECONDS, until_answers

pytestmark = [pytest.mark.docker, UNCONNECTED]
NOWHERE = "127.0.0.1:1/nobody/nothing:1"
"""No registry listens there."""


@contextmanager
def listening(*ports: int) -> Iterator[None]:
    """Be the other program that has these ports."""
    with ExitStack() as held:
        for port in ports:
            held.enter_context(socket.create_server((AGENTS_HOST, port)))
        yield


class Refusals(DockerRunners):
    """How to be refused."""

    async def refusal(self, spec: RunnerSpec, engine: DockerEngine | None = None) -> str:
        """Return why a runner cannot be started; nothing is left of it then."""
        engine = engine or self.make_engine()
        with pytest.raises(EngineError) as error:
            async with self.started(engine, spec, answers=False):
                pass
        assert await engine.list() == []
        assert docker.networks_of(self.instance) == []
        return str(error.value)


class TestImages(Refusals):
    """Images that are not there."""

    async def test_an_image_that_cannot_be_pulled_is_named_with_the_reason_and_what_to_check(self) -> None:
        words = await self.refusal(self.make_spec("r1", image=NOWHERE))
        assert f"The image {NOWHERE} could not be pulled" in words
        assert "connection refused" in words
        assert "Check its name in backends.json" in words
        assert "docker login" in words
        assert "images build" not in words

    async def test_an_image_that_has_not_been_built_is_told_of_with_the_command_that_builds_it(self) -> None:
        build = {"folder": "demo", "image": "agent-stack-test-never-built:1"}
        words = await self.refusal(self.make_spec("r1", image=None, build=build))
        assert "agent-stack-test-never-built:1 of backend 'scripted' has not been built" in words
        assert "agentstack images build scripted" in words

    async def test_an_image_that_can_neither_be_pulled_nor_was_built_is_told_of_with_both_ways_out(self) -> None:
        build = {"folder": "demo", "image": "agent-stack-test-never-built:1"}
        words = await self.refusal(self.make_spec("r1", image=NOWHERE, build=build))
        assert "connection refused" in words
        assert words.endswith("Or build it here: agentstack images build scripted.")

    async def test_an_image_that_was_built_here_is_preferred_and_nothing_is_pulled(self) -> None:
        spec = self.make_spec("r1", image=NOWHERE, build={"folder": "demo", "image": scripted_image()})
        async with self.created(self.make_engine(), spec) as shown:
            assert shown["Config"]["Image"] == scripted_image()

    @pytest.mark.parametrize("image", ["UPPER/case:1", "a:b:c", "a@sha256:12"])
    async def test_what_is_no_name_of_an_image_is_told_of_with_where_to_mend_it(self, image: str) -> None:
        words = await self.refusal(self.make_spec("r1", image=image))
        assert image in words
        assert "backends.json" in words


class TestCommands(Refusals):
    """Programs that are not there."""

    async def ended(self, spec: RunnerSpec) -> str:
        """Return what is told of a runner that ends by itself."""
        engine = self.make_engine()
        async with self.started(engine, spec, answers=False):
            with trio.fail_after(PATIENCE_SECONDS):
                return f"{await engine.wait_exit(spec.runner_id)}. {await engine.logs(spec.runner_id, 5)}"

    async def test_a_command_that_is_not_in_the_image_is_named_with_what_to_mend(self) -> None:
        words = await self.ended(self.make_spec("r1", command=("nobody-installed-this",)))
        assert "its command was not found; mend `command` or `image`" in words
        assert "nobody-installed-this" in words

    async def test_an_entry_point_that_is_not_in_the_image_is_named(self) -> None:
        words = await self.ended(self.make_spec("r1", entrypoint=["/opt/nothing"]))
        assert "its command was not found" in words
        assert "/opt/nothing" in words

    async def test_a_command_that_is_no_program_is_named_with_what_to_mend(self) -> None:
        words = await self.ended(self.make_spec("r1", command=("/etc/passwd",)))
        assert "its command cannot be executed; mend `command`" in words
        assert "/etc/passwd" in words


class TestPorts(Refusals):
    """Ports that others have."""

    def pool(self, count: int) -> PortPool:
        return PortPool(self.port, self.port + count - 1, [AGENTS_HOST])

    async def test_a_port_that_is_taken_between_making_and_starting_is_exchanged_for_another(self) -> None:
        engine, spec = self.make_engine(), self.make_spec("r1")
        async with self.created(engine, spec) as shown:
            taken = int(shown["Config"]["Labels"]["io.agent-stack.port"])
            with listening(taken):
                endpoint = await engine.start(spec)
                assert endpoint.port != taken
                await until_answers(endpoint)
                (found,) = await self.make_engine().list()
                assert found.endpoint == endpoint

    async def test_every_other_port_is_tried_when_one_after_the_other_is_taken(self, tmp_path: Path) -> None:
        in_use = (500, {"message": "driver failed: listen tcp4 127.0.0.1:1: bind: address already in use"})
        with EngineSocket(tmp_path / "docker.sock") as relay:
            relay.answers["POST", "/containers/*/start"] = in_use
            words = await self.refusal(self.make_spec("r1"), self.make_engine(host=relay.url))
            assert relay.count("POST", "/containers/create") == 6
        assert f"The ports {self.port} to" in words
        assert "BACKEND_PORT_START and BACKEND_PORT_END" in words

    async def test_when_all_ports_are_used_it_is_said_which_settings_to_widen(self) -> None:
        engine = self.make_engine(ports=self.pool(1))
        async with self.created(engine, self.make_spec("r1")):
            with pytest.raises(EngineError, match=r"No free port between .*BACKEND_PORT_START\.\.BACKEND_PORT_END"):
                async with self.created(engine, self.make_spec("r2", slug="bob")):
                    pass

    async def test_when_the_last_port_is_taken_between_making_and_starting_that_is_told_too(self) -> None:
        engine, spec = self.make_engine(ports=self.pool(1)), self.make_spec("r1")
        async with self.created(engine, spec):
            with listening(self.port), pytest.raises(EngineError, match=r"BACKEND_PORT_START"):
                await engine.start(spec)

    async def test_a_port_is_free_again_when_its_runner_is_gone_or_was_refused(self) -> None:
        engine = self.make_engine(ports=self.pool(1))
        async with self.created(engine, self.make_spec("r1")):
            pass
        await self.refusal(self.make_spec("r2", extra_networks=["nobody-made-this"]), engine)
        async with self.started(engine, self.make_spec("r3")) as endpoint:
            assert endpoint.port == self.port


class TestNames(Refusals):
    """Names that others have."""

    @pytest.fixture
    def stranger(self) -> Iterator[Any]:
        """Return a container of somebody else's that has the name of our runner."""
        name = self.make_spec("r1").name
        with engine_client() as client:
            container = client.containers.create(scripted_image(), name=name, labels={"whose": "mine"})
            yield container
            container.remove(force=True)

    async def test_a_strangers_container_of_the_same_name_is_left_alone_and_told_of(self, stranger: Any) -> None:
        words = await self.refusal(self.make_spec("r1"))
        assert f"already a container named '{stranger.name}'" in words
        assert "left alone" in words
        assert "`container_prefix`" in words
        stranger.reload()
        assert stranger.labels["whose"] == "mine"

    async def test_a_container_of_another_installation_is_a_strangers(self) -> None:
        async with self.created(self.make_engine(), self.make_spec("r1")) as shown:
            other = self.make_engine(instance="f" * 16)
            with pytest.raises(EngineError, match="left alone"):
                async with self.created(other, self.make_spec("r1", slug="eve")):
                    pass
            assert self.inspected(self.make_spec("r1"))["Id"] == shown["Id"]

    async def test_what_we_left_behind_ourselves_under_that_name_is_replaced(self) -> None:
        left = self.make_spec("r1")
        async with self.started(self.make_engine(), left):
            before = self.inspected(left)["Id"]
            again, spec = self.make_engine(), replace(self.make_spec("r2"), name=left.name)
            async with self.started(again, spec):
                assert self.inspected(spec)["Id"] != before
                (found,) = await again.list()
                assert found.runner_id == "r2"


class TestTheRest(Refusals):
    """Mounts, networks, the disk, the daemon."""

    @pytest.mark.parametrize("source", ["", "/secrets", "/events.db"])
    async def test_the_log_and_the_secrets_are_never_mounted(self, source: str) -> None:
        mount = {"source": f"{self.folder}{source}", "target": "/stolen"}
        words = await self.refusal(self.make_spec("r1", mounts=[mount]))
        assert f"The folder {self.folder}{source} cannot be mounted" in words
        assert f"put it into {self.folder}/shared" in words

    async def test_a_folder_of_the_host_that_is_not_there_is_told_of_and_not_made(self, tmp_path: Path) -> None:
        (tmp_path / "elsewhere").mkdir()
        missing = tmp_path / "elsewhere" / "mistyped"
        engine = self.make_engine(data_root=tmp_path / "data")
        words = await self.refusal(self.make_spec("r1", mounts=[{"source": str(missing), "target": "/x"}]), engine)
        assert str(missing) in words
        assert not missing.exists()

    @pytest.mark.parametrize(
        ("fields", "named"),
        [
            ({"capabilities": ["MAGIC"]}, "MAGIC"),
            ({"extra_hosts": {"db": "nonsense"}}, "nonsense"),
        ],
    )
    async def test_what_docker_refuses_is_told_in_its_words(self, fields: dict[str, Any], named: str) -> None:
        words = await self.refusal(self.make_spec("r1", **fields))
        assert words.startswith("Docker refused: ") or "Docker could not start" in words
        assert named.lower() in words.lower()

    async def test_a_network_that_is_not_there_is_told_of_with_what_to_do(self) -> None:
        words = await self.refusal(self.make_spec("r1", extra_networks=["nobody-made-this"]))
        assert "`extra_networks`" in words
        assert "docker network create nobody-made-this" in words

    async def test_a_full_disk_is_told_of_and_the_next_start_works(self, tmp_path: Path) -> None:
        with EngineSocket(tmp_path / "docker.sock") as relay:
            engine = self.make_engine(host=relay.url)
            relay.answers["POST", "/containers/create"] = NO_SPACE
            assert "no space left on device" in await self.refusal(self.make_spec("r1"), engine)
            relay.answers.clear()
            async with self.started(engine, self.make_spec("r1")):
                pass

    async def test_a_daemon_that_goes_away_in_the_middle_of_a_start_is_told_of_and_nothing_stays(
        self, tmp_path: Path
    ) -> None:
        spec = self.make_spec("r1", command=SLEEP)
        with EngineSocket(tmp_path / "docker.sock") as relay:
            engine = self.make_engine(host=relay.url)
            await engine.prepare(spec, silent)
            await engine.create(spec)
            relay.cut()
            with pytest.raises(EngineAwayError, match="does not answer"):
                await engine.start(spec)
            for away in (engine.list, engine.check):
                with pytest.raises(EngineAwayError):
                    await away()
            with pytest.raises(EngineAwayError):
                await engine.stop("r1", 1)
            relay.restore()
            await engine.stop("r1", 1)
            assert await engine.list() == []
        assert docker.containers_of(self.instance) == []

    async def test_an_end_that_came_while_the_daemon_was_away_is_noticed_when_it_is_back(
        self, tmp_path: Path
    ) -> None:
        spec = self.make_spec("r1", command=SLEEP)
        with EngineSocket(tmp_path / "docker.sock") as relay:
            engine = self.make_engine(host=relay.url)
            async with self.started(engine, spec, answers=False), trio.open_nursery() as nursery:
                ended = trio.Event()

                async def wait() -> None:
                    assert (await engine.wait_exit("r1")).code == 137
                    ended.set()

                nursery.start_soon(wait)
                relay.cut()
                docker.kill(spec.name)
                while self.inspected(spec)["State"]["Running"]:
                    await trio.sleep(0.02)
                assert not ended.is_set()
                relay.restore()
                with trio.fail_after(PATIENCE_SECONDS):
                    await ended.wait()
