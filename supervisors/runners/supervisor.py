"""The supervisor of one agent's runner.

Everything that happens to the runner arrives in one mailbox and is decided by one synchronous function over the
table in `domain.runners.machine`; the I/O that a decision calls for runs in child tasks, which report back to the
mailbox. Only the lease of a runner that is ready goes past the mailbox: it is one increment, and since tasks
switch only at awaits, no idle stop can come between the check and the increment.
"""

import math
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import structlog
import trio
from prometheus_client import Counter, Histogram

from domain.errors import DomainError, EngineFailed, StartTimedOut, Unavailable
from domain.event import Event
from domain.ids import new_id
from domain.runners.events import (
    RunnerAdopted,
    RunnerFailed,
    RunnerReady,
    RunnerRequested,
    RunnerStarted,
    RunnerStopped,
    StopReason,
)
from domain.runners.machine import START_STAGES, Effect, Input, State, step
from eventlog.envelope import Origin, StreamAppend
from projections.agents import Agent
from projections.runners import Runner
from supervisors.engines.protocol import Endpoint, EngineError, Exit, Found, RunnerSpec
from supervisors.runners.house import House
from supervisors.runners.probe import answers_ready, wait_until_ready
from supervisors.runners.progress import ProgressBoard, boot_fraction

LOG_TAIL_LINES = 20
_PREVIOUS_BOOT_SECONDS = 5.0

STARTS = Counter("agentstack_runner_starts_total", "Runner starts", ["backend", "outcome"])
START_SECONDS = Histogram(
    "agentstack_runner_start_seconds",
    "Time from asking for a runner until it is ready",
    ["backend"],
    buckets=(0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120),
)

_logger = structlog.get_logger("supervisor")


@dataclass(slots=True, eq=False)
class Run:
    """One start of the runner and what is known of it. `version` is that of its event stream."""

    runner_id: str
    origin: Origin
    key: str
    spec: RunnerSpec | None = None
    endpoint: Endpoint | None = None
    version: int = 0
    requested_at: float = field(default_factory=trio.current_time)
    started_at: float = field(default_factory=time.time)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    start_over: trio.Event = field(default_factory=trio.Event)
    exited: trio.Event = field(default_factory=trio.Event)
    exit: Exit | None = None
    closed: trio.Event = field(default_factory=trio.Event)
    """Nothing of it is left in the engine, and its end is in the log."""
    sessions: set[str] = field(default_factory=set)
    """Sessions that the agent has been asked in."""


@dataclass(slots=True, eq=False)
class Wish:
    """Somebody waits for the runner to be ready, and gets a lease or an error."""

    origin: Origin
    answered: trio.Event = field(default_factory=trio.Event)
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class StopWish:
    """Somebody wants the runner stopped."""

    reason: StopReason
    origin: Origin


@dataclass(frozen=True, slots=True)
class Happened:
    """A child task reports."""

    input: Input
    run: Run
    error: DomainError | None = None


@dataclass(frozen=True, slots=True)
class Nudge:
    """The idle time changed: look again."""


Message = Wish | StopWish | Happened | Nudge


class Lease:
    """Pins a ready runner: while it is held, the runner is not stopped for idling.

    Use as an async context manager. It holds `run`: the endpoint, the key and the sessions of this start.
    """

    def __init__(self, supervisor: "RunnerSupervisor", origin: Origin) -> None:
        self._supervisor = supervisor
        self._origin = origin
        self.run: Run

    async def __aenter__(self) -> Self:
        self.run = await self._supervisor.acquire(self._origin)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._supervisor.release()


class RunnerSupervisor:
    """Owns one agent's runner. Start it with `run`; then `lease`, `stop` and `board` are for everybody."""

    def __init__(self, agent: Agent, house: House) -> None:
        self.agent = agent
        self.state = State.ABSENT
        self.leases = 0
        self.board = ProgressBoard(lambda: house.signals.notify(agent.id))
        self.run_now: Run | None = None
        self.last_active = trio.current_time()
        self.failure: DomainError | None = None
        self._house = house
        self._backend = house.backends.get(agent.backend)
        self._engine = house.engines[self._backend.engine]
        self._send, self._receive = trio.open_memory_channel[Message](math.inf)
        self._wishes: list[Wish] = []
        self._stop_reason: StopReason = "requested"
        self._stop_origin = Origin("system", "")
        self._nursery: trio.Nursery | None = None
        self._log = _logger.bind(agent=agent.id, backend=agent.backend)

    def __repr__(self) -> str:
        return f"<RunnerSupervisor {self.agent.backend}/{self.agent.id} {self.state}, {self.leases} leases>"

    # -- for everybody ------------------------------------------------------------------------------------

    def lease(self, origin: Origin) -> Lease:
        """Return a lease, which starts the runner when it is entered, if need be.

        Entering raises EngineFailed, StartTimedOut or Unavailable when the runner does not come up.
        """
        return Lease(self, origin)

    async def acquire(self, origin: Origin) -> Run:
        """Wait until the runner is ready and pin it. Call `release` afterwards; `lease` does both."""
        if self.state is State.READY and self.run_now:
            self.leases += 1
            return self.run_now
        wish = Wish(origin)
        self._send.send_nowait(wish)
        try:
            await wish.answered.wait()
        except trio.Cancelled:
            if wish.answered.is_set() and wish.error is None:
                self.release()
            elif wish in self._wishes:
                self._wishes.remove(wish)
            raise
        if wish.error:
            raise wish.error
        if self.run_now is None:
            raise Unavailable("The agent stopped as it was being used. Try again.", code="runner_gone")
        return self.run_now

    def release(self) -> None:
        """Give a lease back: when it was the last, the idle clock starts."""
        self.leases -= 1
        self.last_active = trio.current_time()

    async def stop(self, reason: StopReason, origin: Origin) -> bool:
        """Stop the runner, also in the middle of its start. False when there was nothing to stop."""
        run = self.run_now
        if run is None or self.state in {State.ABSENT, State.FAILED}:
            return False
        self._send.send_nowait(StopWish(reason, origin))
        await run.closed.wait()
        return True

    def nudge(self) -> None:
        """Have the idle clock look at its settings again."""
        self._send.send_nowait(Nudge())

    @property
    def idle_seconds(self) -> int:
        """How long the runner may idle; 0 means for ever."""
        return self._house.idle_seconds(self.agent.user_id, self._backend)

    @property
    def idle_for(self) -> float:
        """Seconds since the runner was last used; 0 while it is in use."""
        return 0.0 if self.leases else max(0.0, trio.current_time() - self.last_active)

    @property
    def stops_in(self) -> float | None:
        """Seconds until the runner is stopped for idling, or None when it will not be."""
        if self.state is not State.READY or self.leases or not self.idle_seconds:
            return None
        return max(0.0, self.last_active + self.idle_seconds - trio.current_time())

    # -- the task -----------------------------------------------------------------------------------------

    async def run(self, adopt: tuple[Runner, Endpoint] | None = None) -> None:
        """Supervise until cancelled. `adopt` is a runner of an earlier router that was found serving."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            if adopt:
                self._adopt(*adopt)
            while True:
                message: Message | None = None
                with trio.move_on_at(self._wake_at()):
                    message = await self._receive.receive()
                if message is not None:
                    self._handle(message)
                elif self.stops_in == 0.0:
                    self._stop_reason, self._stop_origin = "idle", Origin("system", "")
                    self._happened(Input.IDLE)

    def _wake_at(self) -> float:
        """Return when to look at the idle clock next: never later than the runner may have to stop."""
        if self.state is not State.READY or not self.idle_seconds:
            return math.inf
        since = trio.current_time() if self.leases else self.last_active
        return since + self.idle_seconds

    def _handle(self, message: Message) -> None:
        match message:
            case Wish():
                self._wishes.append(message)
                if self.state is State.READY:
                    self._grant()
                elif self.state is not State.STOPPING:
                    self._happened(Input.WANTED)
            case StopWish():
                self._stop_reason, self._stop_origin = message.reason, message.origin
                self._happened(Input.STOP)
            case Happened() if message.run is self.run_now:
                self.failure = message.error or self.failure
                self._happened(message.input)
            case _:
                pass  # A nudge, or a report of a run that is over.

    def _happened(self, happened: Input) -> None:
        """Make one transition and begin the I/O that it calls for."""
        before = self.state
        decided = step(before, happened)
        self.state = decided.state
        if self.state is not before:
            self._house.signals.notify(self.agent.id)
            self._log.debug("runner_state", before=str(before), now=str(self.state), because=str(happened))
        for effect in decided.effects:
            self._do(effect)
        if self.state is State.ABSENT and self._wishes:
            self._happened(Input.WANTED)

    def _do(self, effect: Effect) -> None:
        run = self.run_now
        match effect:
            case Effect.BEGIN_START:
                self._begin_start(previous=run)
            case Effect.ANNOUNCE_READY:
                self.last_active = trio.current_time()
                self.board.ready(f"{self._backend.display_name} is ready")
                self._grant()
            case Effect.RECORD_FAILURE:
                self._fail()
            case Effect.CANCEL_START if run:
                run.scope.cancel()
            case Effect.BEGIN_STOP if run:
                self._spawn(self._stop, run)
            case Effect.RECORD_STOP:
                self.board.reset()
                self.run_now = None
            case _:
                raise AssertionError(f"{effect} without a run")

    def _spawn(self, task: Any, *args: Any) -> None:
        if self._nursery is None:
            raise AssertionError("the supervisor is not running")
        self._nursery.start_soon(task, *args)

    def _grant(self) -> None:
        for wish in self._wishes:
            self.leases += 1
            wish.answered.set()
        self._wishes.clear()

    def _refuse(self, error: DomainError) -> None:
        for wish in self._wishes:
            wish.error = error
            wish.answered.set()
        self._wishes.clear()

    # -- starting -----------------------------------------------------------------------------------------

    def _begin_start(self, previous: Run | None) -> None:
        origin = self._wishes[0].origin if self._wishes else Origin("system", "")
        runner_id = new_id(time.time())
        run = Run(runner_id, origin, self._house.maker.key(runner_id))
        self.run_now, self.failure = run, None
        self.board.begin()
        self._spawn(self._start, run, previous)

    async def _start(self, run: Run, previous: Run | None) -> None:
        try:
            with run.scope:
                if previous:
                    await previous.closed.wait()
                try:
                    async with self._house.gate.slot(self._report_place):
                        await self._bring_up(run)
                except DomainError as error:
                    self._tell(Input.START_FAILED, run, error)
                except EngineError as error:
                    self._tell(Input.START_FAILED, run, await self._explain(run, str(error)))
                except Exception:
                    self._log.exception("runner_start_failed", runner=run.runner_id)
                    text = "Something went wrong inside agent-stack; its log has the details."
                    self._tell(Input.START_FAILED, run, await self._explain(run, text))
        finally:
            run.start_over.set()

    async def _bring_up(self, run: Run) -> None:
        """Go through the stages of a start. Whatever it raises is the reason why the start failed."""
        backend, engine = self._backend, self._engine
        user = self._house.views.users.get(self.agent.user_id)
        spec = run.spec = self._house.maker.spec(backend, user, self.agent, run.runner_id)
        await trio.to_thread.run_sync(self._house.maker.ensure_home, backend, spec.home)
        requested = await self._append(
            run,
            RunnerRequested(
                runner_id=run.runner_id,
                agent_id=self.agent.id,
                user_id=user.id,
                backend=backend.name,
                container_name=spec.name,
                engine=engine.name,
                spec_hash=spec.spec_hash,
            ),
        )
        # What follows is our own doing, because of that.
        run.origin = Origin("system", run.origin.correlation, requested)
        await self._advance(run, "Fetching the image")
        image = await engine.prepare(
            spec, lambda done, detail: self.board.report(State.PULLING, done, "Fetching the image", detail)
        )
        await self._advance(run, "Creating the runner")
        await engine.create(spec)
        await self._advance(run, "Starting the runner")
        run.endpoint = await engine.start(spec)
        self._spawn(self._watch, run)
        await self._append(
            run,
            RunnerStarted(
                runner_id=run.runner_id,
                handle=spec.name,
                host=run.endpoint.host,
                port=run.endpoint.port,
                image=image,
            ),
        )
        await self._advance(run, "Waiting for the agent to answer")
        await self._probe(run, run.endpoint)
        seconds = trio.current_time() - run.requested_at
        await self._append(run, RunnerReady(runner_id=run.runner_id, seconds=round(seconds, 3)))
        self._house.boot_seconds[backend.name] = seconds
        START_SECONDS.labels(backend.name).observe(seconds)
        STARTS.labels(backend.name, "ready").inc()
        await self._advance(run, "")

    async def _probe(self, run: Run, endpoint: Endpoint) -> None:
        timeout = self._backend.startup_timeout_seconds or self._house.startup_timeout
        expected = self._house.boot_seconds.get(self._backend.name, _PREVIOUS_BOOT_SECONDS)

        def report(elapsed: float) -> None:
            detail = f"{elapsed:.0f} s of at most {timeout:.0f} s"
            done = boot_fraction(elapsed, expected)
            self.board.report(State.PROBING, done, "Waiting for the agent to answer", detail)

        with trio.move_on_after(timeout) as deadline:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancel_when, run.exited, nursery.cancel_scope)
                await wait_until_ready(self._house.client, self._backend, endpoint, run.key, report)
                nursery.cancel_scope.cancel()
        if run.exit:
            raise await self._explain(run, f"The agent ended while it was starting: {run.exit}.")
        if deadline.cancelled_caught:
            raise await self._explain(
                run, f"The agent was not ready within {timeout:.0f} seconds.", kind=StartTimedOut
            )

    async def _advance(self, run: Run, message: str) -> None:
        """Enter the next stage, unless the start has been cancelled in the meantime."""
        if run.scope.cancel_called:
            await trio.lowlevel.checkpoint_if_cancelled()
        self._happened(Input.ADVANCED)
        if self.state in START_STAGES:
            self.board.report(self.state, 0.0, message)

    def _report_place(self, place: int) -> None:
        self.board.report(State.PREPARING, 0.0, "Waiting for a free place to start", f"place {place} in the queue")

    # -- ending -------------------------------------------------------------------------------------------

    async def _watch(self, run: Run) -> None:
        run.exit = await self._engine.wait_exit(run.runner_id)
        run.exited.set()
        if run is self.run_now and self.state is State.READY:
            self._tell(Input.DIED, run, await self._explain(run, f"The agent ended by itself: {run.exit}."))

    def _fail(self) -> None:
        run, error = self.run_now, self.failure or EngineFailed("The agent could not be started.")
        if run is None:
            raise AssertionError("a failure without a run")
        self.board.failed(error.message)
        self._refuse(error)
        STARTS.labels(self._backend.name, "failed").inc()
        self._spawn(self._clean_up, run, error)

    async def _clean_up(self, run: Run, error: DomainError) -> None:
        try:
            await self._remove(run)
            if run.version:
                await self._append(
                    run,
                    RunnerFailed(
                        runner_id=run.runner_id,
                        stage=error.fields.get("stage", ""),
                        message=error.message,
                        exit_code=run.exit.code if run.exit else None,
                        out_of_memory=run.exit.out_of_memory if run.exit else False,
                        log_tail=error.fields.get("log_tail", ""),
                    ),
                )
        finally:
            run.closed.set()

    async def _stop(self, run: Run) -> None:
        await run.start_over.wait()
        ended = await self._remove(run)
        if run.version:
            event = RunnerStopped(runner_id=run.runner_id, reason=self._stop_reason, exit_code=ended.code)
            await self._append(run, event, self._stop_origin)
        run.closed.set()
        self._tell(Input.STOPPED, run)

    async def _remove(self, run: Run) -> Exit:
        try:
            return await self._engine.stop(run.runner_id, self._backend.stop_grace_seconds)
        except EngineError as error:
            self._log.warning("runner_not_removed", runner=run.runner_id, error=str(error))
            return Exit(None)

    # -- adopting -----------------------------------------------------------------------------------------

    def _adopt(self, runner: Runner, endpoint: Endpoint) -> None:
        run = Run(runner.runner_id, Origin("system", ""), self._house.maker.key(runner.runner_id))
        run.endpoint, run.version, run.started_at = endpoint, runner.version, runner.requested_at
        run.start_over.set()
        self.run_now = run
        self.last_active = trio.current_time()
        self._happened(Input.ADOPTED)
        self.board.ready(f"{self._backend.display_name} is ready")
        self._spawn(self._record_adoption, run)

    async def _record_adoption(self, run: Run) -> None:
        await self._append(run, RunnerAdopted(runner_id=run.runner_id))
        self._spawn(self._watch, run)

    async def recover(self) -> None:
        """Begin again from nothing after a bug in this class ended its task."""
        run, self.run_now, self.state = self.run_now, None, State.ABSENT
        error = Unavailable("The agent's supervisor failed and was restarted. Try again.", code="supervisor_failed")
        self._refuse(error)
        self.board.failed(error.message)
        if run:
            run.start_over.set()
            await self._clean_up(run, error)

    # -- helpers ------------------------------------------------------------------------------------------

    def _tell(self, happened: Input, run: Run, error: DomainError | None = None) -> None:
        self._send.send_nowait(Happened(happened, run, error))

    async def _append(self, run: Run, event: Event, origin: Origin | None = None) -> int:
        """Append to the runner's stream and return the event's position."""
        stream = StreamAppend(f"runner:{run.runner_id}", run.version, [event])
        recorded = await self._house.log.append(stream, origin=origin or run.origin)
        run.version += 1
        return recorded[0].position

    async def _explain(self, run: Run, message: str, *, kind: type[DomainError] = EngineFailed) -> DomainError:
        """Return an error with what the agent printed last, its own key blotted out."""
        try:
            tail = await self._engine.logs(run.runner_id, LOG_TAIL_LINES)
        except EngineError:
            tail = ""
        tail = tail.replace(run.key, "[key]").strip()
        told = f"{message} It printed last:\n{tail}" if tail else f"{message} It printed nothing."
        return kind(told, stage=str(self.state), log_tail=tail)


async def _cancel_when(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


async def still_serving(house: House, runner: Runner, found: Found) -> bool:
    """Tell whether a runner found at start is the one the log knows, as it would be made today, and answers."""
    backend = next((b for b in house.backends if b.name == runner.backend), None)
    agent = house.views.agents.find(runner.agent_id)
    user = house.views.users.find(runner.user_id)
    if not (backend and agent and user and found.running and found.endpoint) or backend.disabled:
        return False
    if found.spec_hash != house.maker.spec_hash(backend, user, agent):
        return False
    return await answers_ready(house.client, backend, found.endpoint, house.maker.key(runner.runner_id))
