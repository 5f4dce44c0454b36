"""The command line: `agentstack`, also installed as `agent-stack`."""

import sqlite3
import sys

import click
from eventsourcing.persistence import PersistenceError

from agentstack import __version__
from agentstack.cli.audit import audit
from agentstack.cli.backends import backends
from agentstack.cli.backup import backup
from agentstack.cli.compact import compact_command
from agentstack.cli.doctor import doctor
from agentstack.cli.events import events
from agentstack.cli.images import images
from agentstack.cli.import_legacy import import_command
from agentstack.cli.projections import projections
from agentstack.cli.replay import replay
from agentstack.cli.serve import serve
from agentstack.cli.users import users
from agentstack.cli.vault import vault
from agentstack.logs import configure_logging
from agentstack.settings import SettingsError
from domain.backends.registry import BackendsFileError
from domain.errors import DomainError
from eventlog.errors import EventLogError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="agent-stack")
def cli() -> None:
    """One lightweight router that gives every user their own AI agents.

    Settings come from the environment and from a .env file in the current folder; `agentstack doctor` checks them.
    """
    configure_logging("warning", "auto")


cli.add_command(serve)
cli.add_command(doctor)
cli.add_command(backends)
cli.add_command(images)
cli.add_command(events)
cli.add_command(audit)
cli.add_command(backup)
cli.add_command(projections)
cli.add_command(replay)
cli.add_command(compact_command)
cli.add_command(users)
cli.add_command(vault)
cli.add_command(import_command)


_UNUSABLE = frozenset(
    {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL}
    | {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}
)


def main() -> None:
    """Run the command line; an error that a person can mend is one message, not a traceback."""
    try:
        cli()
    except BaseException as error:
        told = _mendable(error)
        if told is None:
            raise
        click.echo(f"agent-stack: {told}", err=True)
        sys.exit(1)


def _mendable(error: BaseException) -> str | None:
    """Return what to tell a person, None for a bug. Tasks wrap their errors in groups: look inside."""
    if isinstance(error, BaseExceptionGroup):
        inner = {_mendable(e) for e in error.exceptions}
        return inner.pop() if len(inner) == 1 else None
    if isinstance(error, SettingsError | BackendsFileError | EventLogError | DomainError):
        return str(error)
    if isinstance(error, PersistenceError) and error.__cause__ is not None:
        return _mendable(error.__cause__)
    if isinstance(error, sqlite3.DatabaseError) and getattr(error, "sqlite_errorcode", 0) & 0xFF in _UNUSABLE:
        return (
            f"A database in the data folder cannot be used: {error}. If there is room on the disk, it was damaged: "
            "read models are made anew by `agentstack projections rebuild`; for the log or the vault, restore a "
            "backup (agentstack backup restore) into an empty folder."
        )
    if isinstance(error, OSError) and error.errno is not None and not isinstance(error, BrokenPipeError):
        return f"{error.strerror}: {error.filename}" if error.filename else str(error.strerror)
    return None
