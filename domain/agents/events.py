"""Events of the stream `agent:<id>`."""

from typing import ClassVar, Self

from domain.event import Event


class AgentCreated(Event):
    """A user got an instance of a backend. `ordinal` counts from 1 within (user, backend)."""

    TOPIC = "agent.created"
    PRIVATE: ClassVar[frozenset[str]] = frozenset({"model", "name"})

    agent_id: str
    user_id: str
    backend: str
    name: str
    model: str
    ordinal: int


class AgentChanged(Event):
    """The agent's name or model override changed; both are given as they are now."""

    TOPIC = "agent.changed"
    PRIVATE: ClassVar[frozenset[str]] = frozenset({"model", "name"})

    agent_id: str
    name: str
    model: str


class AgentDeleted(Event):
    """The agent is gone; its ordinal is free again."""

    TOPIC = "agent.deleted"

    agent_id: str

    @classmethod
    def from_envelope(cls, id_: str, owner: str) -> Self:
        """Return it from the stream's id alone."""
        return cls(agent_id=id_)
