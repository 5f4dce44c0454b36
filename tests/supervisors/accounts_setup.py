"""Accounts on a log of their own, without the rest of a stack, with hashes that are quick to make."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

from argon2 import PasswordHasher

from domain.catalogue import EVENT_TYPES
from eventlog.codec import EventMapper
from eventlog.log import EventLog, open_log
from eventlog.vault import Vault
from eventlog.writer import FailPoint
from projections.views import Views, open_views
from supervisors.commands.accounts import Accounts
from supervisors.commands.invites import Invites

MASTER = "a master key with enough randomness in it"


@dataclass(frozen=True, slots=True)
class AccountsSetup:
    """The parts that accounts are made of."""

    log: EventLog
    views: Views
    vault: Vault
    accounts: Accounts
    invites: Invites


@asynccontextmanager
async def open_accounts(folder: Path, on_point: FailPoint = lambda _: None) -> AsyncIterator[AccountsSetup]:
    """Open the accounts of a folder, which may have been open before."""
    with closing(Vault(folder, MASTER)) as vault:
        async with (
            open_log(folder, EventMapper(EVENT_TYPES, vault), on_point=on_point) as log,
            open_views(folder, log, vault) as views,
        ):
            accounts = Accounts(log, views, vault, b"secret", session_seconds=1000)
            accounts._hashing._hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
            accounts._hashing._nobody = accounts._hashing._hasher.hash("nobody's password")
            yield AccountsSetup(log, views, vault, accounts, Invites(log, views))
