"""Everybody's agents."""

from dataclasses import dataclass, replace

from domain.agents.events import AgentChanged, AgentCreated, AgentDeleted
from domain.errors import NotFound
from eventlog.envelope import Recorded
from projections.projection import Projection
from projections.table import Table


@dataclass(frozen=True, slots=True)
class Agent:
    """One user's instance of a backend; `model` is an override or "". Times in unix seconds."""

    id: str
    user_id: str
    backend: str
    name: str
    model: str
    ordinal: int
    created_at: float
    updated_at: float


class Agents(Projection):
    """Who has which agents."""

    name = "agents"
    version = 2

    def __init__(self) -> None:
        super().__init__()
        self._agents: Table[Agent] = Table("agents", Agent, sealed=("name", "model"))
        self._by_user = self._agents.index(lambda a: a.user_id)
        self._by_backend = self._agents.index(lambda a: (a.user_id, a.backend))
        self.tables = (self._agents,)
        self.on = {AgentCreated: self._created, AgentChanged: self._changed, AgentDeleted: self._deleted}

    def find(self, agent_id: str) -> Agent | None:
        """Return an agent, or None."""
        return self._agents.get(agent_id)

    def owned(self, agent_id: str, user_id: str) -> Agent:
        """Return a user's agent. Raises NotFound, also when it is somebody else's."""
        agent = self._agents.get(agent_id)
        if agent is None or agent.user_id != user_id:
            raise NotFound("There is no such agent.")
        return agent

    def of_user(self, user_id: str) -> list[Agent]:
        """Return a user's agents, oldest first."""
        return self._by_user.all(user_id)

    def of_backend(self, user_id: str, backend: str) -> list[Agent]:
        """Return a user's agents of one backend, oldest first."""
        return self._by_backend.all((user_id, backend))

    def first(self, user_id: str, backend: str) -> Agent | None:
        """Return a user's agent of a backend with ordinal 1, or None."""
        return next((a for a in self.of_backend(user_id, backend) if a.ordinal == 1), None)

    def _created(self, event: AgentCreated, record: Recorded[AgentCreated]) -> None:
        self._agents.put(
            Agent(
                id=event.agent_id,
                user_id=event.user_id,
                backend=event.backend,
                name=event.name,
                model=event.model,
                ordinal=event.ordinal,
                created_at=record.time,
                updated_at=record.time,
            )
        )

    def _changed(self, event: AgentChanged, record: Recorded[AgentChanged]) -> None:
        agent = self._agents.get(event.agent_id)
        if agent:
            self._agents.put(replace(agent, name=event.name, model=event.model, updated_at=record.time))

    def _deleted(self, event: AgentDeleted, _: Recorded[AgentDeleted]) -> None:
        self._agents.remove(event.agent_id)
