"""Runners as clients see them."""

import time

import trio

from domain.runners.machine import State
from eventlog.envelope import Origin
from projections.agents import Agent
from supervisors.runners.supervisor import RunnerSupervisor
from web.schemas import Answer
from web.services import Services


class RunnerInfo(Answer):
    """A runner of the caller. Times in unix seconds; `stops_in_seconds` is null while it is in use or for ever."""

    backend: str
    agent_id: str
    container_name: str
    host_port: int | None
    started_at: int | None
    last_active: int | None
    idle_seconds: int
    idle_for_seconds: int
    stops_in_seconds: int | None
    running: bool
    state: str


class StartedRunner(Answer):
    """A runner that is ready."""

    agent_id: str
    backend: str
    container_name: str
    host_port: int


def container_name(services: Services, agent: Agent) -> str:
    """Return the name of an agent's runner, whether it runs or not."""
    return services.backends.get(agent.backend).container_name(
        services.views.users.get(agent.user_id).slug, agent.ordinal
    )


def host_port(supervisor: RunnerSupervisor | None) -> int | None:
    """Return the port of a runner that is ready, or None."""
    if supervisor and supervisor.state is State.READY and supervisor.run_now and supervisor.run_now.endpoint:
        return supervisor.run_now.endpoint.port
    return None


def runner_info(services: Services, supervisor: RunnerSupervisor) -> RunnerInfo:
    """Describe the runner of one supervisor."""
    run, running = supervisor.run_now, supervisor.state is State.READY
    stops_in = supervisor.stops_in
    active_ago = trio.current_time() - supervisor.idle.last_active
    return RunnerInfo(
        backend=supervisor.agent.backend,
        agent_id=supervisor.agent.id,
        container_name=container_name(services, supervisor.agent),
        host_port=host_port(supervisor),
        started_at=int(run.started_at) if run else None,
        last_active=int(time.time() - active_ago) if running else None,
        idle_seconds=supervisor.idle.seconds,
        idle_for_seconds=int(supervisor.idle.idle_for) if running else 0,
        stops_in_seconds=None if stops_in is None else int(stops_in),
        running=running,
        state=str(supervisor.state),
    )


async def start_runner(services: Services, agent: Agent, origin: Origin) -> StartedRunner:
    """Start an agent's runner and return when it is ready. Raises what the start failed with."""
    services.backends.enabled(agent.backend)
    supervisor = services.pool.supervise(agent)
    async with supervisor.lease(origin):
        return StartedRunner(
            agent_id=agent.id,
            backend=agent.backend,
            container_name=container_name(services, agent),
            host_port=host_port(supervisor) or 0,
        )


async def stop_runner(services: Services, agent: Agent | None, origin: Origin) -> bool:
    """Stop an agent's runner. False when there is none."""
    supervisor = services.pool.find(agent.id) if agent else None
    return bool(supervisor and await supervisor.stop("requested", origin))
