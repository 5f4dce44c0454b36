"""The composition root: makes every part, starts them in order and stops them in reverse."""

import gc
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
import structlog
import trio
from prometheus_client import REGISTRY

from agentstack.agreement import open_agreed
from agentstack.backups.schedule import keep_backups
from agentstack.checkpoints import signer
from agentstack.declaration import backends_path, load_backends
from agentstack.descriptors import client_connections
from agentstack.engines import callback_urls, make_engines
from agentstack.limits import limits_of
from agentstack.settings import Settings, kept_secret
from agentstack.vaults import open_own_vault
from agentstack.web_settings import web_settings
from domain.catalogue import EVENT_TYPES
from domain.errors import Conflict
from domain.sessions.events import SessionOpened, SessionRevoked
from eventlog.codec import EventMapper
from eventlog.envelope import Origin, Recorded
from eventlog.errors import ReadOnlyError
from eventlog.log import EventLog, open_log
from eventlog.read_only import open_read_only
from eventlog.vault import Vault
from projections.rebuilding import Rebuilder
from projections.search import Search
from supervisors.admission import Admission
from supervisors.allowance import Allowance
from supervisors.broadcasts import Broadcasts
from supervisors.commands.accounts import Accounts
from supervisors.commands.agents import AgentCommands
from supervisors.commands.conversations import ConversationCommands
from supervisors.commands.deletion import Deletion
from supervisors.commands.invites import Invites
from supervisors.commands.keys import Keys
from supervisors.commands.tokens import Tokens
from supervisors.disk import Disk
from supervisors.engines.docker.engine import DockerEngine
from supervisors.engines.docker.prepull import Prepull
from supervisors.homes.home import Homes
from supervisors.homes.sizes import HomeSizes
from supervisors.quota import Quota
from supervisors.runners.gate import StartGate
from supervisors.runners.house import House
from supervisors.runners.identity import RunnerMaker
from supervisors.runners.pool import RunnerPool
from supervisors.runners.room import Room
from supervisors.signals import Signals
from supervisors.turns.turns import Turns
from supervisors.usage import UsageMeter
from supervisors.wire.client import make_client
from supervisors.wire.transit import Transit
from web.app import make_app
from web.asgi import Front
from web.auth.guard import Guard
from web.openai.proxy import OpenAISurface
from web.operations.metrics import StackCollector
from web.server import serve_http
from web.services import COMMITS, SHUTDOWN, Lifecycle, Services

GIL_SWITCH_SECONDS = 0.0005
"""The writer thread gets its turn ten times sooner than by default, which halves the latency of an append."""
_CUT_SECONDS = 3.0
"""How long proxied streams have to say goodbye once they are cut."""

_logger = structlog.get_logger("agentstack")


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
    vault: Vault
    guard: Guard
    openai: OpenAISurface
    prepull: Prepull
    sizes: HomeSizes

    def front(self) -> Front:
        """Return the ASGI application."""
        services = self.services
        return Front(make_app(services, self.guard), self.openai, services.settings, services.transit)

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
async def open_stack(settings: Settings, *, read_only: bool = False) -> AsyncIterator[Stack]:
    """Put everything together on the data folder, and take it apart again afterwards.

    With `read_only` nothing is appended, started or stopped. Raises the errors of the log (`eventlog.errors`),
    SettingsError and BackendsFileError.
    """
    folder = prepare_folder(settings)
    backends = load_backends(settings)
    instance_secret = kept_secret(folder, "instance").encode()
    engines = make_engines(settings, instance_secret)
    shown = web_settings(settings, folder, read_only=read_only)
    signals = Signals()
    vault = await trio.to_thread.run_sync(open_own_vault, settings, folder)
    async with (
        _closing(vault),
        _open_log(folder, EventMapper(EVENT_TYPES, vault), read_only=read_only) as log,
        open_agreed(vault, log, folder, read_only=read_only) as views,
        make_client() as client,
        trio.open_nursery() as nursery,
    ):
        log.listen(partial(_wake_watchers, signals))
        sizes = HomeSizes(folder / "users", views)
        allowance = Allowance(views, sizes, limits_of(settings))
        house = House(
            log=log,
            views=views,
            backends=backends,
            engines=engines.by_name(),
            maker=RunnerMaker(
                views=views,
                data_root=folder,
                secret=instance_secret,
                callback_urls=callback_urls(settings),
                agents_host=str(settings.backend_host),
            ),
            homes=Homes(backends_path(settings).absolute().parent),
            gate=StartGate(settings.max_parallel_starts),
            room=Room(most=settings.max_runners, most_per_user=settings.max_runners_per_user),
            allowance=allowance,
            client=client,
            signals=signals,
            startup_timeout=settings.backend_startup_timeout,
            default_idle=settings.default_idle_seconds,
            least_idle=settings.min_idle_seconds,
            most_idle=settings.max_idle_seconds,
        )
        conversations = ConversationCommands(log, views, allowance)
        search = Search(views, conversations.state)
        log.listen(search.follow)
        nursery.start_soon(search.keep_small)
        prepull = Prepull(engines.docker.images)
        pool = RunnerPool(house, nursery)
        usage = UsageMeter(log, views)
        admission = Admission(
            usage, allowance, per_minute=settings.requests_per_minute, at_once=settings.answers_at_once
        )
        transit = Transit(settings.transit_mib << 20, settings.transit_mib_per_user << 20)
        quota = Quota(mib_per_minute=settings.text_mib_per_minute, posts_per_minute=settings.agent_posts_per_minute)
        turns = Turns(pool, conversations, nursery, admission=admission, transit=transit, quota=quota, usage=usage)
        accounts = Accounts(log, views, vault, instance_secret, session_seconds=settings.jwt_ttl_seconds)
        broadcasts = Broadcasts(signals.notify)
        deletion = Deletion(
            log=log,
            views=views,
            vault=vault,
            accounts=accounts,
            pool=pool,
            turns=turns,
            broadcasts=broadcasts,
            usage=usage,
            users=folder / "users",
        )
        services = Services(
            settings=shown,
            log=log,
            views=views,
            backends=backends,
            pool=pool,
            turns=turns,
            allowance=allowance,
            admission=admission,
            transit=transit,
            quota=quota,
            usage=usage,
            accounts=accounts,
            tokens=Tokens(log, views),
            invites=Invites(log, views),
            keys=Keys(log, views, backends, pool),
            deletion=deletion,
            search=search,
            rebuilder=Rebuilder(log, views, nursery),
            signer=await trio.to_thread.run_sync(signer, folder, log.reader),
            disk=Disk(folder),
            agents=AgentCommands(log, views, most=settings.max_agents_per_backend),
            conversations=conversations,
            signals=signals,
            broadcasts=broadcasts,
            lifecycle=Lifecycle(),
            prepull=prepull.status,
        )
        guard = Guard(shown, views, usage, deletion.leaving)
        log.listen(guard.look_again)
        if read_only:
            pool.refuse(str(ReadOnlyError()).capitalize() + ".", code="read_only")
        stack = Stack(settings, services, vault, guard, OpenAISurface(services, guard), prepull, sizes)
        collector = StackCollector(services, stack.openai.statistics)
        REGISTRY.register(collector)
        if views.unreadable.is_postponed and not read_only:
            services.rebuilder.start(views.unreadable.name)
        try:
            yield stack
        finally:
            REGISTRY.unregister(collector)
            search.close()
            with trio.CancelScope(shield=True):
                await stack.openai.aclose()
                if not read_only:
                    await pool.aclose(stop_runners=settings.stop_runners_on_exit)
                    await usage.flush()
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def _closing(vault: Vault) -> AsyncIterator[None]:
    try:
        yield
    finally:
        vault.close()


@asynccontextmanager
async def _open_log(folder: Path, mapper: EventMapper, *, read_only: bool) -> AsyncIterator[EventLog]:
    opened = open_read_only(folder, mapper, _is_sign_in) if read_only else open_log(folder, mapper)
    async with opened as log:
        yield log


def _is_sign_in(event: object) -> bool:
    return isinstance(event, SessionOpened | SessionRevoked)


async def first_admin(stack: Stack) -> str:
    """Make the admin that the settings ask for, or a one-time token for making one. Returns the token or ""."""
    settings, services = stack.settings, stack.services
    if services.views.users.admin():
        return ""
    if settings.bootstrap_admin_email:
        try:
            await services.accounts.register(
                email=settings.bootstrap_admin_email,
                password=settings.bootstrap_admin_password,
                name=settings.bootstrap_admin_name,
                role="admin",
                origin=Origin("system", "bootstrap"),
            )
        except Conflict as error:  # The log knows one whom the read models do not.
            _logger.error("admin_not_created", problem=error.message)  # noqa: TRY400 - expected
        return ""
    services.lifecycle.setup_token = secrets.token_urlsafe(24)
    return services.lifecycle.setup_token


async def serve(settings: Settings, *, read_only: bool = False) -> None:
    """Run the server until it is told to stop (SIGTERM or SIGINT)."""
    sys.setswitchinterval(GIL_SWITCH_SECONDS)
    for notice in settings.notices:
        _logger.warning("notice", text=notice)
    # Around everything: a second signal must not end the process while it is closing its files.
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with open_stack(settings, read_only=read_only) as stack:
            await _serve_stack(stack, signals, read_only=read_only)


async def _serve_stack(stack: Stack, signals: AsyncIterator[int], *, read_only: bool) -> None:
    token = ""
    if not read_only:
        await stack.services.turns.close_interrupted()
        await stack.services.pool.begin()
        await stack.services.deletion.finish_interrupted()
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
                connections=client_connections(stack.settings),
                shutdown=stop.wait,
            )
        )
        stack.services.lifecycle.ready = True
        gc.freeze()  # What is there by now stays: the collector need not look at it again and again.
        nursery.start_soon(_close_down_when, stack, stop)
        if not read_only:
            _start_housekeeping(stack, nursery)
        _announce(stack.settings, token)


def _start_housekeeping(stack: Stack, nursery: trio.Nursery) -> None:
    nursery.start_soon(stack.services.usage.run)
    nursery.start_soon(stack.sizes.run, stack.services.pool.stop_over_allowance)
    nursery.start_soon(keep_backups, stack.settings)
    if stack.settings.backend_prepull_at_startup:
        for backend in stack.services.backends:
            if backend.engine == DockerEngine.name and not backend.disabled:
                nursery.start_soon(stack.prepull.fetch, backend)


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


def _wake_watchers(signals: Signals, records: Sequence[Recorded[Any]]) -> None:
    signals.notify(COMMITS)
    for stream in {r.stream for r in records}:
        kind, _, id_ = stream.partition(":")
        if kind == "conversation":
            signals.notify(id_)


def _announce(settings: Settings, token: str) -> None:
    """Tell a person where to go. On standard output, which nothing else uses."""
    page = settings.public_origin or settings.address
    click.echo(
        f"agent-stack is running at {settings.address}" + (f", for {page}" if page != settings.address else "")
    )
    if token:
        click.echo(f"Create the admin account (this link works once): {page}/#/setup?token={token}")
    sys.stdout.flush()
