"""How many starts may run side by side."""

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio


class StartGate:
    """Lets `limit` starts through at a time, first come first served, and tells the others their place."""

    def __init__(self, limit: float) -> None:
        self._free = limit
        self._queue: OrderedDict[object, tuple[trio.Event, Callable[[int], None]]] = OrderedDict()

    def statistics(self) -> dict[str, float]:
        """Return how many slots are free and how many starts wait."""
        return {"free": self._free, "waiting": len(self._queue)}

    @asynccontextmanager
    async def slot(self, on_place: Callable[[int], None]) -> AsyncIterator[None]:
        """Hold a slot. While waiting, `on_place` is told the place in the queue, from 1, when it changes."""
        await self.enter(on_place)
        try:
            yield
        finally:
            self.leave()

    async def enter(self, on_place: Callable[[int], None]) -> None:
        """Get a slot, to be given back with `leave`; `slot` does both."""
        if self._free > 0:
            self._free -= 1
            return
        mine, admitted = object(), trio.Event()
        self._queue[mine] = (admitted, on_place)
        on_place(len(self._queue))
        try:
            await admitted.wait()
        except trio.Cancelled:
            if admitted.is_set():
                self.leave()
            else:
                del self._queue[mine]
                self._tell_places()
            raise

    def take(self) -> None:
        """Take a slot at once, even if there is none: as many are given back before others get one."""
        self._free -= 1

    def leave(self) -> None:
        """Give a slot back: the first in the queue gets it."""
        if not self._queue or self._free < 0:
            self._free += 1
            return
        _, (admitted, _) = self._queue.popitem(last=False)
        admitted.set()
        self._tell_places()

    def _tell_places(self) -> None:
        for place, (_, on_place) in enumerate(self._queue.values(), start=1):
            on_place(place)
