"""Making, changing and deleting agents."""

import time

import trio

from domain.agents.events import AgentChanged, AgentCreated, AgentDeleted
from domain.agents.rules import check_model, check_name, free_ordinal
from domain.backends.definition import Backend
from domain.event import Event
from domain.ids import new_id
from eventlog.envelope import Origin
from eventlog.log import EventLog
from eventlog.repository import Repository
from projections.agents import Agent
from projections.views import Views


class AgentCommands:
    """Commands on agents. One user's agents are made one after the other, so ordinals never clash."""

    def __init__(self, log: EventLog, views: Views, *, most: int) -> None:
        self._views = views
        self._repository: Repository[None] = Repository(log, "agent", None, lambda state, _event, _at: state)
        self._most = most
        self._making: dict[str, trio.Lock] = {}

    async def create(self, user_id: str, backend: Backend, name: str, model: str, origin: Origin) -> Agent:
        """Make an agent with the smallest free ordinal. Raises Conflict or Unprocessable."""
        async with self._making.setdefault(user_id, trio.Lock()):
            return await self._create(user_id, backend, name, model, origin)

    async def first(self, user_id: str, backend: Backend, origin: Origin) -> Agent:
        """Return the user's first agent of a backend, made on first use."""
        found = self._views.agents.first(user_id, backend.name)
        if found:
            return found
        async with self._making.setdefault(user_id, trio.Lock()):
            found = self._views.agents.first(user_id, backend.name)
            return found or await self._create(user_id, backend, backend.display_name, "", origin)

    async def change(self, agent: Agent, name: str | None, model: str | None, origin: Origin) -> Agent:
        """Rename an agent or override its model; None leaves a value as it is."""
        event = AgentChanged(
            agent_id=agent.id,
            name=agent.name if name is None else check_name(name),
            model=agent.model if model is None else check_model(model),
        )
        if (event.name, event.model) != (agent.name, agent.model):
            await self._append(agent.id, event, origin, agent.user_id)
        return self._views.agents.owned(agent.id, agent.user_id)

    async def delete(self, agent: Agent, origin: Origin) -> None:
        """Delete an agent. Its conversations and its runner are the caller's to end first."""
        await self._append(agent.id, AgentDeleted(agent_id=agent.id), origin, agent.user_id)

    async def _create(self, user_id: str, backend: Backend, name: str, model: str, origin: Origin) -> Agent:
        taken = [a.ordinal for a in self._views.agents.of_backend(user_id, backend.name)]
        event = AgentCreated(
            agent_id=new_id(time.time()),
            user_id=user_id,
            backend=backend.name,
            name=check_name(name),
            model=check_model(model),
            ordinal=free_ordinal(taken, most=self._most),
        )
        await self._append(event.agent_id, event, origin, user_id)
        return self._views.agents.owned(event.agent_id, user_id)

    async def _append(self, agent_id: str, event: Event, origin: Origin, user_id: str) -> None:
        await self._repository.execute(agent_id, lambda _: [event], origin, owner=user_id)
