"""How much memory there is for what others send: all of it together, and what one of them may take."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from domain.errors import TooMany, Unavailable

FREE_BYTES = 64 * 1024
"""Of each message: what is so small is bounded by how many there are."""
_RETRY_SECONDS = 2


class Transit:
    """So many bytes for `most`, and of these `share` for each owner: a user's id, or a client's address."""

    def __init__(self, most: int, share: int) -> None:
        self._most = most
        self._share = share
        self._held: Counter[str] = Counter()
        self._total = 0

    def statistics(self) -> dict[str, int]:
        """Return how many bytes are held, and for how many owners."""
        return {"bytes": self._total, "owners": len(self._held)}

    @contextmanager
    def hold(self, owner: str) -> Iterator["Hold"]:
        """Return what grows with one message, and is given back at the end."""
        hold = Hold(self, owner)
        try:
            yield hold
        finally:
            self.give_back(owner, hold.counted)

    def take(self, owner: str, size: int) -> None:
        """Take so many bytes. Raises TooMany when the owner's share is used up, Unavailable when all there is."""
        if self._held[owner] + size > self._share:
            raise TooMany(
                f"Your requests and answers that are under way take {self._share >> 20} MiB together, which is the "
                "most. Wait until one is done, or send less at once.",
                code="too_much_at_once",
                retry_after=_RETRY_SECONDS,
            )
        if self._total + size > self._most:
            raise Unavailable(
                "The server has no memory left for large requests. Try again in a moment.",
                code="no_room",
                retry_after=_RETRY_SECONDS,
            )
        self._held[owner] += size
        self._total += size

    def give_back(self, owner: str, size: int) -> None:
        """Give so many bytes back."""
        self._total -= size
        self._held[owner] -= size
        if not self._held[owner]:
            del self._held[owner]


class Hold:
    """What one message, or one exchange, takes."""

    def __init__(self, transit: Transit, owner: str) -> None:
        self._transit = transit
        self._owner = owner
        self._size = 0
        self.counted = 0
        """Bytes that are to be given back."""

    def become(self, size: int) -> None:
        """Note that there are so many bytes now, and none of those before. Raises as `Transit.take`."""
        more = max(0, size - FREE_BYTES) - self.counted
        if more > 0:
            self._transit.take(self._owner, more)
        elif more < 0:
            self._transit.give_back(self._owner, -more)
        self.counted += more
        self._size = size

    def grow(self, size: int) -> None:
        """Note that there are so many bytes more. Raises as `Transit.take`."""
        self.become(self._size + size)
