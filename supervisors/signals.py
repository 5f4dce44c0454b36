"""Wake-up calls without content: whoever is woken looks for itself at what has changed.

Since a call carries nothing, a slow listener misses nothing and queues nothing: ten calls while it is busy are one.
"""

from weakref import WeakSet

import trio


class Signals:
    """Listeners by key: a conversation's id, an agent's id."""

    def __init__(self) -> None:
        # Weak, so that a listener whose task was cancelled needs no goodbye.
        self._watches: dict[str, WeakSet[Watch]] = {}

    def statistics(self) -> dict[str, int]:
        """Return how many listeners there are, counted once for each key they watch."""
        return {"watches": sum(map(len, self._watches.values()))}

    def notify(self, key: str) -> None:
        """Wake all who watch `key`."""
        for watch in self._watches.get(key, ()):
            watch.wake()

    def watch(self, *keys: str) -> "Watch":
        """Return a watch on several keys; it listens for as long as it is kept."""
        for key in [k for k, watches in self._watches.items() if not watches]:
            del self._watches[key]
        watch = Watch()
        for key in keys:
            self._watches.setdefault(key, WeakSet()).add(watch)
        return watch


class Watch:
    """Remembers whether it was called since it last looked."""

    def __init__(self) -> None:
        self._called = trio.Event()

    def wake(self) -> None:
        """Call it."""
        self._called.set()

    async def wait(self) -> None:
        """Wait for a call, or return at once if there was one since the last wait."""
        await self._called.wait()
        self._called = trio.Event()
