"""The newest runner of every agent."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from domain.agents.events import AgentDeleted
from domain.runners.events import (
    RunnerAdopted,
    RunnerFailed,
    RunnerReady,
    RunnerRequested,
    RunnerStarted,
    RunnerStopped,
    RunnerVanished,
)
from eventlog.envelope import Recorded
from projections.projection import Projection
from projections.table import Table


@dataclass(frozen=True, slots=True)
class Runner:
    """The last start of one agent. `status` is requested, started, ready, failed or stopped."""

    agent_id: str
    runner_id: str
    user_id: str
    backend: str
    container_name: str
    engine: str
    spec_hash: str
    status: str
    handle: str
    host: str
    port: int
    image: str
    requested_at: float
    ready_at: float
    agent_deleted: bool
    version: int
    """Version of the stream `runner:<runner id>`, for whoever appends next."""

    @property
    def alive(self) -> bool:
        """Whether the log says that it runs or is about to."""
        return self.status in {"requested", "started", "ready"}


class Runners(Projection):
    """What runs, as far as the log knows; what runs just now is the supervisors' knowledge."""

    name = "runners"

    def __init__(self) -> None:
        super().__init__()
        self._runners: Table[Runner] = Table("runners", Runner)
        self._by_runner = self._runners.index(lambda r: r.runner_id)
        self.tables = (self._runners,)
        self.on = {
            RunnerRequested: self._requested,
            RunnerStarted: self._change(
                lambda e, _: {
                    "status": "started",
                    "handle": e.handle,
                    "host": e.host,
                    "port": e.port,
                    "image": e.image,
                }
            ),
            RunnerReady: self._change(lambda _, r: {"status": "ready", "ready_at": r.time}),
            RunnerAdopted: self._change(lambda _, r: {"status": "ready", "ready_at": r.time}),
            RunnerFailed: self._change(lambda *_: {"status": "failed"}),
            RunnerStopped: self._change(lambda *_: {"status": "stopped"}),
            RunnerVanished: self._change(lambda *_: {"status": "stopped"}),
            AgentDeleted: self._agent_deleted,
        }

    def of_agent(self, agent_id: str) -> Runner | None:
        """Return an agent's newest runner, or None."""
        return self._runners.get(agent_id)

    def alive(self) -> list[Runner]:
        """Return every runner that has not ended, as far as the log knows."""
        return [r for r in self._runners if r.alive]

    def _requested(self, event: RunnerRequested, record: Recorded[RunnerRequested]) -> None:
        self._runners.put(
            Runner(
                agent_id=event.agent_id,
                runner_id=event.runner_id,
                user_id=event.user_id,
                backend=event.backend,
                container_name=event.container_name,
                engine=event.engine,
                spec_hash=event.spec_hash,
                status="requested",
                handle="",
                host="",
                port=0,
                image="",
                requested_at=record.time,
                ready_at=0.0,
                agent_deleted=False,
                version=record.version,
            )
        )

    def _change(
        self, fields: Callable[[Any, Recorded[Any]], dict[str, Any]]
    ) -> Callable[[Any, Recorded[Any]], None]:
        def handle(event: Any, record: Recorded[Any]) -> None:
            runner = self._by_runner.one(event.runner_id)
            if runner:
                self._keep(replace(runner, version=record.version, **fields(event, record)))

        return handle

    def _agent_deleted(self, event: AgentDeleted, _: Recorded[AgentDeleted]) -> None:
        runner = self._runners.get(event.agent_id)
        if runner:
            self._keep(replace(runner, agent_deleted=True))

    def _keep(self, runner: Runner) -> None:
        """Keep a row, unless it is of a deleted agent and nothing of it runs any more."""
        if runner.agent_deleted and not runner.alive:
            self._runners.remove(runner.agent_id)
        else:
            self._runners.put(runner)
