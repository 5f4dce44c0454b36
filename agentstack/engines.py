"""The engines, as the settings want them."""

import hashlib
import hmac
from dataclasses import dataclass

from agentstack.settings import Settings
from supervisors.engines.docker.container import HOST_NAME
from supervisors.engines.docker.engine import DockerEngine
from supervisors.engines.process import ProcessEngine
from supervisors.engines.protocol import PAGE_HOST, Engine
from supervisors.ports import PortPool


@dataclass(frozen=True, slots=True)
class Engines:
    """The engines there are."""

    process: ProcessEngine
    docker: DockerEngine

    def by_name(self) -> dict[str, Engine]:
        """Return the engines by the name under which backends ask for them."""
        return {engine.name: engine for engine in (self.process, self.docker)}


def make_engines(settings: Settings, secret: bytes) -> Engines:
    """Return the engines; none of them does anything before it is used. `secret` is the installation's."""
    folder = settings.stack_data_root.absolute()
    host = str(settings.backend_host)
    ports = PortPool(settings.backend_port_start, settings.backend_port_end, (host, PAGE_HOST))
    docker = DockerEngine(
        host=settings.docker_host,
        instance=hmac.new(secret, b"docker-label", hashlib.sha256).hexdigest()[:16],
        data_root=folder,
        host_root=settings.host_stack_root,
        ports=ports,
        agents_host=host,
        network_pool=settings.runner_network_pool,
        pull_seconds=settings.backend_pull_timeout,
    )
    return Engines(ProcessEngine(folder / "runners", ports, host), docker)


def callback_urls(settings: Settings) -> dict[str, str]:
    """Return where agents reach this server, by engine."""
    own = settings.agent_stack_callback_url
    return {
        ProcessEngine.name: own or settings.address,
        DockerEngine.name: own or f"http://{HOST_NAME}:{settings.router_port}",
    }
