"""What all runner supervisors share."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx

from domain.backends.definition import Backend
from domain.backends.registry import Backends
from domain.errors import Unavailable
from domain.runners.idle import clamp_idle
from eventlog.log import EventLog
from projections.agents import Agent
from projections.views import Views
from supervisors.allowance import Allowance
from supervisors.engines.protocol import Engine
from supervisors.homes.home import Homes
from supervisors.homes.removal import remove
from supervisors.runners.gate import StartGate
from supervisors.runners.identity import RunnerMaker
from supervisors.runners.room import Room
from supervisors.signals import Signals


@dataclass(frozen=True, slots=True)
class House:
    """The log, the views, the engines and the limits that supervisors work with. Times in seconds."""

    log: EventLog
    views: Views
    backends: Backends
    engines: Mapping[str, Engine]
    maker: RunnerMaker
    homes: Homes
    gate: StartGate
    room: Room
    allowance: Allowance
    client: httpx.AsyncClient
    signals: Signals
    startup_timeout: float
    default_idle: int
    least_idle: int
    most_idle: int
    boot_seconds: dict[str, float] = field(default_factory=dict)
    """What the last boot of each backend took: the measure for the next progress bar."""

    async def remove_home(self, agent: Agent) -> None:
        """Remove the files of an agent that is deleted and whose runner is gone. Raises Unavailable."""
        user = self.views.users.get(agent.user_id)
        home = self.maker.home(self.backends.get(agent.backend), user, agent)
        problem = await remove(home)
        await self.allowance.measure_again(user)
        if problem:
            raise Unavailable(
                f"The agent is deleted, but its files could not be removed ({problem}). Ask the admin to remove "
                f"the folder {home.name} of {user.slug}.",
                code="home_not_removed",
            )

    def idle_seconds(self, user_id: str, backend: Backend) -> int:
        """Return how long a user's runner of a backend may idle; 0 means for ever."""
        chosen = self.views.users.idle_choice(user_id, backend.name)
        return self.default_idle_seconds(backend) if chosen is None else chosen

    def default_idle_seconds(self, backend: Backend) -> int:
        """Return how long a runner of a backend may idle when its user has not chosen."""
        return self.default_idle if backend.default_idle_seconds is None else backend.default_idle_seconds

    def clamp_idle(self, seconds: int) -> int:
        """Return the idle time to store for what a user asked."""
        return clamp_idle(seconds, least=self.least_idle, most=self.most_idle)
