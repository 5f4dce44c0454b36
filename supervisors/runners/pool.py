"""All runner supervisors, and making them agree with the engines at start."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import structlog
import trio

from domain.errors import Unavailable
from domain.runners.events import RunnerStopped, RunnerVanished
from domain.runners.machine import State
from eventlog.envelope import Origin
from projections.agents import Agent
from projections.runners import Runner
from supervisors.commands.stream_end import StreamEnds
from supervisors.engines.protocol import Endpoint, Engine, EngineError, Found
from supervisors.runners.house import House
from supervisors.runners.probe import answers_ready
from supervisors.runners.supervisor import RunnerSupervisor

_logger = structlog.get_logger("supervisors")
_RESTART_PAUSE = 1.0
_ORPHAN_GRACE = 5.0


class RunnerPool:
    """One supervisor for every agent that was ever wanted since the router started."""

    def __init__(self, house: House, nursery: trio.Nursery) -> None:
        self.house = house
        self._nursery = nursery
        self._ends = StreamEnds(house.log)
        self._supervisors: dict[str, RunnerSupervisor] = {}
        self._scopes: dict[str, trio.CancelScope] = {}
        self._refusal: Unavailable | None = None

    def __repr__(self) -> str:
        return f"<RunnerPool {self.statistics()}>"

    def statistics(self) -> dict[str, int]:
        """Return how many runners are in each state."""
        counts = dict.fromkeys(map(str, State), 0)
        for supervisor in self._supervisors.values():
            counts[supervisor.state] += 1
        return counts

    def ready_by_backend(self) -> dict[str, int]:
        """Return how many runners of each backend are ready."""
        counts = {b.name: 0 for b in self.house.backends}
        for supervisor in self._supervisors.values():
            counts[supervisor.agent.backend] += supervisor.state is State.READY
        return counts

    def all(self) -> list[RunnerSupervisor]:
        """Return every supervisor."""
        return list(self._supervisors.values())

    def find(self, agent_id: str) -> RunnerSupervisor | None:
        """Return an agent's supervisor if it has one yet."""
        return self._supervisors.get(agent_id)

    def supervise(self, agent: Agent) -> RunnerSupervisor:
        """Return an agent's supervisor. Raises Unavailable while the router shuts down."""
        supervisor = self._supervisors.get(agent.id)
        if supervisor is None:
            supervisor = self._add(agent)
        elif supervisor.agent is not agent:
            supervisor.agent = agent  # Renamed, or another model.
        return supervisor

    async def dismiss(self, agent_id: str, origin: Origin) -> None:
        """Stop a deleted agent's runner and end its supervisor."""
        supervisor = self._supervisors.get(agent_id)
        if supervisor:
            await supervisor.stop("agent_deleted", origin)
            self._supervisors.pop(agent_id, None)
            scope = self._scopes.pop(agent_id, None)
            if scope:  # Else somebody else has dismissed it meanwhile.
                scope.cancel()

    def renew_changed(self, *, at_once: bool) -> None:
        """Have every runner renewed that was made with other values than those that count for its user now."""
        for supervisor in self._supervisors.values():
            spec = supervisor.run_now.spec if supervisor.run_now else None
            if spec is None:
                continue
            if spec.values != self.house.maker.effective(spec.backend, spec.user_id):
                supervisor.renew(at_once=at_once)

    def stop_over_allowance(self, user_id: str) -> None:
        """Stop the runners of a user whose agents have too many files; those in use when there are far too many."""
        allowance = self.house.allowance
        if allowance.is_over(user_id):
            far, origin = allowance.is_over(user_id, far=True), Origin("system", "files_full")
            for supervisor in self._supervisors.values():
                if supervisor.agent.user_id == user_id and (far or not supervisor.idle.leases):
                    self._nursery.start_soon(supervisor.stop, "files_full", origin)

    def refuse(self, message: str, *, code: str) -> None:
        """Start nothing from here on, and say why."""
        self._refusal = Unavailable(message, code=code)

    async def begin(self) -> None:
        """Make the log and the engines agree, and stay in touch with the engines from then on."""
        names = {b.engine for b in self.house.backends} | {r.engine for r in self.house.views.runners.alive()}
        in_use = [engine for name, engine in self.house.engines.items() if name in names]
        for engine in in_use:
            self._nursery.start_soon(engine.run, partial(self.reconcile, engine))
        for engine in in_use:
            await self.reconcile(engine)

    async def reconcile(self, engine: Engine) -> None:
        """Make the log and an engine agree, after a restart of the router or when the engine is back.

        What a supervisor holds is its own business. Of the rest there are four cases. A runner that is in both,
        unchanged and answering, is adopted. One that is in both but not so is removed. One that only the log knows,
        or that has ended, has vanished. One that only the engine knows is an orphan.
        """
        origin = Origin("system", f"reconcile-{uuid.uuid4().hex[:12]}")
        try:
            found = await engine.list()
        except EngineError as error:
            # Unknown is not vanished: it is looked at when the engine is back.
            _logger.warning("engine_unavailable", engine=engine.name, error=str(error))
            return
        runs = [s.run_now for s in self._supervisors.values() if s.run_now]
        held = {run.runner_id for run in runs if not run.closed.is_set()}
        alive = {
            r.runner_id: r
            for r in self.house.views.runners.alive()
            if r.engine == engine.name and r.runner_id not in held
        }
        async with trio.open_nursery() as nursery:
            for one in found:
                if one.runner_id not in held:
                    nursery.start_soon(self._settle, alive.pop(one.runner_id, None), one, engine, origin)
        for runner in alive.values():
            _logger.info("runner_vanished", runner=runner.runner_id)
            with _one_alone(runner.runner_id):
                await self._close(runner, RunnerVanished(runner_id=runner.runner_id), origin)

    async def aclose(self, *, stop_runners: bool) -> None:
        """Take no more starts; stop what is starting and, if asked, what is ready."""
        self.refuse("agent-stack is shutting down. Try again in a moment.", code="shutting_down")
        origin = Origin("system", "shutdown")
        async with trio.open_nursery() as nursery:
            for supervisor in self._supervisors.values():
                if stop_runners or supervisor.state is not State.READY:
                    nursery.start_soon(supervisor.stop, "shutdown", origin)

    async def _settle(self, runner: Runner | None, found: Found, engine: Engine, origin: Origin) -> None:
        with _one_alone(found.runner_id):
            await self._adopt_or_remove(runner, found, engine, origin)

    async def _adopt_or_remove(self, runner: Runner | None, found: Found, engine: Engine, origin: Origin) -> None:
        if runner and found.endpoint and await _still_serving(self.house, runner, found):
            agent = self.house.views.agents.find(runner.agent_id)
            if agent and self._adopt(agent, runner, found.endpoint):
                _logger.info("runner_adopted", runner=runner.runner_id, backend=runner.backend)
                return
        _logger.info("runner_removed", runner=found.runner_id, known=runner is not None)
        try:
            await engine.stop(found.runner_id, _ORPHAN_GRACE)
        except EngineError as error:
            _logger.warning("runner_not_removed", runner=found.runner_id, error=str(error))
        if runner and found.running:
            await self._close(runner, RunnerStopped(runner_id=runner.runner_id, reason="orphaned"), origin)
        elif runner:
            await self._close(runner, RunnerVanished(runner_id=runner.runner_id), origin)

    def _adopt(self, agent: Agent, runner: Runner, endpoint: Endpoint) -> bool:
        supervisor = self._supervisors.get(agent.id)
        if supervisor:
            return supervisor.adopt(runner, endpoint)
        self._add(agent, (runner, endpoint))
        return True

    async def _close(self, runner: Runner, event: RunnerVanished | RunnerStopped, origin: Origin) -> None:
        await self._ends.append(f"runner:{runner.runner_id}", event, origin, owner=runner.user_id)

    def _add(self, agent: Agent, adopt: tuple[Runner, Endpoint] | None = None) -> RunnerSupervisor:
        if self._refusal:
            raise self._refusal
        supervisor = self._supervisors[agent.id] = RunnerSupervisor(agent, self.house)
        scope = self._scopes[agent.id] = trio.CancelScope()
        self._nursery.start_soon(self._keep_running, supervisor, scope, adopt)
        return supervisor

    async def _keep_running(
        self, supervisor: RunnerSupervisor, scope: trio.CancelScope, adopt: tuple[Runner, Endpoint] | None
    ) -> None:
        """Run a supervisor; one that fails is a bug, which must cost no other runner anything."""
        try:
            with scope:
                while True:
                    try:
                        await supervisor.run(adopt)
                    except Exception:
                        _logger.exception("supervisor_failed", supervisor=repr(supervisor))
                        await _recovered(supervisor)
                    adopt = None
                    await trio.sleep(_RESTART_PAUSE)
        finally:
            supervisor.end()


@contextmanager
def _one_alone(runner_id: str) -> Iterator[None]:
    """Log what goes wrong with one runner: it is no reason not to look after the others."""
    try:
        yield
    except Exception:
        _logger.exception("runner_not_settled", runner=runner_id)


async def _recovered(supervisor: RunnerSupervisor) -> None:
    """Have a supervisor begin again. That the log refuses even this is no reason to stop all the others."""
    try:
        await supervisor.recover()
    except Exception:
        _logger.exception("supervisor_not_recovered", supervisor=repr(supervisor))


async def _still_serving(house: House, runner: Runner, found: Found) -> bool:
    """Tell whether a runner found at start is the one the log knows, as it would be made today, and answers."""
    backend = next((b for b in house.backends if b.name == runner.backend), None)
    agent = house.views.agents.find(runner.agent_id)
    user = house.views.users.find(runner.user_id)
    if not (backend and agent and user and found.running and found.endpoint) or backend.disabled:
        return False
    if found.spec_hash != house.maker.spec_hash(backend, user, agent):
        return False
    return await answers_ready(house.client, backend, found.endpoint, house.maker.key(runner.runner_id))
