"""What other tasks get to do meanwhile."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio


@dataclass(slots=True)
class Turns:
    """How often another task has had its turn."""

    count: int = 0


@asynccontextmanager
async def counting_turns() -> AsyncIterator[Turns]:
    """Run a task beside the body of the `async with` that does nothing but count its turns."""
    turns = Turns()

    async def other() -> None:
        while True:
            await trio.lowlevel.checkpoint()
            turns.count += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        yield turns
        nursery.cancel_scope.cancel()
