"""The composition root: makes every part, starts them in order and stops them in reverse."""

import gc
import hashlib
import hmac
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import httpx
import structlog
import trio
from prometheus_client import REGISTRY

from agentstack.settings import Settings, kept_secret
from domain.backends.registry import Backends, BackendsFileError, parse_backends
from domain.catalogue import EVENT_TYPES
from eventlog.codec import EventMapper
from eventlog.envelope import Origin, Recorded
from eventlog.log import open_log
from projections.views import open_views
from supervisors.broadcasts import Broadcasts
from supervisors.commands.accounts import Accounts
from supervisors.commands.agents import AgentCommands
from supervisors.commands.conversations import ConversationCommands
from supervisors.engines.docker.container import HOST_NAME
from supervisors.engines.docker.engine import DockerEngine
from supervisors.engines.docker.prepull import Prepull
from supervisors.engines.process import ProcessEngine
from supervisors.engines.protocol import Engine
from supervisors.homes.home import Homes
from supervisors.ports import PortPool
from supervisors.runners.gate import StartGate
from supervisors.runners.house import House
from supervisors.runners.identity import RunnerMaker
from supervisors.runners.pool import RunnerPool
from supervisors.signals import Signals
from supervisors.turns.turns import Turns
from web.app import make_app
from web.asgi import Front
from web.auth.guard import Guard
from web.openai.proxy import OpenAISurface
from web.operations.metrics import StackCollector
from web.server import serve_http
from web.services import SHUTDOWN, Lifecycle, Services, WebSettings

_ROOT = Path(__file__).resolve().parent.parent
SEEDS, IMAGES = _ROOT / "seeds", _ROOT / "images"
GIL_SWITCH_SECONDS = 0.0005
"""The writer thread gets its turn ten times sooner than by default, which halves the latency of an append."""
_CUT_SECONDS = 3.0
"""How long proxied streams have to say goodbye once they are cut."""

_logger = structlog.get_logger("agentstack")


def backends_path(settings: Settings) -> Path:
    """Return the file in which the backends are declared."""
    return settings.backends_config_path or SEEDS / "backends.json"


def build_folders(settings: Settings) -> tuple[Path, ...]:
    """Return where the Dockerfiles of agents are: beside the admin's own declaration, then ours."""
    return (backends_path(settings).absolute().parent / "images", IMAGES)


def load_backends(settings: Settings) -> Backends:
    """Read the declared backends. Raises BackendsFileError."""
    return read_backends(backends_path(settings))


def read_backends(path: Path) -> Backends:
    """Read a backends file. Raises BackendsFileError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BackendsFileError(f"{path}: cannot be read: {error}. Check BACKENDS_CONFIG_PATH.") from None
    return parse_backends(text, str(path))


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
    ports = PortPool(settings.backend_port_start, settings.backend_port_end)
    docker = DockerEngine(
        host=settings.docker_host,
        instance=hmac.new(secret, b"docker-label", hashlib.sha256).hexdigest()[:16],
        data_root=folder,
        host_root=settings.host_stack_root,
        ports=ports,
        network_pool=settings.runner_network_pool,
        pull_seconds=settings.backend_pull_timeout,
    )
    return Engines(ProcessEngine(folder / "runners", ports), docker)


def callback_urls(settings: Settings) -> dict[str, str]:
    """Return where agents reach this server, by engine."""
    own = settings.agent_stack_callback_url
    return {
        ProcessEngine.name: own or settings.address,
        DockerEngine.name: own or f"http://{HOST_NAME}:{settings.router_port}",
    }


def prepare_folder(settings: Settings) -> Path:
    """Make the data folder, readable by nobody else, and return its absolute path."""
    folder = settings.stack_data_root.absolute()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid == os.getuid():
        folder.chmod(0o700)  # Docker makes a missing folder readable by everybody.
    return folder


@dataclass(frozen=True, slots=True)
class Stack:
    """A whole agent-stack, but for the listening socket."""

    settings: Settings
    services: Services
    guard: Guard
    openai: OpenAISurface
    prepull: Prepull

    def front(self) -> Front:
        """Return the ASGI application."""
        return Front(make_app(self.services, self.guard), self.openai)

    async def close_down(self) -> None:
        """End what runs, gracefully: event streams at once, turns after their grace, proxied streams then."""
        lifecycle = self.services.lifecycle
        lifecycle.closing.set()
        self.services.signals.notify(SHUTDOWN)
        _logger.info("shutting_down", turns=self.services.turns.statistics()["running"])
        grace = self.settings.shutdown_grace_seconds
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.services.turns.aclose, grace)
                with trio.move_on_after(grace):
                    await self.openai.quiet()
            lifecycle.cut.set()


@asynccontextmanager
async def open_stack(settings: Settings) -> AsyncIterator[Stack]:
    """Put everything together on the data folder, and take it apart again afterwards.

    Raises the errors of the log (`eventlog.errors`), SettingsError and BackendsFileError.
    """
    folder = prepare_folder(settings)
    backends = load_backends(settings)
    instance_secret = kept_secret(folder, "instance").encode()
    engines = make_engines(settings, instance_secret)
    jwt_secret = settings.jwt_secret or kept_secret(folder, "jwt")
    signals = Signals()
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=50)
    async with (
        open_log(folder, EventMapper(EVENT_TYPES)) as log,
        open_views(folder, log) as views,
        httpx.AsyncClient(trust_env=False, follow_redirects=False, limits=limits) as client,
        trio.open_nursery() as nursery,
    ):
        log.listen(partial(_wake_conversations, signals))
        house = House(
            log=log,
            views=views,
            backends=backends,
            engines=engines.by_name(),
            maker=RunnerMaker(data_root=folder, secret=instance_secret, callback_urls=callback_urls(settings)),
            homes=Homes(backends_path(settings).absolute().parent),
            gate=StartGate(settings.max_parallel_starts),
            client=client,
            signals=signals,
            startup_timeout=settings.backend_startup_timeout,
            default_idle=settings.default_idle_seconds,
            least_idle=settings.min_idle_seconds,
            most_idle=settings.max_idle_seconds,
        )
        conversations = ConversationCommands(log, views)
        prepull = Prepull(engines.docker.images)
        pool = RunnerPool(house, nursery)
        web_settings = WebSettings(
            jwt_secret=jwt_secret,
            jwt_seconds=settings.jwt_ttl_seconds,
            cookie_name=settings.cookie_name,
            cookie_secure=settings.cookie_secure,
            allow_signup=settings.allow_signup,
            invite_code=settings.invite_code,
            operator_key=kept_secret(folder, "operator"),
            max_agents=settings.max_agents_per_backend,
            max_body=settings.max_body_mib * 1024 * 1024,
        )
        services = Services(
            settings=web_settings,
            log=log,
            views=views,
            backends=backends,
            pool=pool,
            turns=Turns(pool, conversations, nursery),
            accounts=Accounts(log, views, instance_secret, session_seconds=settings.jwt_ttl_seconds),
            agents=AgentCommands(log, views, most=settings.max_agents_per_backend),
            conversations=conversations,
            signals=signals,
            broadcasts=Broadcasts(signals.notify),
            lifecycle=Lifecycle(),
            prepull=prepull.status,
        )
        guard = Guard(web_settings, views)
        stack = Stack(settings, services, guard, OpenAISurface(services, guard), prepull)
        collector = StackCollector(services, stack.openai.statistics)
        REGISTRY.register(collector)
        try:
            yield stack
        finally:
            REGISTRY.unregister(collector)
            with trio.CancelScope(shield=True):
                await stack.openai.aclose()
                await pool.aclose(stop_runners=settings.stop_runners_on_exit)
            nursery.cancel_scope.cancel()


async def first_admin(stack: Stack) -> str:
    """Make the admin that the settings ask for, or a one-time token for making one. Returns the token or ""."""
    settings, services = stack.settings, stack.services
    if services.views.users.admin():
        return ""
    if settings.bootstrap_admin_email:
        await services.accounts.register(
            email=settings.bootstrap_admin_email,
            password=settings.bootstrap_admin_password,
            name=settings.bootstrap_admin_name,
            role="admin",
            origin=Origin("system", "bootstrap"),
        )
        return ""
    services.lifecycle.setup_token = secrets.token_urlsafe(24)
    return services.lifecycle.setup_token


async def serve(settings: Settings) -> None:
    """Run the server until it is told to stop (SIGTERM or SIGINT)."""
    sys.setswitchinterval(GIL_SWITCH_SECONDS)
    for notice in settings.notices:
        _logger.warning("notice", text=notice)
    # Around everything: a second signal must not end the process while it is closing its files.
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with open_stack(settings) as stack:
            await _serve_stack(stack, signals)


async def _serve_stack(stack: Stack, signals: AsyncIterator[int]) -> None:
    await stack.services.turns.close_interrupted()
    await stack.services.pool.begin()
    token = await first_admin(stack)
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_stop_on_signal, signals, stop)
        await nursery.start(
            partial(
                _serve_then_close_down,
                stack,
                nursery.cancel_scope,
                host=stack.settings.router_bind_host,
                port=stack.settings.router_port,
                graceful_seconds=stack.settings.shutdown_grace_seconds + _CUT_SECONDS,
                shutdown=stop.wait,
            )
        )
        stack.services.lifecycle.ready = True
        if stack.settings.backend_prepull_at_startup:
            for backend in stack.services.backends:
                if backend.engine == DockerEngine.name and not backend.disabled:
                    nursery.start_soon(stack.prepull.fetch, backend)
        gc.freeze()  # What is there by now stays: the collector need not look at it again and again.
        nursery.start_soon(_close_down_when, stack, stop)
        _announce(stack.settings, token)


async def _serve_then_close_down(
    stack: Stack, everything: trio.CancelScope, *, task_status: trio.TaskStatus[Any], **options: Any
) -> None:
    await serve_http(stack.front(), task_status=task_status, **options)
    everything.cancel()


async def _close_down_when(stack: Stack, stop: trio.Event) -> None:
    await stop.wait()
    await stack.close_down()


async def _stop_on_signal(signals: AsyncIterator[int], stop: trio.Event) -> None:
    async for _ in signals:
        stop.set()


def _wake_conversations(signals: Signals, records: Sequence[Recorded[Any]]) -> None:
    for stream in {r.stream for r in records}:
        kind, _, id_ = stream.partition(":")
        if kind == "conversation":
            signals.notify(id_)


def _announce(settings: Settings, token: str) -> None:
    """Tell a person where to go. On standard output, which nothing else uses."""
    click.echo(f"agent-stack is running at {settings.address}")
    if token:
        click.echo(f"Create the admin account (this link works once): {settings.address}/#/setup?token={token}")
    sys.stdout.flush()
