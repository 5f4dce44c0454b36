"""What the tests of the Docker engine share: engines of one installation, and specifications for them."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import trio

from domain.backends.definition import Backend
from supervisors.engines.docker.engine import DockerEngine
from supervisors.engines.protocol import Endpoint, RunnerSpec
from supervisors.ports import PortPool
from tests.harness import docker
from tests.harness.engine_socket import engine_path
from tests.harness.images import scripted_image
from tests.harness.ports import AGENTS_HOST, free_port
from tests.supervisors.engine_conformance import until_answers

SOCKET = f"unix://{engine_path()}"
POOL = IPv4Network("10.203.0.0/20")
SLEEP = ("sleep", "600")
UNCONNECTED = pytest.mark.filterwarnings(
    r"ignore:unclosed <socket.socket fd=\d+, family=1, type=1, proto=0>:ResourceWarning"
)
"""docker-py lets go of a socket that could not be connected without closing it."""


async def nothing() -> None:
    """Do nothing when the engine is back."""


def silent(_done: float, _detail: str) -> None:
    """Hear nothing about progress."""


class DockerRunners:
    """An installation of its own for each test; whatever it leaves behind is removed."""

    @pytest.fixture(autouse=True)
    def _own(self, tmp_path: Path) -> Iterator[None]:
        with self.installed(tmp_path):
            yield

    @contextmanager
    def installed(self, folder: Path) -> Iterator[None]:
        """Be an installation with its data in a folder."""
        self.folder = folder
        self.port = free_port()
        self.instance = uuid4().hex[:16]
        try:
            yield
        finally:
            docker.remove_labelled(self.instance)

    def make_engine(self, last: int = 20, **changes: Any) -> DockerEngine:
        """Return an engine that is in touch with the daemon until the test ends."""
        options: dict[str, Any] = {
            "host": SOCKET,
            "instance": self.instance,
            "data_root": self.folder,
            "host_root": None,
            "ports": PortPool(self.port, self.port + last, [AGENTS_HOST]),
            "agents_host": AGENTS_HOST,
            "network_pool": POOL,
            "pull_seconds": 60,
        }
        engine = DockerEngine(**{**options, **changes})
        trio.lowlevel.spawn_system_task(engine.run, nothing)
        return engine

    def make_spec(
        self,
        runner_id: str,
        *,
        command: tuple[str, ...] | None = None,
        grace: float = 2,
        slug: str = "ann",
        env: dict[str, str] | None = None,
        **changes: Any,
    ) -> RunnerSpec:
        """Return what a runner is made from; `changes` are keys of its backend."""
        home = self.folder / "users" / slug / f"home-{runner_id}"
        home.mkdir(parents=True, exist_ok=True)
        home.chmod(0o777)
        declared = {
            "name": "scripted",
            "display_name": "Scripted",
            "image": scripted_image(),
            "port": 8900,
            "stop_grace_seconds": grace,
            **changes,
        }
        given = {"SCRIPTED_PORT": "{port}", "SCRIPTED_KEY": "key", "SCRIPTED_FOLDER": "/home/agent"}
        return RunnerSpec(
            runner_id=runner_id,
            agent_id=f"agent-{runner_id}",
            user_id=f"user-{slug}",
            user_slug=slug,
            backend=Backend.model_validate(declared),
            name=f"scripted-{self.instance}-{runner_id}".replace(" ", "-"),
            command=command or (),
            home=home,
            spec_hash="hash",
            env={**given, **(env or {})},
        )

    @asynccontextmanager
    async def created(self, engine: DockerEngine, spec: RunnerSpec) -> AsyncIterator[dict[str, Any]]:
        """Make a runner without starting it, and yield what `docker inspect` shows of it."""
        await engine.prepare(spec, silent)
        try:
            await engine.create(spec)
            yield self.inspected(spec)
        finally:
            with trio.CancelScope(shield=True):
                await engine.stop(spec.runner_id, spec.backend.stop_grace_seconds)

    @asynccontextmanager
    async def started(
        self, engine: DockerEngine, spec: RunnerSpec, *, answers: bool = True
    ) -> AsyncIterator[Endpoint]:
        """Run a runner until it answers or, if it is none that answers, has been started."""
        async with self.created(engine, spec):
            endpoint = await engine.start(spec)
            if answers:
                await until_answers(endpoint)
            yield endpoint

    def left_running(self, *specs: RunnerSpec) -> None:
        """Start runners that answer and go away, as a router does that is restarted."""

        async def start() -> None:
            engine = self.make_engine()
            for spec in specs:
                await engine.prepare(spec, silent)
                await engine.create(spec)
                await until_answers(await engine.start(spec))

        trio.run(start)

    def inspected(self, spec: RunnerSpec) -> dict[str, Any]:
        """Return what `docker inspect` shows of a runner."""
        found = docker.inspect(spec.name)
        assert found, f"there is no container {spec.name}"
        return found

    def network_name(self, slug: str = "ann") -> str:
        """Return the name of a user's network."""
        return f"agent-stack-{self.instance[:8]}-{slug}"
