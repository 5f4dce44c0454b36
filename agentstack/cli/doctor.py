"""`agentstack doctor`: what would keep agent-stack from running here, and how to mend it."""

import os
import shutil
import socket
import sqlite3
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import trio
from rich.table import Table

from agentstack.cli.folder import console, open_reader
from agentstack.declaration import backends_path, load_backends
from agentstack.engines import make_engines
from agentstack.root import prepare_folder
from agentstack.settings import Settings, SettingsError, load_settings
from agentstack.vaults import open_own_vault
from domain.backends.definition import Backend
from domain.backends.registry import BackendsFileError
from eventlog.errors import DataFolderInUseError, EventLogError
from eventlog.folder import FolderLock, refuse_network_file_system
from eventlog.log import FILE_NAME
from projections.unreadable import UnreadableEvents
from projections.views import find_unreadable
from supervisors.engines.docker.engine import DockerEngine
from supervisors.engines.docker.images import names_of
from supervisors.engines.protocol import EngineError, names_host
from supervisors.runners.start import SAY_HOST

_LEAST_FREE = 1 << 30


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `mend` says what to do when it is not well."""

    subject: str
    well: bool
    text: str
    mend: str = ""


@click.command()
def doctor() -> None:
    """Check settings, data folder, engines, images and ports, and say how to mend each."""
    found = list(findings())
    table = Table("", "what", "found", "how to mend it")
    for finding in found:
        mark = "[green]ok[/]" if finding.well else "[red]no[/]"
        table.add_row(mark, finding.subject, finding.text, finding.mend)
    console.print(table)
    bad = sum(not f.well for f in found)
    console.print("All is well." if not bad else f"{bad} thing(s) to mend.")
    sys.exit(1 if bad else 0)


def findings() -> Iterator[Finding]:
    """Look at everything, one thing after the other."""
    try:
        settings = load_settings()
    except SettingsError as error:
        yield Finding("settings", well=False, text=str(error), mend="Correct the variables named here.")
        return
    yield Finding("settings", well=True, text="; ".join(settings.notices) or "readable, nothing odd")
    checks: list[Callable[[Settings], Iterator[Finding]]] = [_folder, _engines, _ports]
    for check in checks:
        yield from check(settings)


def _folder(settings: Settings) -> Iterator[Finding]:
    try:
        folder = prepare_folder(settings)
        refuse_network_file_system(folder)
        if not os.access(folder, os.W_OK):
            raise PermissionError(13, "not writable", str(folder))
    except (OSError, EventLogError) as error:
        yield Finding(
            "data folder", well=False, text=str(error), mend="Set STACK_DATA_ROOT to a local, writable folder."
        )
        return
    running = False
    try:
        FolderLock(folder).close()
    except DataFolderInUseError:
        running = True
    yield Finding("data folder", well=True, text=f"{folder}" + (", in use by a running server" if running else ""))
    if (folder / FILE_NAME).exists():
        yield from _log(settings, folder)
    free = shutil.disk_usage(folder).free
    yield Finding(
        "disk space",
        well=free > _LEAST_FREE,
        text=f"{free / 1e9:.1f} GB free",
        mend="" if free > _LEAST_FREE else "Free some space: conversations cannot be saved on a full disk.",
    )


def _log(settings: Settings, folder: Path) -> Iterator[Finding]:
    try:
        vault = open_own_vault(settings, folder, shared=True)
    except (EventLogError, SettingsError) as error:
        yield Finding("vault", well=False, text="cannot be opened", mend=str(error))
        return
    yield Finding("vault", well=True, text=f"opens, with the keys of {len(vault.owners)} users")
    reader = open_reader(folder, vault)
    try:
        reader.refuse_newer()
        yield _events(find_unreadable(folder, reader), reader.head().position)
    except (EventLogError, sqlite3.Error) as error:
        yield Finding("event log", well=False, text="cannot be read", mend=str(error))
    finally:
        reader.close()
        vault.close()


def _events(unreadable: UnreadableEvents, head: int) -> Finding:
    if not unreadable.count:
        return Finding("event log", well=True, text=f"{head} events; all that matter today can be read")
    mend = "See the troubleshooting table of docs/operations.md for what each means and what ends this notice."
    return Finding("event log", well=False, text=unreadable.summary, mend=mend)


def _engines(settings: Settings) -> Iterator[Finding]:
    try:
        backends = load_backends(settings)
    except BackendsFileError as error:
        yield Finding(
            "backends", well=False, text=str(error), mend="Correct the file, or unset BACKENDS_CONFIG_PATH."
        )
        return
    enabled = [b for b in backends if not b.disabled]
    names = ", ".join(b.name for b in enabled)
    yield Finding(
        "backends",
        well=bool(enabled),
        text=f"{names or 'none enabled'} ({backends_path(settings)})",
        mend="" if enabled else "Enable at least one backend.",
    )
    engines = make_engines(settings, b"")
    by_name = engines.by_name()
    for name in sorted({b.engine for b in enabled}):
        try:
            trio.run(by_name[name].check)
        except EngineError as error:
            yield Finding(f"engine {name}", well=False, text="does not answer", mend=str(error))
        else:
            yield Finding(f"engine {name}", well=True, text="answers")
            if name == DockerEngine.name:
                yield from trio.run(_images, engines.docker, [b for b in enabled if b.engine == name])
                yield _callback(settings)
    for backend in enabled:
        if backend.engine == "process":
            program = backend.command[0].replace("{python}", sys.executable) if backend.command else ""
            there = shutil.which(program) is not None
            mend = "" if there else f"Install {program!r} or correct `command` of {backend.name!r}."
            text = program if there else f"{program or 'no command'} is missing"
            if there and not names_host((*backend.command, *backend.extra_env.values())):
                text += f". {SAY_HOST}"
            yield Finding(f"program of {backend.name}", well=there, text=text, mend=mend)


async def _images(engine: DockerEngine, backends: list[Backend]) -> list[Finding]:
    findings = []
    for backend in backends:
        found = await engine.images.find(names_of(backend))
        name = names_of(backend)[-1]
        # One that is not here yet is pulled at the first start; one that nobody publishes is not.
        there = found is not None or backend.image is not None
        text = found.name if found else f"{name} is not here yet" + (", pulled at the first start" if there else "")
        mend = "" if there else f"agentstack images build {backend.name}"
        findings.append(Finding(f"image of {backend.name}", well=there, text=text, mend=mend))
    return findings


def _callback(settings: Settings) -> Finding:
    reachable = bool(settings.agent_stack_callback_url) or not settings.listens_on_loopback
    text = "agents in containers can post to conversations" if reachable else "only this machine reaches the router"
    hint = "Set ROUTER_BIND_HOST to the address of Docker's bridge, or 0.0.0.0, if agents shall call back."
    # Agents answer without it: they cannot speak first.
    return Finding("callback", well=True, text=text, mend="" if reachable else hint)


def _ports(settings: Settings) -> Iterator[Finding]:
    taken = not _bindable(settings.router_bind_host, settings.router_port)
    running = False
    if taken:
        try:
            FolderLock(prepare_folder(settings)).close()
        except DataFolderInUseError:
            running = True
    text = "free" if not taken else "used by the running server" if running else "taken by another program"
    mend = "Stop what listens there, or set ROUTER_PORT." if taken and not running else ""
    yield Finding(f"port {settings.router_port}", well=not mend, text=text, mend=mend)
    ports = range(settings.backend_port_start, settings.backend_port_end + 1)
    free = sum(_bindable(str(settings.backend_host), p) for p in ports)
    yield Finding(
        f"ports {ports[0]}-{ports[-1]}",
        well=free > 0,
        text=f"{free} of {len(ports)} free",
        mend="" if free else "Widen BACKEND_PORT_START..BACKEND_PORT_END.",
    )


def _bindable(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
