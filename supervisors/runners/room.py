"""How many runners there may be: for one user, and altogether."""

from collections import Counter
from collections.abc import Callable

from domain.errors import TooMany
from projections.agents import Agent
from supervisors.runners.gate import StartGate
from supervisors.runners.run import Run


class Room:
    """A place for each runner, from its start until nothing is left of it. 0 as a limit means none."""

    def __init__(self, *, most: int, most_per_user: int) -> None:
        self._gate = StartGate(most or float("inf"))
        self._most_per_user = most_per_user
        self._of_user: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"<Room {self.statistics()}>"

    def statistics(self) -> dict[str, float]:
        """Return how many places are free, and how many runners wait for one."""
        return self._gate.statistics()

    async def enter(self, agent: Agent, run: Run, on_place: Callable[[int], None]) -> None:
        """Get a place for a runner, when there is one; `on_place` is told the place in the queue.

        Raises TooMany when its user has all the runners that a user may have: nobody but the user can change that.
        """
        if self._most_per_user and self._of_user[agent.user_id] >= self._most_per_user:
            raise TooMany(
                f"You have {self._most_per_user} agents running, which is the most. Stop one, or wait until "
                "one has idled long enough.",
                code="runner_quota",
            )
        self._count(agent, run)
        await self._gate.enter(on_place)
        run.on_closed = lambda: self._leave(agent)

    def take(self, agent: Agent, run: Run) -> None:
        """Give a place to a runner that is up already, whether there is one or not."""
        self._gate.take()
        self._count(agent, run)
        run.on_closed = lambda: self._leave(agent)

    def _count(self, agent: Agent, run: Run) -> None:
        self._of_user[agent.user_id] += 1
        run.on_closed = lambda: self._leave_queue(agent)

    def _leave(self, agent: Agent) -> None:
        self._leave_queue(agent)
        self._gate.leave()

    def _leave_queue(self, agent: Agent) -> None:
        self._of_user[agent.user_id] -= 1
        if not self._of_user[agent.user_id]:
            del self._of_user[agent.user_id]
