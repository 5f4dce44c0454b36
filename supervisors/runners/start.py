"""A start, stage by stage."""

from collections.abc import Awaitable, Callable

import structlog
import trio
from prometheus_client import Counter, Histogram

from domain.backends.definition import Backend
from domain.errors import StartTimedOut
from domain.runners.events import RunnerReady, RunnerRequested, RunnerStarted
from domain.runners.machine import State
from eventlog.envelope import Origin
from projections.agents import Agent
from supervisors.engines.protocol import PAGE_HOST, Endpoint
from supervisors.runners.house import House
from supervisors.runners.probe import wait_until_ready
from supervisors.runners.progress import ProgressBoard, boot_fraction
from supervisors.runners.run import Run

_PREVIOUS_BOOT_SECONDS = 5.0

STARTS = Counter("agentstack_runner_starts_total", "Runner starts", ["backend", "outcome"])
SAY_HOST = (
    f"The agent listens on {PAGE_HOST}, as the page may: whoever opens a link to its port shows it their sign-in. "
    "Put {host} into `command` or `extra_env` of its backend, where it takes the address to listen on."
)
START_SECONDS = Histogram(
    "agentstack_runner_start_seconds",
    "Time from asking for a runner until it is ready",
    ["backend"],
    buckets=(0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120),
)

_logger = structlog.get_logger("runners")

Advance = Callable[[str], Awaitable[None]]
"""Enters the next stage, with a line for the progress bar."""


async def bring_up(
    house: House,
    agent: Agent,
    run: Run,
    board: ProgressBoard,
    *,
    advance: Advance,
    on_started: Callable[[], None],
) -> None:
    """Go through the stages of a start. Whatever it raises is the reason why the start failed.

    `on_started` is called once there is something that can die.
    """
    backend = house.backends.get(agent.backend)
    engine = house.engines[backend.engine]
    house.allowance.check_files(agent.user_id)
    await engine.check()  # Before anything is noted: while it is away, an earlier runner may still be up there.
    user = house.views.users.get(agent.user_id)
    spec = run.spec = house.maker.spec(backend, user, agent, run.runner_id)
    await trio.to_thread.run_sync(house.homes.prepare, backend, spec.home, spec.env)
    requested = await run.record(
        house.log,
        RunnerRequested(
            runner_id=run.runner_id,
            agent_id=agent.id,
            user_id=user.id,
            backend=backend.name,
            container_name=spec.name,
            engine=engine.name,
            spec_hash=spec.spec_hash,
        ),
    )
    # What follows is our own doing, because of that.
    run.origin = Origin("system", run.origin.correlation, requested)
    await advance("Fetching the image")
    image = await engine.prepare(
        spec, lambda done, detail: board.report(State.PULLING, done, "Fetching the image", detail)
    )
    await advance("Creating the runner")
    await engine.create(spec)
    await advance("Starting the runner")
    run.endpoint = await engine.start(spec)
    on_started()
    if run.endpoint.host == PAGE_HOST != house.maker.agents_host:
        _logger.warning("agent_on_the_pages_address", backend=backend.name, mend=SAY_HOST)
    await run.record(
        house.log,
        RunnerStarted(
            runner_id=run.runner_id,
            handle=spec.name,
            host=run.endpoint.host,
            port=run.endpoint.port,
            image=image,
        ),
    )
    await advance("Waiting for the agent to answer")
    await _probe(house, backend, run, run.endpoint, board)
    seconds = trio.current_time() - run.requested_at
    await run.record(house.log, RunnerReady(runner_id=run.runner_id, seconds=round(seconds, 3)))
    house.boot_seconds[backend.name] = seconds
    START_SECONDS.labels(backend.name).observe(seconds)
    STARTS.labels(backend.name, "ready").inc()
    run.ready_at = trio.current_time()
    await advance("")


async def _probe(house: House, backend: Backend, run: Run, endpoint: Endpoint, board: ProgressBoard) -> None:
    """Return once the agent is ready. Raises EngineFailed when it ends, StartTimedOut when it takes too long."""
    timeout = backend.startup_timeout_seconds or house.startup_timeout
    expected = house.boot_seconds.get(backend.name, _PREVIOUS_BOOT_SECONDS)

    def report(elapsed: float) -> None:
        detail = f"{elapsed:.0f} s of at most {timeout:.0f} s"
        board.report(State.PROBING, boot_fraction(elapsed, expected), "Waiting for the agent to answer", detail)

    with trio.move_on_after(timeout) as deadline:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_when, run.exited, nursery.cancel_scope)
            await wait_until_ready(house.client, backend, endpoint, run.key, report)
            nursery.cancel_scope.cancel()
    run.refuse_if_over()
    if deadline.cancelled_caught:
        raise StartTimedOut(f"The agent was not ready within {timeout:.0f} seconds.")


async def _cancel_when(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()
