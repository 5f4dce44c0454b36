"""Events of the stream `conversation:<id>`: metadata and whole messages, never single tokens."""

from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict

from domain.event import Event

MessageRole = Literal["user", "assistant", "system", "error"]


class Usage(BaseModel):
    """Token counts as the agent reported them; a count that it did not report is None."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None


class ConversationStarted(Event):
    """Somebody opened a conversation with one of their agents."""

    TOPIC = "conversation.started"
    PRIVATE: ClassVar[frozenset[str]] = frozenset({"model", "title"})

    conversation_id: str
    user_id: str
    agent_id: str
    backend: str
    model: str
    title: str

    @classmethod
    def from_envelope(cls, id_: str, owner: str) -> Self:
        """Return it with its owner, so that what was said in it can be read and deleted."""
        return cls(conversation_id=id_, user_id=owner, agent_id="", backend="", model="", title="")


class ConversationRenamed(Event):
    """The title changed."""

    TOPIC = "conversation.renamed"
    PRIVATE: ClassVar[frozenset[str]] = frozenset({"title"})

    conversation_id: str
    title: str


class ConversationDeleted(Event):
    """Nobody sees it any more."""

    TOPIC = "conversation.deleted"

    conversation_id: str

    @classmethod
    def from_envelope(cls, id_: str, owner: str) -> Self:
        """Return it from the stream's id alone."""
        return cls(conversation_id=id_)


class MessagePosted(Event):
    """A message that did not come out of a turn, or the one that a turn answers."""

    TOPIC = "message.posted"
    PRIVATE: ClassVar[frozenset[str]] = frozenset({"content", "extra"})

    conversation_id: str
    message_id: str
    role: MessageRole
    content: str
    extra: dict[str, Any] | None = None
    """What an agent sent along with its own message."""


class MessagesDropped(Event):
    """Every message after `after_message_id` is gone from the conversation: `count` of them."""

    TOPIC = "messages.dropped"

    conversation_id: str
    after_message_id: str
    count: int


class TurnStarted(Event):
    """The agent was asked to answer `user_message_id`."""

    TOPIC = "turn.started"
    PRIVATE: ClassVar[frozenset[str]] = frozenset({"model"})

    conversation_id: str
    turn_id: str
    user_message_id: str
    model: str


class TurnFinished(Event):
    """The agent answered, or was stopped by its user (`finish_reason` is then `cancelled`)."""

    TOPIC = "turn.finished"
    PRIVATE: ClassVar[frozenset[str]] = frozenset({"content"})

    conversation_id: str
    turn_id: str
    message_id: str
    content: str
    finish_reason: str
    usage: Usage | None = None


class TurnFailed(Event):
    """The agent could not answer. `content` is what it had written, `error` what a person is told."""

    TOPIC = "turn.failed"
    PRIVATE: ClassVar[frozenset[str]] = frozenset({"content", "error"})

    conversation_id: str
    turn_id: str
    message_id: str
    content: str
    error_message_id: str
    error: str


class TurnInterrupted(Event):
    """The server stopped in the middle. `content` is what had been saved by then, "" after a crash."""

    TOPIC = "turn.interrupted"
    PRIVATE: ClassVar[frozenset[str]] = frozenset({"content"})

    conversation_id: str
    turn_id: str
    message_id: str
    content: str
