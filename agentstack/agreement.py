"""The vault and the log agree before anything is read: who is there has a key, who was deleted has none."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from domain.users.events import UserDeleted
from eventlog.errors import VaultIncompleteError
from eventlog.log import EventLog
from eventlog.vault import Vault
from projections.views import Views, open_views


@asynccontextmanager
async def open_agreed(vault: Vault, log: EventLog, folder: Path, *, read_only: bool) -> AsyncIterator[Views]:
    """Open the read models once vault and log agree: before, rows could look like those of deleted users.

    An earlier state of a log does not agree with its vault: who was deleted since has no key.
    """
    if not read_only:
        await _agree(vault, log)
    async with open_views(folder, log, vault) as views:
        yield views


async def _agree(vault: Vault, log: EventLog) -> None:
    """Give a key to users whose accounts are older than the vault; refuse a vault that has lost a key.

    Raises VaultIncompleteError: without the key, what its user wrote would silently count as erased.
    """
    streams = await trio.to_thread.run_sync(log.reader.streams, "user:", -1)
    for user_id in (stream.partition(":")[2] for stream, *_ in streams):
        if user_id in vault:
            continue
        events = await log.read_stream(f"user:{user_id}")
        if any(isinstance(record.event, UserDeleted) for record in events):
            continue
        if any(record.erased for record in events):
            raise VaultIncompleteError(user_id)
        await trio.to_thread.run_sync(vault.create, user_id)
