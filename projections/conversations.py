"""Summaries of conversations. Their text is not here: it is read from the log, by stream."""

from dataclasses import dataclass, replace
from typing import Any

from domain.conversations.events import (
    ConversationDeleted,
    ConversationRenamed,
    ConversationStarted,
    MessagePosted,
    MessagesDropped,
    TurnFailed,
    TurnFinished,
    TurnInterrupted,
    TurnStarted,
)
from domain.errors import NotFound
from eventlog.envelope import Recorded
from projections.projection import Projection
from projections.table import Table


@dataclass(frozen=True, slots=True)
class Summary:
    """One conversation. `running_turn` is "" while no turn runs. Times in unix seconds."""

    id: str
    user_id: str
    agent_id: str
    backend: str
    model: str
    title: str
    created_at: float
    updated_at: float
    message_count: int
    running_turn: str


class Conversations(Projection):
    """Who has which conversations."""

    name = "conversations"
    version = 2

    def __init__(self) -> None:
        super().__init__()
        self._summaries: Table[Summary] = Table("conversations", Summary, sealed=("model", "title"))
        self._by_user = self._summaries.index(lambda c: c.user_id)
        self._by_backend = self._summaries.index(lambda c: (c.user_id, c.backend))
        self._by_agent = self._summaries.index(lambda c: c.agent_id)
        self.tables = (self._summaries,)
        self.on = {
            ConversationStarted: self._started,
            ConversationRenamed: self._renamed,
            ConversationDeleted: self._deleted,
            MessagePosted: self._posted,
            MessagesDropped: self._dropped,
            TurnStarted: self._turn_started,
            TurnFinished: self._turn_ended,
            TurnFailed: self._turn_ended,
            TurnInterrupted: self._turn_ended,
        }

    def owned(self, conversation_id: str, user_id: str) -> Summary:
        """Return a user's conversation. Raises NotFound, also when it is somebody else's."""
        found = self._summaries.get(conversation_id)
        if found is None or found.user_id != user_id:
            raise NotFound("There is no such conversation.")
        return found

    def find(self, conversation_id: str) -> Summary | None:
        """Return a conversation, or None."""
        return self._summaries.get(conversation_id)

    def of_user(self, user_id: str) -> list[Summary]:
        """Return a user's conversations, newest activity first."""
        return sorted(self._by_user.all(user_id), key=lambda c: c.updated_at, reverse=True)

    def count_of(self, user_id: str) -> int:
        """Return how many conversations a user has."""
        return self._by_user.count(user_id)

    def of_agent(self, agent_id: str) -> list[Summary]:
        """Return an agent's conversations."""
        return self._by_agent.all(agent_id)

    def ranks(self, user_id: str, backend: str) -> dict[str, int]:
        """Return the rank from 1 of each of a user's conversations of a backend, by creation."""
        return {c.id: n for n, c in enumerate(self._by_backend.all((user_id, backend)), start=1)}

    def with_running_turn(self) -> list[Summary]:
        """Return the conversations in which the log knows no end of the last turn."""
        return [c for c in self._summaries if c.running_turn]

    def _started(self, event: ConversationStarted, record: Recorded[Any]) -> None:
        self._summaries.put(
            Summary(
                id=event.conversation_id,
                user_id=event.user_id,
                agent_id=event.agent_id,
                backend=event.backend,
                model=event.model,
                title=event.title,
                created_at=record.time,
                updated_at=record.time,
                message_count=0,
                running_turn="",
            )
        )

    def _renamed(self, event: ConversationRenamed, _: Recorded[Any]) -> None:
        self._change(event.conversation_id, title=event.title)

    def _deleted(self, event: ConversationDeleted, _: Recorded[Any]) -> None:
        self._summaries.remove(event.conversation_id)

    def _posted(self, event: MessagePosted, record: Recorded[Any]) -> None:
        self._change(event.conversation_id, added=1, updated_at=record.time)

    def _dropped(self, event: MessagesDropped, record: Recorded[Any]) -> None:
        self._change(event.conversation_id, added=-event.count, updated_at=record.time)

    def _turn_started(self, event: TurnStarted, record: Recorded[Any]) -> None:
        self._change(event.conversation_id, running_turn=event.turn_id, updated_at=record.time)

    def _turn_ended(self, event: TurnFinished | TurnFailed | TurnInterrupted, record: Recorded[Any]) -> None:
        added = (1 if event.content else 0) + (1 if isinstance(event, TurnFailed) else 0)
        self._change(event.conversation_id, added=added, running_turn="", updated_at=record.time)

    def _change(self, conversation_id: str, added: int = 0, **fields: Any) -> None:
        found = self._summaries.get(conversation_id)
        if found:
            self._summaries.put(replace(found, message_count=found.message_count + added, **fields))
