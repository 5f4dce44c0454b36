"""The state of one conversation, and what may be done to it."""

from dataclasses import dataclass, field, replace
from typing import Any

from domain.conversations.events import (
    ConversationDeleted,
    ConversationRenamed,
    ConversationStarted,
    MessagePosted,
    MessageRole,
    MessagesDropped,
    TurnFailed,
    TurnFinished,
    TurnInterrupted,
    TurnStarted,
)
from domain.errors import Conflict, Invalid, NotFound
from domain.event import Event

MAX_TITLE = 200
AUTO_TITLE = 60
MAX_CONTENT = 1_000_000
MAX_SIZE = 8_000_000
"""Characters in a conversation, more than any model reads: one that has so many takes no further message."""
MAX_MESSAGES = 20_000
"""Messages in one."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message. `created_at` is in unix seconds; `turn_id` names the turn that wrote it."""

    id: str
    role: MessageRole
    content: str
    created_at: float
    turn_id: str | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """One answer: `status` is running, finished, cancelled, failed or interrupted."""

    id: str
    user_message_id: str
    model: str
    status: str = "running"


@dataclass(frozen=True, slots=True)
class Conversation:
    """What the events of one stream add up to. `user_id` is "" until it is started."""

    id: str = ""
    user_id: str = ""
    agent_id: str = ""
    backend: str = ""
    model: str = ""
    title: str = ""
    deleted: bool = False
    messages: tuple[Message, ...] = ()
    turns: dict[str, Turn] = field(default_factory=dict)
    size: int = 0
    """Characters in all messages."""

    @property
    def running(self) -> Turn | None:
        """The turn that has not ended, if there is one."""
        return next((t for t in reversed(self.turns.values()) if t.status == "running"), None)

    def message(self, message_id: str) -> Message:
        """Return one message. Raises NotFound."""
        for message in reversed(self.messages):  # It is mostly one of the last.
            if message.id == message_id:
                return message
        raise NotFound("There is no such message in this conversation.")

    def turn(self, turn_id: str) -> Turn:
        """Return one turn. Raises NotFound."""
        if turn_id not in self.turns:
            raise NotFound("There is no such turn in this conversation.")
        return self.turns[turn_id]


class Draft:
    """A conversation while events are folded into it: what one costs does not grow with how long it is."""

    def __init__(self, state: Conversation) -> None:
        self._begin(state)

    def _begin(self, state: Conversation) -> None:
        self._about = state
        self._messages = list(state.messages)
        self._turns = dict(state.turns)
        self._size = state.size

    def state(self) -> Conversation:
        """Return the conversation as it is now."""
        return replace(self._about, messages=tuple(self._messages), turns=dict(self._turns), size=self._size)

    def apply(self, event: Event, at: float) -> None:
        """Fold an event, which happened at `at` (unix seconds)."""
        match event:
            case ConversationStarted():
                self._begin(
                    Conversation(
                        id=event.conversation_id,
                        user_id=event.user_id,
                        agent_id=event.agent_id,
                        backend=event.backend,
                        model=event.model,
                        title=event.title,
                    )
                )
            case ConversationRenamed():
                self._about = replace(self._about, title=event.title)
            case ConversationDeleted():
                self._begin(replace(self._about, deleted=True, messages=(), turns={}, size=0))
            case MessagePosted():
                self._add(Message(event.message_id, event.role, event.content, at))
            case MessagesDropped():
                self._drop_after(event.after_message_id)
            case TurnStarted():
                self._turns[event.turn_id] = Turn(event.turn_id, event.user_message_id, event.model)
            case TurnFinished():
                self._end(event.turn_id, "cancelled" if event.finish_reason == "cancelled" else "finished")
                self._add_said(event.message_id, "assistant", event.content, at, event.turn_id)
            case TurnFailed():
                self._end(event.turn_id, "failed")
                self._add_said(event.message_id, "assistant", event.content, at, event.turn_id)
                self._add_said(event.error_message_id, "error", event.error, at, event.turn_id)
            case TurnInterrupted():
                self._end(event.turn_id, "interrupted")
                self._add_said(event.message_id, "assistant", event.content, at, event.turn_id)

    def _add(self, message: Message) -> None:
        self._messages.append(message)
        self._size += len(message.content)

    def _add_said(self, id_: str, role: MessageRole, content: str, at: float, turn_id: str) -> None:
        if content:
            self._add(Message(id_, role, content, at, turn_id))

    def _end(self, turn_id: str, status: str) -> None:
        if turn_id in self._turns:  # Else its beginning could not be read.
            self._turns[turn_id] = replace(self._turns[turn_id], status=status)

    def _drop_after(self, message_id: str) -> None:
        # Of a conversation whose text was erased, the message may not be there.
        kept = next((n for n in range(len(self._messages), 0, -1) if self._messages[n - 1].id == message_id), None)
        if kept is not None:
            self._size -= sum(len(m.content) for m in self._messages[kept:])
            del self._messages[kept:]


def evolve(state: Conversation, event: Event, at: float) -> Conversation:
    """Return the state after `event`, which happened at `at` (unix seconds)."""
    draft = Draft(state)
    draft.apply(event, at)
    return draft.state()


def _present(state: Conversation) -> None:
    if not state.id or state.deleted:
        raise NotFound("There is no such conversation.")


def rename(state: Conversation, title: str) -> list[Event]:
    """Decide a new title, cut at 200 characters."""
    _present(state)
    cut = title.strip()[:MAX_TITLE]
    return [] if cut == state.title else [ConversationRenamed(conversation_id=state.id, title=cut)]


def post(
    state: Conversation,
    *,
    message_id: str,
    role: MessageRole,
    content: str,
    extra: dict[str, Any] | None = None,
) -> list[Event]:
    """Decide a message. The first one of the user names an untitled conversation."""
    _present(state)
    if not content.strip():
        raise Invalid("The message is empty.", code="empty_message")
    if len(content) > MAX_CONTENT:
        raise Invalid(f"The message is too long: at most {MAX_CONTENT} characters.", code="long_message")
    _refuse_full(state, len(content))
    events: list[Event] = [
        MessagePosted(conversation_id=state.id, message_id=message_id, role=role, content=content, extra=extra)
    ]
    if role == "user" and not state.title:
        title = " ".join(content.split())[:AUTO_TITLE]
        events.append(ConversationRenamed(conversation_id=state.id, title=title))
    return events


def _refuse_full(state: Conversation, more: int = 0) -> None:
    if state.size + more > MAX_SIZE or len(state.messages) >= MAX_MESSAGES:
        raise Conflict(
            "This conversation is as long as one may be. Begin a new one, or delete its last messages.",
            code="conversation_full",
        )


def idle(state: Conversation) -> None:
    """Raise Conflict while a turn runs."""
    if state.running:
        raise Conflict(
            "An answer is still being written in this conversation. Wait for it or cancel it.",
            code="turn_running",
            turn_id=state.running.id,
        )


def drop_after(state: Conversation, message_id: str) -> list[Event]:
    """Decide that every message later than `message_id` goes."""
    _present(state)
    idle(state)
    later = len(state.messages) - 1 - state.messages.index(state.message(message_id))
    if not later:
        return []
    return [MessagesDropped(conversation_id=state.id, after_message_id=message_id, count=later)]


def ask(state: Conversation, *, turn_id: str, message_id: str, content: str, model: str) -> list[Event]:
    """Decide a turn that answers a new user message."""
    idle(state)
    return [
        *post(state, message_id=message_id, role="user", content=content),
        TurnStarted(conversation_id=state.id, turn_id=turn_id, user_message_id=message_id, model=model),
    ]


def ask_again(state: Conversation, turn_id: str, *, new_turn_id: str) -> list[Event]:
    """Decide to drop the answer of `turn_id`, and all after it, and to ask the same question again."""
    old = state.turn(turn_id)
    _refuse_full(state)
    return [
        *drop_after(state, old.user_message_id),
        TurnStarted(
            conversation_id=state.id,
            turn_id=new_turn_id,
            user_message_id=old.user_message_id,
            model=old.model,
        ),
    ]
