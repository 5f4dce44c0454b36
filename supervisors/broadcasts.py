"""What is told to whoever watches a conversation, and kept nowhere."""

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_PER_CONVERSATION = 100
_CONVERSATIONS = 1000


@dataclass(frozen=True, slots=True)
class Broadcast:
    """One announcement; numbers rise over all conversations."""

    number: int
    kind: str
    payload: dict[str, Any]


class Broadcasts:
    """The newest announcements of each conversation. A watcher that is slow misses the oldest of a flood.

    `on_sent` is called with the conversation's id.
    """

    def __init__(self, on_sent: Callable[[str], None]) -> None:
        self._on_sent = on_sent
        self._kept: OrderedDict[str, deque[Broadcast]] = OrderedDict()
        self.number = 0
        """The number of the newest one."""

    def send(self, conversation_id: str, kind: str, payload: dict[str, Any]) -> None:
        """Tell all who watch a conversation."""
        self.number += 1
        kept = self._kept.setdefault(conversation_id, deque(maxlen=_PER_CONVERSATION))
        kept.append(Broadcast(self.number, kind, payload))
        self._kept.move_to_end(conversation_id)
        if len(self._kept) > _CONVERSATIONS:
            self._kept.popitem(last=False)
        self._on_sent(conversation_id)

    def forget(self, conversation_id: str) -> None:
        """Drop what is kept of a conversation."""
        self._kept.pop(conversation_id, None)

    def after(self, conversation_id: str, number: int) -> list[Broadcast]:
        """Return what was said in a conversation after a number."""
        return [b for b in self._kept.get(conversation_id, ()) if b.number > number]
