"""`agentstack compact`: forget what may be forgotten."""

import time
from dataclasses import asdict

import click
import orjson

from agentstack.cli.folder import as_json, console, data_folder, open_reader
from agentstack.settings import load_settings
from agentstack.vaults import open_own_vault
from domain.catalogue import EVENT_TYPES
from domain.sessions.events import SessionOpened, SessionRevoked
from domain.usage.events import UsageRecorded
from domain.users.events import UserDeleted
from eventlog.compaction import compact
from eventlog.filter import Filter
from eventlog.folder import FolderLock
from eventlog.log import FILE_NAME
from projections.views import rebuild

_DAY = 86400
NEEDED = frozenset(e.TOPIC for e in EVENT_TYPES if e.TOPIC.startswith("runner."))
"""They tell which runners have ended, also after their users were deleted."""


@click.command("compact")
@click.option(
    "--usage-days", default=400, show_default=True, type=click.IntRange(31), help="How long usage is kept."
)
@click.option(
    "--session-days", default=90, show_default=True, type=click.IntRange(1), help="How long sign-ins are."
)
@click.option("--dry-run", is_flag=True, help="Only tell what would be forgotten.")
@as_json
def compact_command(usage_days: int, session_days: int, dry_run: bool, json_: bool) -> None:
    """Forget old usage, old sign-ins and what belonged to deleted users. The server must not be running.

    Who did what and when stays, and so does the hash chain, which still verifies. Read models are made anew.
    """
    settings = load_settings()
    folder = data_folder(settings)
    lock = FolderLock(folder)
    try:
        vault = open_own_vault(settings, folder)
        reader = open_reader(folder, vault)
        reader.verify()  # What is blanked afterwards cannot be compared with its digest any more.
        # Whoever still has a key: a crash cut their deletion short, and the next start finishes it.
        gone = {r.event.user_id for r in reader.events(Filter(types=(UserDeleted.TOPIC,)), -1)} - vault.owners
        now = time.time()
        # A sign-in that is still good must stay known.
        sessions = now - max(session_days * _DAY, settings.jwt_ttl_seconds)
        old = {
            UsageRecorded.TOPIC: round((now - usage_days * _DAY) * 1e6),
            SessionOpened.TOPIC: round(sessions * 1e6),
            SessionRevoked.TOPIC: round(sessions * 1e6),
        }
        reader.close()
        done = compact(folder / FILE_NAME, gone, old, needed=NEEDED, dry_run=dry_run)
        if not dry_run:
            reader = open_reader(folder, vault)
            rebuild(folder, reader, vault=vault)
            reader.verify()
            reader.close()
        vault.close()
    finally:
        lock.close()
    if json_:
        click.echo(orjson.dumps(asdict(done)))
        return
    about = f"{done.events} events, {done.payload_bytes / 1e6:.1f} MB"
    if dry_run:
        console.print(f"Would forget the contents of {about}. Nothing was changed.")
    else:
        console.print(
            f"Forgot the contents of {about}: the log has {done.after / 1e6:.1f} MB instead of "
            f"{done.before / 1e6:.1f} MB, and its chain verifies."
        )
