"""How much one user may read at a time: event streams that are open, and answers that may be long."""

from collections import Counter
from collections.abc import Callable

import trio

from domain.errors import TooMany

_RETRY_SECONDS = 5


class StreamSeats:
    """`most` for each user; 0 means any number."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: Counter[str] = Counter()
        self._locks: dict[str, trio.Lock] = {}

    def lock(self, user_id: str) -> trio.Lock:
        """Return what lets the streams of a user, who has a seat, have their turn one after the other."""
        return self._locks.setdefault(user_id, trio.Lock())

    def take(self, user_id: str) -> None:
        """Count one more. Raises TooMany."""
        if self._most and self._taken[user_id] >= self._most:
            raise TooMany(
                f"You have {self._most} event streams open, which is the most. Close a tab or two.",
                code="too_many_streams",
                retry_after=_RETRY_SECONDS,
            )
        self._taken[user_id] += 1

    def leave(self, user_id: str) -> None:
        """Count one less."""
        self._taken[user_id] -= 1
        if not self._taken[user_id]:
            del self._taken[user_id]
            self._locks.pop(user_id, None)


class Desks:
    """`most` long answers at a time for each user; who comes later waits until one of them has been read."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._desks: dict[str, trio.CapacityLimiter] = {}

    async def take(self, user_id: str) -> Callable[[], None]:
        """Wait for a desk, and return what gives it back."""
        desks = self._desks.setdefault(user_id, trio.CapacityLimiter(self._most))
        reader = object()
        try:
            await desks.acquire_on_behalf_of(reader)
        finally:
            self._tidy(user_id)

        def leave() -> None:
            desks.release_on_behalf_of(reader)
            self._tidy(user_id)

        return leave

    def _tidy(self, user_id: str) -> None:
        desks = self._desks.get(user_id)
        if desks and not desks.borrowed_tokens and not desks.statistics().tasks_waiting:
            del self._desks[user_id]
