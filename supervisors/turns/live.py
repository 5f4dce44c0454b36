"""A turn that is running, as its watchers see it."""

from dataclasses import dataclass, field

import trio

from domain.conversations.events import Usage
from supervisors.turns.usage import UsageReader
from supervisors.wire.transit import Hold


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
    asked_with: int = 0
    """Bytes of the request to the agent."""
    told: UsageReader = field(default_factory=UsageReader)
    usage: Usage | None = None
    """What was told of the tokens, once the answer is over."""
    hold: Hold | None = None
    """What it takes of the memory there is, once it runs."""
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    ended: trio.Event = field(default_factory=trio.Event)
    interrupted: bool = False
    _parts: list[str] = field(default_factory=list)
    length: int = 0
    """Characters so far."""
    size: int = 0
    """Bytes so far, in UTF-8."""

    def add(self, text: str, most: int) -> None:
        """Append to the answer what of `text` does not make it longer than `most` bytes."""
        data = text.encode(errors="replace")
        left = most - self.size
        if len(data) > left:
            text = data[:left].decode(errors="ignore")
        size = min(len(data), left)
        if self.hold:
            self.hold.grow(size)
        self._parts.append(text)
        self.length += len(text)
        self.size += size

    def discard(self) -> None:
        """Forget the answer so far: it was none."""
        self._parts, self.length, self.size = [], 0, 0

    def text(self, start: int = 0) -> str:
        """Return the answer from an offset (in characters) on. It costs as much as it returns."""
        missing = self.length - start
        if missing <= 0:
            return ""
        last: list[str] = []
        for part in reversed(self._parts):
            last.append(part[-missing:])
            missing -= len(part)
            if missing <= 0:
                break
        return "".join(reversed(last))
