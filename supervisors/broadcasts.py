"""What is told to whoever watches a conversation, and kept nowhere."""

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

_PER_CONVERSATION = 100
_CONVERSATIONS = 1000
_BYTES_PER_CONVERSATION = 2 << 20
_BYTES = 32 << 20
"""As JSON, of all that is kept. The newest one of each conversation may take what it takes."""


@dataclass(frozen=True, slots=True)
class Broadcast:
    """One announcement; numbers rise over all conversations."""

    number: int
    kind: str
    payload: dict[str, Any]
    size: int


class Broadcasts:
    """The newest announcements of each conversation. A watcher that is slow misses the oldest of a flood.

    `on_sent` is called with the conversation's id.
    """

    def __init__(self, on_sent: Callable[[str], None]) -> None:
        self._on_sent = on_sent
        self._kept: OrderedDict[str, deque[Broadcast]] = OrderedDict()
        self._size = 0
        self.number = 0
        """The number of the newest one."""

    def send(self, conversation_id: str, kind: str, payload: dict[str, Any]) -> None:
        """Tell all who watch a conversation."""
        self.number += 1
        kept = self._kept.setdefault(conversation_id, deque())
        kept.append(Broadcast(self.number, kind, payload, len(orjson.dumps(payload))))
        self._size += kept[-1].size
        self._kept.move_to_end(conversation_id)
        own = sum(b.size for b in kept)
        while len(kept) > _PER_CONVERSATION or (len(kept) > 1 and own > _BYTES_PER_CONVERSATION):
            dropped = kept.popleft().size
            own, self._size = own - dropped, self._size - dropped
        while len(self._kept) > _CONVERSATIONS or (len(self._kept) > 1 and self._size > _BYTES):
            self.forget(next(iter(self._kept)))
        self._on_sent(conversation_id)

    def statistics(self) -> dict[str, int]:
        """Return how many bytes are kept, and of how many conversations."""
        return {"bytes": self._size, "conversations": len(self._kept)}

    def forget(self, conversation_id: str) -> None:
        """Drop what is kept of a conversation."""
        self._size -= sum(b.size for b in self._kept.pop(conversation_id, ()))

    def after(self, conversation_id: str, number: int) -> list[Broadcast]:
        """Return what was said in a conversation after a number."""
        return [b for b in self._kept.get(conversation_id, ()) if b.number > number]
