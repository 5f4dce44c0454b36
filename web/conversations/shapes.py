"""Conversations and messages as clients see them."""

from typing import Any

from domain.conversations.state import Conversation, Message
from projections.conversations import Summary
from web.schemas import Answer, Seconds
from web.services import Services


class MessageInfo(Answer):
    """A message. `role` is user, assistant, system or error."""

    id: str
    role: str
    content: str
    created_at: Seconds
    turn_id: str | None = None


class ConversationInfo(Answer):
    """A conversation; `seq` is its rank from 1 among the user's of that backend, by creation."""

    id: str
    backend: str
    model: str
    agent_id: str
    title: str
    created_at: Seconds
    updated_at: Seconds
    message_count: int
    seq: int
    running_turn: str | None


class TurnInfo(Answer):
    """A turn. `status` is running, finished, cancelled, failed or interrupted."""

    id: str
    status: str
    user_message: MessageInfo


def conversation_info(
    services: Services, summary: Summary, ranks: dict[str, int] | None = None
) -> ConversationInfo:
    """Describe a conversation. `ranks` saves looking them up for each of many."""
    found = ranks if ranks is not None else services.views.conversations.ranks(summary.user_id, summary.backend)
    return ConversationInfo(
        id=summary.id,
        backend=summary.backend,
        model=summary.model,
        agent_id=summary.agent_id,
        title=summary.title,
        created_at=int(summary.created_at),
        updated_at=int(summary.updated_at),
        message_count=summary.message_count,
        seq=found.get(summary.id, 0),
        running_turn=summary.running_turn or None,
    )


def message_info(message: Message) -> dict[str, Any]:
    """Describe a message, ready for JSON."""
    return MessageInfo.model_validate(message).model_dump()


def turn_info(conversation: Conversation, turn_id: str) -> dict[str, Any]:
    """Describe a turn, ready for JSON."""
    turn = conversation.turn(turn_id)
    asked = MessageInfo.model_validate(conversation.message(turn.user_message_id))
    return TurnInfo(id=turn.id, status=turn.status, user_message=asked).model_dump()
