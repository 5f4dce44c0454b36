"""A whole stack without a socket, on a data folder that may be opened again."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from agentstack.root import Stack, open_stack
from agentstack.settings import Settings, load_settings
from eventlog.envelope import Origin
from projections.users import User
from tests.harness.ports import PortBlock
from tests.harness.scripted import Gates, scripted_backend

ORIGIN = Origin("system", "test")
PASSWORD = "pq rs tu vw xy"
KEY = "LLM_API_KEY"
"""The variable that users of the scripted agent may set."""


def whole_settings(folder: Path, ports: PortBlock, **changes: Any) -> Settings:
    """Return settings for a data folder below `folder`, with the scripted agent."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "backends.json"
    backend = scripted_backend(Gates(folder / "gates"), {KEY: "none"}, user_overridable_env=[KEY])
    path.write_text(json.dumps({"backends": [backend]}))
    return load_settings(
        **{
            "stack_data_root": folder / "data",
            "backends_config_path": path,
            "backend_port_start": ports.first,
            "backend_port_end": ports.last,
            "router_port": 1,
            "stop_runners_on_exit": True,
            **changes,
        }
    )


@asynccontextmanager
async def whole_stack(folder: Path, **changes: Any) -> AsyncIterator[Stack]:
    """Open a stack as the server does at its start; `changes` are settings."""
    async with open_stack(whole_settings(folder, PortBlock(), **changes)) as stack:
        await stack.services.turns.close_interrupted()
        await stack.services.deletion.finish_interrupted()
        await stack.services.pool.begin()
        yield stack


async def make_user(stack: Stack, email: str, role: Any = "user") -> User:
    """Make an account."""
    return await stack.services.accounts.register(
        email=email, password=PASSWORD, name=None, role=role, origin=ORIGIN
    )
