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

    @property
    def running(self) -> Turn | None:
        """The turn that has not ended, if there is one."""
        return next((t for t in reversed(self.turns.values()) if t.status == "running"), None)

    def message(self, message_id: str) -> Message:
        """Return one message. Raises NotFound."""
        for message in self.messages:
            if message.id == message_id:
                return message
        raise NotFound("There is no such message in this conversation.")

    def turn(self, turn_id: str) -> Turn:
        """Return one turn. Raises NotFound."""
        if turn_id not in self.turns:
            raise NotFound("There is no such turn in this conversation.")
        return self.turns[turn_id]


def _ended(state: Conversation, turn_id: str, status: str, *added: Message) -> Conversation:
    turns = {**state.turns}
    if turn_id in turns:  # Else its beginning could not be read.
        turns[turn_id] = replace(turns[turn_id], status=status)
    return replace(state, turns=turns, messages=(*state.messages, *(m for m in added if m.content)))


def evolve(state: Conversation, event: Event, at: float) -> Conversation:
    """Return the state after `event`, which happened at `at` (unix seconds)."""
    match event:
        case ConversationStarted():
            return Conversation(
                id=event.conversation_id,
                user_id=event.user_id,
                agent_id=event.agent_id,
                backend=event.backend,
                model=event.model,
                title=event.title,
            )
        case ConversationRenamed():
            return replace(state, title=event.title)
        case ConversationDeleted():
            return replace(state, deleted=True, messages=(), turns={})
        case MessagePosted():
            message = Message(event.message_id, event.role, event.content, at)
            return replace(state, messages=(*state.messages, message))
        case MessagesDropped():
            # Of a conversation whose text was erased, the message may not be there.
            ids = [m.id for m in state.messages]
            kept = ids.index(event.after_message_id) + 1 if event.after_message_id in ids else len(ids)
            return replace(state, messages=state.messages[:kept])
        case TurnStarted():
            turn = Turn(event.turn_id, event.user_message_id, event.model)
            return replace(state, turns={**state.turns, turn.id: turn})
        case TurnFinished():
            status = "cancelled" if event.finish_reason == "cancelled" else "finished"
            answer = Message(event.message_id, "assistant", event.content, at, event.turn_id)
            return _ended(state, event.turn_id, status, answer)
        case TurnFailed():
            answer = Message(event.message_id, "assistant", event.content, at, event.turn_id)
            error = Message(event.error_message_id, "error", event.error, at, event.turn_id)
            return _ended(state, event.turn_id, "failed", answer, error)
        case TurnInterrupted():
            answer = Message(event.message_id, "assistant", event.content, at, event.turn_id)
            return _ended(state, event.turn_id, "interrupted", answer)
        case _:
            return state


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
    events: list[Event] = [
        MessagePosted(conversation_id=state.id, message_id=message_id, role=role, content=content, extra=extra)
    ]
    if role == "user" and not state.title:
        title = " ".join(content.split())[:AUTO_TITLE]
        events.append(ConversationRenamed(conversation_id=state.id, title=title))
    return events


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
    return [
        *drop_after(state, old.user_message_id),
        TurnStarted(
            conversation_id=state.id,
            turn_id=new_turn_id,
            user_message_id=old.user_message_id,
            model=old.model,
        ),
    ]
