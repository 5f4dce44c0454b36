"""Opening, naming, filling and deleting conversations."""

import time
from typing import Any

from domain.conversations import state as rules
from domain.conversations.events import ConversationDeleted, ConversationStarted, MessageRole
from domain.conversations.state import MAX_TITLE, Conversation, Message
from domain.ids import new_id
from eventlog.envelope import Origin
from eventlog.log import EventLog
from eventlog.repository import Repository
from projections.agents import Agent
from projections.conversations import Summary
from projections.views import Views
from supervisors.allowance import Allowance

_PER_MESSAGE = 400
"""Bytes of memory of a message or a turn, its text aside."""


class ConversationCommands:
    """Commands on conversations. `repository` holds their states, messages included."""

    def __init__(self, log: EventLog, views: Views, allowance: Allowance) -> None:
        self._views = views
        self._allowance = allowance
        self.repository: Repository[Conversation] = Repository(
            log, "conversation", Conversation(), rules.evolve, folding=rules.Draft, weigh=_weight
        )

    async def load(self, conversation_id: str, user_id: str) -> Conversation:
        """Return a user's conversation with its messages. Raises NotFound, also for somebody else's."""
        self._views.conversations.owned(conversation_id, user_id)
        return await self.state(conversation_id)

    async def state(self, conversation_id: str) -> Conversation:
        """Return anybody's conversation with its messages."""
        return (await self.repository.load(conversation_id)).state

    async def start(self, agent: Agent, model: str, title: str, origin: Origin) -> Summary:
        """Open a conversation with an agent. Raises Full when its user has as many as may be."""
        event = ConversationStarted(
            conversation_id=new_id(time.time()),
            user_id=agent.user_id,
            agent_id=agent.id,
            backend=agent.backend,
            model=model,
            title=title.strip()[:MAX_TITLE],
        )
        with self._allowance.one_more_conversation(agent.user_id):
            await self.repository.execute(event.conversation_id, lambda _: [event], origin, owner=agent.user_id)
        return self._views.conversations.owned(event.conversation_id, agent.user_id)

    async def rename(self, conversation_id: str, user_id: str, title: str, origin: Origin) -> Summary:
        """Give a conversation another title, cut at 200 characters."""
        self._views.conversations.owned(conversation_id, user_id)
        await self.repository.execute(conversation_id, lambda c: rules.rename(c, title), origin, owner=user_id)
        return self._views.conversations.owned(conversation_id, user_id)

    async def delete(self, conversation_id: str, user_id: str, origin: Origin) -> None:
        """Delete a conversation. Cancel its running turn first."""
        self._views.conversations.owned(conversation_id, user_id)
        event = ConversationDeleted(conversation_id=conversation_id)
        await self.repository.execute(
            conversation_id, lambda c: [] if c.deleted else [event], origin, owner=user_id
        )

    async def post(
        self,
        conversation_id: str,
        user_id: str,
        role: MessageRole,
        content: str,
        origin: Origin,
        *,
        extra: dict[str, Any] | None = None,
    ) -> Message:
        """Append a message that asks for no answer."""
        self._views.conversations.owned(conversation_id, user_id)
        message_id = new_id(time.time())
        await self.repository.execute(
            conversation_id,
            lambda c: rules.post(c, message_id=message_id, role=role, content=content, extra=extra),
            origin,
            owner=user_id,
        )
        return (await self.repository.load(conversation_id)).state.message(message_id)

    async def drop_after(self, conversation_id: str, user_id: str, message_id: str, origin: Origin) -> None:
        """Drop every message later than one. Raises NotFound, or Conflict while a turn runs."""
        self._views.conversations.owned(conversation_id, user_id)
        await self.repository.execute(
            conversation_id, lambda c: rules.drop_after(c, message_id), origin, owner=user_id
        )


def _weight(conversation: Conversation) -> int:
    """Return roughly how many bytes of memory a conversation takes."""
    return 2 * conversation.size + _PER_MESSAGE * (len(conversation.messages) + len(conversation.turns))
