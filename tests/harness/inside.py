"""A whole agent-stack within the test's own process, for what must be changed from within: times, names, limits."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
from argon2 import PasswordHasher

from agentstack.root import Stack, open_stack
from agentstack.settings import load_settings
from eventlog.envelope import Origin
from tests.harness.server import ADMIN, PASSWORD

ORIGIN = Origin("system", "test")


class Inside:
    """A stack without a socket: `client` speaks to its front door."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.front: Any = stack.front()

    def client(self, address: str = "127.0.0.1", **headers: str) -> httpx.AsyncClient:
        """Return a client that comes from an address, signed in to nothing."""
        transport = httpx.ASGITransport(self.front, client=(address, 1))
        return httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers)

    async def sign_up(self, email: str) -> httpx.AsyncClient:
        """Return a client of a new user."""
        return await self._signed_in("signup", email, PASSWORD)

    async def admin(self) -> httpx.AsyncClient:
        """Return a client of the admin."""
        return await self._signed_in("login", *ADMIN)

    async def _signed_in(self, call: str, email: str, password: str) -> httpx.AsyncClient:
        client = self.client()
        answer = await client.post(f"/auth/{call}", json={"email": email, "password": password})
        assert answer.is_success, answer.text
        return client


@asynccontextmanager
async def inside(folder: Path, **settings: Any) -> AsyncIterator[Inside]:
    """Open a stack on a folder, with nothing from the environment; the admin exists, passwords are hashed fast."""
    quick = partial(PasswordHasher, time_cost=1, memory_cost=8, parallelism=1)
    off = {"sign_ins_per_address": 0, "sign_ins_per_account": 0, "requests_per_minute": 0}
    made = load_settings(_env_file=None, stack_data_root=folder / "data", **{**off, **settings})
    with patch("supervisors.commands.hashing.PasswordHasher", quick):
        async with open_stack(made) as stack:
            if stack.services.views.users.admin() is None:
                await stack.services.accounts.register(
                    email=ADMIN[0], password=ADMIN[1], name=None, role="admin", origin=ORIGIN
                )
            yield Inside(stack)
