"""What every engine must do, whatever runs the agents.

An engine's own test module makes a class that inherits from `EngineConformance` and says how to make the engine
and a specification of an agent for it. The agent is the scripted one.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import trio

from supervisors.engines.protocol import Endpoint, Engine, EngineError, RunnerSpec
from tests.harness.ports import AGENTS_HOST

PATIENCE_SECONDS = 60
POLITE = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
print("up", flush=True)
time.sleep(600)
"""
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
time.sleep(600)
"""
TALKATIVE = """
import sys
for n in range(30):
    print("out", n)
sys.stdout.flush()
print("err", file=sys.stderr)
"""


def _report(_done: float, _detail: str) -> None:
    pass


async def answers(endpoint: Endpoint) -> bool:
    """Tell whether somebody answers there."""
    async with httpx.AsyncClient(trust_env=False) as client:
        try:
            return (await client.get(f"{endpoint.url}/health")).is_success
        except httpx.HTTPError:
            return False


async def until_answers(endpoint: Endpoint) -> None:
    """Wait until somebody answers."""
    with trio.fail_after(PATIENCE_SECONDS):
        while not await answers(endpoint):
            await trio.sleep(0.02)


class EngineConformance(ABC):
    """The suite."""

    @abstractmethod
    def make_engine(self) -> Engine:
        """Return an engine. Another one made later finds what the first one has started."""

    @abstractmethod
    def make_spec(self, runner_id: str, *, command: tuple[str, ...] | None = None, grace: float = 2) -> RunnerSpec:
        """Return what a runner is made from; `command` replaces the scripted agent's."""

    @asynccontextmanager
    async def running(self, engine: Engine, spec: RunnerSpec) -> AsyncIterator[Endpoint]:
        """Run an agent that answers."""
        await engine.prepare(spec, _report)
        await engine.create(spec)
        try:
            endpoint = await engine.start(spec)
            await until_answers(endpoint)
            yield endpoint
        finally:
            with trio.CancelScope(shield=True):
                await engine.stop(spec.runner_id, spec.backend.stop_grace_seconds)

    async def test_the_engine_can_be_used_here(self) -> None:
        await self.make_engine().check()

    async def test_preparing_names_what_the_runner_is_made_from_and_reports_a_rising_share(self) -> None:
        shares: list[float] = []
        image = await self.make_engine().prepare(self.make_spec("r1"), lambda done, _: shares.append(done))
        assert image
        assert shares == sorted(shares)
        assert all(0 <= s <= 1 for s in shares)

    async def test_a_started_runner_answers_at_its_endpoint(self) -> None:
        engine = self.make_engine()
        async with self.running(engine, self.make_spec("r1")) as endpoint:
            assert endpoint.host == AGENTS_HOST
            assert await answers(endpoint)

    async def test_a_started_runner_is_listed_with_all_that_identifies_it(self) -> None:
        engine, spec = self.make_engine(), self.make_spec("r1")
        async with self.running(engine, spec) as endpoint:
            (found,) = await engine.list()
            assert (found.runner_id, found.name, found.spec_hash) == ("r1", spec.name, spec.spec_hash)
            assert found.running
            assert found.endpoint == endpoint

    async def test_a_created_runner_is_listed_as_not_running(self) -> None:
        engine, spec = self.make_engine(), self.make_spec("r1")
        await engine.prepare(spec, _report)
        await engine.create(spec)
        (found,) = await engine.list()
        assert (found.runner_id, found.running, found.endpoint) == ("r1", False, None)
        await engine.stop("r1", 1)
        assert await engine.list() == []

    async def test_several_runners_run_side_by_side(self) -> None:
        engine = self.make_engine()
        async with (
            self.running(engine, self.make_spec("r1")) as one,
            self.running(engine, self.make_spec("r2")) as two,
        ):
            assert one != two
            assert {f.runner_id for f in await engine.list()} == {"r1", "r2"}
            await engine.stop("r1", 2)
            assert await answers(two)
            assert not await answers(one)

    async def test_another_engine_finds_and_stops_a_runner(self) -> None:
        first, second = self.make_engine(), self.make_engine()
        async with self.running(first, self.make_spec("r1")) as endpoint:
            (found,) = await second.list()
            assert found.endpoint == endpoint
            async with trio.open_nursery() as nursery:
                nursery.start_soon(first.wait_exit, "r1")
                nursery.start_soon(second.wait_exit, "r1")
                await second.stop("r1", 2)
            assert not await answers(endpoint)
            assert await second.list() == []

    async def test_stopping_is_polite_first(self) -> None:
        engine = self.make_engine()
        spec = self.make_spec("r1", command=self.python(POLITE), grace=60)
        await engine.prepare(spec, _report)
        await engine.create(spec)
        await engine.start(spec)
        await self._until_logged(engine, "r1", "up")
        assert (await engine.stop("r1", 60)).code == 7

    async def test_stopping_ends_a_runner_that_does_not_want_to(self) -> None:
        engine = self.make_engine()
        spec = self.make_spec("r1", command=self.python(STUBBORN))
        await engine.prepare(spec, _report)
        await engine.create(spec)
        await engine.start(spec)
        await self._until_logged(engine, "r1", "up")
        ended = await engine.stop("r1", 0.1)
        assert ended.code in {-9, 137}
        assert await engine.list() == []

    async def test_stopping_twice_or_what_is_unknown_does_nothing(self) -> None:
        engine = self.make_engine()
        async with self.running(engine, self.make_spec("r1")):
            await engine.stop("r1", 2)
            assert (await engine.stop("r1", 2)).code is None
        assert (await engine.stop("never heard of", 2)).code is None

    async def test_the_exit_of_a_runner_is_told_with_its_code(self) -> None:
        engine = self.make_engine()
        spec = self.make_spec("r1", command=self.python("raise SystemExit(5)"))
        await engine.prepare(spec, _report)
        await engine.create(spec)
        await engine.start(spec)
        with trio.fail_after(PATIENCE_SECONDS):
            ended = await engine.wait_exit("r1")
        assert ended.code == 5
        assert not ended.out_of_memory
        (found,) = await engine.list()
        assert not found.running
        await engine.stop("r1", 1)

    async def test_waiting_for_the_exit_can_be_cancelled(self) -> None:
        engine = self.make_engine()
        async with self.running(engine, self.make_spec("r1")) as endpoint:
            with trio.move_on_after(0.01) as scope:
                await engine.wait_exit("r1")
            assert scope.cancelled_caught
            assert await answers(endpoint)

    async def test_logs_are_the_last_lines_of_both_outputs(self) -> None:
        engine = self.make_engine()
        spec = self.make_spec("r1", command=self.python(TALKATIVE))
        await engine.prepare(spec, _report)
        await engine.create(spec)
        await engine.start(spec)
        await engine.wait_exit("r1")
        await self._until_logged(engine, "r1", "err")
        await self._until_logged(engine, "r1", "out 29")
        # Two outputs are two pipes: which of two lines comes first in the log is anybody's guess.
        lines = (await engine.logs("r1", 100)).split("\n")
        assert [line for line in lines if line != "err"] == [f"out {n}" for n in range(30)]
        assert (await engine.logs("r1", 3)).split("\n") == lines[-3:]
        await engine.stop("r1", 1)

    async def test_there_are_no_logs_of_what_is_unknown(self) -> None:
        assert await self.make_engine().logs("never heard of", 10) == ""

    async def test_a_command_that_is_not_there_is_refused_in_words(self) -> None:
        engine = self.make_engine()
        spec = self.make_spec("r1", command=("agent-that-nobody-installed",))

        try:
            await engine.prepare(spec, _report)
            await engine.create(spec)
            await engine.start(spec)
        except EngineError as error:
            words = str(error)
        else:  # Something else is started first, which looks for the command and says that there is none.
            words = f"{await engine.wait_exit('r1')}: {await engine.logs('r1', 5)}"
            assert "not found" in words
        assert "agent-that-nobody-installed" in words
        await engine.stop("r1", 1)

    async def test_a_cancelled_start_leaves_nothing_that_stop_does_not_remove(self) -> None:
        engine, spec = self.make_engine(), self.make_spec("r1")
        await engine.prepare(spec, _report)
        await engine.create(spec)
        with trio.CancelScope() as scope:
            scope.cancel()
            await engine.start(spec)
        await engine.stop("r1", 2)
        assert await engine.list() == []

    async def test_statistics_count_calls(self) -> None:
        engine = self.make_engine()
        before = engine.statistics()["calls"]
        await engine.list()
        assert engine.statistics()["calls"] > before

    def python(self, script: str) -> tuple[str, ...]:
        """Return the command that runs a Python script in a runner."""
        return ("python3", "-c", script)

    async def _until_logged(self, engine: Engine, runner_id: str, text: str) -> None:
        with trio.fail_after(PATIENCE_SECONDS):
            while text not in await engine.logs(runner_id, 100):
                await trio.sleep(0.02)
