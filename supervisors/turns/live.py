"""A turn that is running, as its watchers see it."""

from dataclasses import dataclass, field

import trio

from domain.conversations.events import Usage


@dataclass(slots=True, eq=False)
class LiveTurn:
    """The text so far. Watchers keep an offset and take what is new."""

    id: str
    conversation_id: str
    user_id: str
    message_id: str
    runner_id: str = ""
    """The runner that was asked, once there is one."""
    model: str = ""
    """What the agent was asked as."""
    finish_reason: str = ""
    usage: Usage | None = None
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    ended: trio.Event = field(default_factory=trio.Event)
    interrupted: bool = False
    _parts: list[str] = field(default_factory=list)
    length: int = 0
    """Characters so far."""

    def add(self, text: str) -> None:
        """Append to the answer."""
        self._parts.append(text)
        self.length += len(text)

    def discard(self) -> None:
        """Forget the answer so far: it was none."""
        self._parts, self.length = [], 0

    def text(self, start: int = 0) -> str:
        """Return the answer from an offset (in characters) on."""
        if len(self._parts) > 1:
            self._parts = ["".join(self._parts)]
        return self._parts[0][start:] if self._parts else ""
