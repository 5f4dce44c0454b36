"""Fixtures for the tests of the usage meter, and of whole stacks."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agentstack.root import Stack
from projections.users import User
from supervisors.usage import UsageMeter
from tests.supervisors.accounts_setup import AccountsSetup, open_accounts
from tests.supervisors.usage_setup import Clock, Disk
from tests.supervisors.usage_setup import make_user as make_metered_user
from tests.supervisors.whole import make_user, whole_stack


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    """Return a stack with an admin."""
    async with whole_stack(tmp_path) as opened:
        await make_user(opened, "admin@example.org", "admin")
        yield opened


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return the meter's clock."""
    return Clock(monkeypatch)


@pytest.fixture
def disk() -> Disk:
    """Return the disk of the log."""
    return Disk()


@pytest.fixture
async def setup(tmp_path: Path, disk: Disk) -> AsyncIterator[AccountsSetup]:
    """Return accounts in an empty folder."""
    async with open_accounts(tmp_path, disk) as opened:
        yield opened


@pytest.fixture
async def ada(setup: AccountsSetup) -> User:
    """Return a user."""
    return await make_metered_user(setup, "ada")


@pytest.fixture
async def bob(setup: AccountsSetup) -> User:
    """Return another one."""
    return await make_metered_user(setup, "bob")


@pytest.fixture
def meter(setup: AccountsSetup, clock: Clock) -> UsageMeter:
    """Return a meter."""
    del clock
    return UsageMeter(setup.log, setup.views)
