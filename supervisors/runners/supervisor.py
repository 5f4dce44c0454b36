"""The supervisor of one agent's runner.

Everything that happens to the runner arrives in one mailbox and is decided by one synchronous function over the
table in `domain.runners.machine`; the I/O that a decision calls for runs in child tasks, which report back to the
mailbox. Only the lease of a runner that is ready goes past the mailbox: it is one increment, and since tasks
switch only at awaits, no idle stop can come between the check and the increment.
"""

import math
import time
from functools import partial
from typing import Any

import structlog
import trio

from domain.errors import OUR_FAULT, DomainError, EngineFailed, Unavailable
from domain.ids import new_id
from domain.runners.events import RunnerAdopted, RunnerFailed, RunnerStopped, StopReason
from domain.runners.machine import START_STAGES, Effect, Input, State, step
from eventlog.envelope import Origin
from projections.agents import Agent
from projections.runners import Runner
from supervisors.engines.protocol import Endpoint, EngineAwayError, EngineError, Exit
from supervisors.runners.failure import Failures, with_log_tail
from supervisors.runners.house import House
from supervisors.runners.idle_clock import IdleClock
from supervisors.runners.lease import Lease
from supervisors.runners.mailbox import Happened, Message, Nudge, Renewal, StopWish, Wish, drained
from supervisors.runners.progress import ProgressBoard
from supervisors.runners.run import Run
from supervisors.runners.start import STARTS, bring_up

_logger = structlog.get_logger("supervisor")


class RunnerSupervisor:
    """Owns one agent's runner. Start it with `run`; then `lease`, `stop` and `board` are for everybody."""

    def __init__(self, agent: Agent, house: House) -> None:
        self.agent = agent
        self.state = State.ABSENT
        self.board = ProgressBoard(lambda: house.signals.notify(agent.id))
        self.run_now: Run | None = None
        self.failure: DomainError | None = None
        self._house = house
        self.idle = IdleClock(lambda: house.idle_seconds(agent.user_id, self._backend))
        self._backend = house.backends.get(agent.backend)
        self.engine = house.engines[self._backend.engine]
        self._send, self._receive = trio.open_memory_channel[Message](math.inf)
        self._wishes: list[Wish] = []
        self._stop_reason: StopReason = "requested"
        self._stop_origin = Origin("system", "")
        self._nursery: trio.Nursery | None = None
        self._ended = False
        self._failures = Failures(self._backend.display_name)
        self._log = _logger.bind(agent=agent.id, backend=agent.backend)

    def __repr__(self) -> str:
        return f"<RunnerSupervisor {self.agent.backend}/{self.agent.id} {self.state}, {self.idle.leases} leases>"

    # -- for everybody ------------------------------------------------------------------------------------

    def lease(self, origin: Origin) -> Lease:
        """Return a lease, which starts the runner when it is entered, if need be.

        Entering raises EngineFailed, StartTimedOut or Unavailable when the runner does not come up.
        """
        return Lease(self, origin)

    async def acquire(self, origin: Origin) -> Run:
        """Wait until the runner is ready and pin it. Call `release` afterwards; `lease` does both."""
        if self.state is State.READY and self.run_now and not self.run_now.stale:
            self.idle.hold()
            return self.run_now
        if self._ended:
            raise _gone()
        wish = Wish(origin)
        self._send.send_nowait(wish)
        try:
            await wish.answered.wait()
        except trio.Cancelled:
            if wish.run:
                self.release()
            wish.withdrawn = True
            raise
        if wish.run is None:
            raise wish.error or _gone()
        return wish.run

    def release(self) -> None:
        """Give a lease back: when it was the last, the idle clock starts."""
        self.idle.give_back()
        if not self.idle.leases and self.run_now and self.run_now.stale:
            self._send.send_nowait(Renewal(self.run_now, at_once=True))

    async def stop(self, reason: StopReason, origin: Origin) -> bool:
        """Stop the runner, also in the middle of its start. False when there was nothing to stop."""
        run = self.run_now
        if self.state is State.FAILED:
            self._failures.clear()  # Whoever stops it has seen the failure: it may be started again at once.
        if run is None or self._ended or self.state in {State.ABSENT, State.FAILED}:
            return False
        self._send.send_nowait(StopWish(reason, origin))
        await run.closed.wait()
        return True

    def renew(self, *, at_once: bool) -> None:
        """Have a fresh runner for the next who wants one; what runs now ends once it is not used, or at once."""
        self._failures.clear()
        if self.run_now and not self._ended:
            self._send.send_nowait(Renewal(self.run_now, at_once))

    def nudge(self) -> None:
        """Have the idle clock look at its settings again."""
        self._send.send_nowait(Nudge())

    @property
    def why_failed(self) -> str:
        """Why the runner is not there, in words; "" unless it has failed."""
        return self.board.current.message if self.state is State.FAILED else ""

    @property
    def stops_in(self) -> float | None:
        """Seconds until the runner is stopped for idling, or None when it will not be."""
        return self.idle.left if self.state is State.READY else None

    # -- the task -----------------------------------------------------------------------------------------

    async def run(self, adopt: tuple[Runner, Endpoint] | None = None) -> None:
        """Supervise until cancelled. `adopt` is a runner of an earlier router that was found serving."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            if adopt:
                self._adopt(*adopt)
            while True:
                message: Message | None = None
                with trio.move_on_at(self.idle.look_at if self.state is State.READY else math.inf):
                    message = await self._receive.receive()
                if message is not None:
                    self._handle(message)
                elif self.stops_in == 0.0:
                    self._stop_reason, self._stop_origin = "idle", Origin("system", "")
                    self._happened(Input.IDLE)

    def _handle(self, message: Message) -> None:
        match message:
            case Wish() if not message.withdrawn:
                self._wishes.append(message)
                if self.state is State.READY:
                    if self.run_now and not self.run_now.stale:  # Else it waits for the next one.
                        self._grant()
                elif self.state is State.FAILED and (too_soon := self._failures.refusal()):
                    self._refuse(too_soon)
                elif self.state is not State.STOPPING:
                    self._happened(Input.WANTED)
            case StopWish():
                # Who waits for the start that is being stopped must not start it again.
                self._refuse(Unavailable("The start of the agent was stopped. Try again.", code="start_stopped"))
                self._stop_reason, self._stop_origin = message.reason, message.origin
                self._happened(Input.STOP)
            case Renewal() if message.run is self.run_now and self.state in (*START_STAGES, State.READY):
                if self.state is State.READY and self.idle.leases and not message.at_once:
                    message.run.stale = True
                else:
                    self._stop_reason, self._stop_origin = "keys_changed", Origin("system", "")
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
        if self.state is State.ABSENT and any(not w.withdrawn for w in self._wishes):
            self._happened(Input.WANTED)

    def _do(self, effect: Effect) -> None:
        run = self.run_now
        match effect:
            case Effect.BEGIN_START:
                self._begin_start(previous=run)
            case Effect.ANNOUNCE_READY:
                self.idle.restart()
                self.board.ready(f"{self._backend.display_name} is ready")
                self._grant()
                self.nudge()  # The start runs beside the mailbox, which sleeps: the idle clock begins now.
            case Effect.RECORD_FAILURE:
                self._fail()
            case Effect.CANCEL_START if run:
                run.scope.cancel()
            case Effect.BEGIN_STOP if run:
                self._spawn(self._stop, run)
            case Effect.RECORD_STOP:
                self._failures.clear()
                if not any(not w.withdrawn for w in self._wishes):  # Else the next start begins at once.
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
            if not wish.withdrawn:
                self.idle.hold()
                wish.run = self.run_now
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
        run = Run(runner_id, origin, self._house.maker.key(runner_id), self.agent.user_id)
        self.run_now, self.failure = run, None
        self.board.begin()
        self._spawn(self._start, run, previous)

    async def _start(self, run: Run, previous: Run | None) -> None:
        try:
            with run.scope:
                if previous:
                    await previous.closed.wait()
                try:
                    await self._house.room.enter(self.agent, run, self._report_room)
                    async with self._house.gate.slot(self._report_place):
                        await bring_up(
                            self._house,
                            self.agent,
                            run,
                            self.board,
                            advance=partial(self._advance, run),
                            on_started=partial(self._spawn, self._watch, run),
                        )
                except DomainError as error:
                    await self._give_up(run, error)
                except EngineAwayError as error:
                    await self._give_up(run, Unavailable(str(error), code="engine_away"))
                except EngineError as error:
                    await self._give_up(run, EngineFailed(str(error)))
                except Exception:
                    self._log.exception("runner_start_failed", runner=run.runner_id)
                    await self._give_up(run, EngineFailed(OUR_FAULT))
        finally:
            run.start_over.set()

    async def _give_up(self, run: Run, error: DomainError) -> None:
        self._tell(Input.START_FAILED, run, await with_log_tail(self.engine, run, self.state, error))

    async def _advance(self, run: Run, message: str) -> None:
        """Enter the next stage, unless the start has been cancelled in the meantime."""
        if run.scope.cancel_called:
            await trio.lowlevel.checkpoint_if_cancelled()
        run.refuse_if_over()
        self._happened(Input.ADVANCED)
        if self.state in START_STAGES:
            self.board.report(self.state, 0.0, message)

    def _report_place(self, place: int) -> None:
        self.board.report(State.PREPARING, 0.0, "Waiting for a free place to start", f"place {place} in the queue")

    def _report_room(self, place: int) -> None:
        self.board.report(State.PREPARING, 0.0, "Waiting until another agent stops", f"place {place} in the queue")

    # -- ending -------------------------------------------------------------------------------------------

    async def _watch(self, run: Run) -> None:
        run.exit = await self.engine.wait_exit(run.runner_id)
        run.exited.set()
        if run is self.run_now and self.state is State.READY:
            # At once, not by the mailbox: from here on nobody may be given this runner.
            self._happened(Input.DIED)

    def _fail(self) -> None:
        run = self.run_now
        if run is None:
            raise AssertionError("a failure without a run")
        if self.failure:
            STARTS.labels(self._backend.name, "failed").inc()
        error = self.failure or EngineFailed(f"The agent ended by itself: {run.exit}.")
        self._failures.add(error, ready_at=run.ready_at)
        self.board.failed(error.message)
        self._refuse(error)
        self._spawn(self._clean_up, run, error)

    async def _clean_up(self, run: Run, error: DomainError) -> None:
        if "log_tail" not in error.fields:
            error = await with_log_tail(self.engine, run, State.READY, error)
            if run is self.run_now and self.state is State.FAILED:
                self.board.failed(error.message)
        try:
            await self._remove(run)
            if run.version:
                await run.record(
                    self._house.log,
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
            run.close()

    async def _stop(self, run: Run) -> None:
        await run.start_over.wait()
        ended = await self._remove(run)
        if run.version:
            event = RunnerStopped(runner_id=run.runner_id, reason=self._stop_reason, exit_code=ended.code)
            await run.record(self._house.log, event, self._stop_origin)
        run.close()
        self._tell(Input.STOPPED, run)

    async def _remove(self, run: Run) -> Exit:
        try:
            return await self.engine.stop(run.runner_id, self._backend.stop_grace_seconds)
        except EngineError as error:
            self._log.warning("runner_not_removed", runner=run.runner_id, error=str(error))
            return Exit(None)

    # -- adopting -----------------------------------------------------------------------------------------

    def adopt(self, runner: Runner, endpoint: Endpoint) -> bool:
        """Take over a runner that was found serving. False when there is another one already."""
        over = self.run_now is None or self.run_now.closed.is_set()
        if self.state not in {State.ABSENT, State.FAILED} or not over or self._nursery is None:
            return False
        self._failures.clear()
        self._adopt(runner, endpoint)
        return True

    def _adopt(self, runner: Runner, endpoint: Endpoint) -> None:
        key = self._house.maker.key(runner.runner_id)
        run = Run(runner.runner_id, Origin("system", ""), key, self.agent.user_id)
        self._house.room.take(self.agent, run)
        run.endpoint, run.version, run.started_at = endpoint, runner.version, runner.requested_at
        run.ready_at = trio.current_time()
        user = self._house.views.users.get(self.agent.user_id)
        run.spec = self._house.maker.spec(self._backend, user, self.agent, runner.runner_id)
        run.start_over.set()
        self.run_now, self.failure = run, None
        self.idle.restart()
        self._happened(Input.ADOPTED)
        self.board.ready(f"{self._backend.display_name} is ready")
        self._spawn(self._record_adoption, run)

    async def _record_adoption(self, run: Run) -> None:
        await run.record(self._house.log, RunnerAdopted(runner_id=run.runner_id))
        self._spawn(self._watch, run)

    def end(self) -> None:
        """Note that the task is over for good: nobody may wait for it any longer."""
        self._ended = True
        self._wishes += [m for m in drained(self._receive) if isinstance(m, Wish)]
        self._refuse(_gone())
        if self.run_now:
            self.run_now.close()

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


def _gone() -> Unavailable:
    return Unavailable("This agent was deleted, or agent-stack is shutting down.", code="agent_gone")
