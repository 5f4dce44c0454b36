"""The process engine."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from domain.backends.definition import Backend
from supervisors.engines.process import ProcessEngine
from supervisors.engines.protocol import EngineError, RunnerSpec
from supervisors.ports import PortPool
from tests.harness.ports import AGENTS_HOST, free_port
from tests.harness.server import ROOT
from tests.supervisors.engine_conformance import EngineConformance, answers, until_answers


async def _never() -> None:
    raise AssertionError("the kernel is never away")


class TestProcessEngine(EngineConformance):
    """It passes the suite, and more."""

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path
        self.port = free_port()

    def make_engine(self, last: int = 20) -> ProcessEngine:
        ports = PortPool(self.port, min(self.port + last, 65535), [AGENTS_HOST])
        return ProcessEngine(self.folder / "runners", ports, AGENTS_HOST)

    def make_spec(self, runner_id: str, *, command: tuple[str, ...] | None = None, grace: float = 2) -> RunnerSpec:
        home = self.folder / f"home-{runner_id}"
        home.mkdir(exist_ok=True)
        return RunnerSpec(
            runner_id=runner_id,
            agent_id=f"agent-{runner_id}",
            user_id="user",
            user_slug="user",
            backend=Backend.model_validate(
                {
                    "name": "scripted",
                    "display_name": "Scripted",
                    "engine": "process",
                    "command": ["scripted"],
                    "stop_grace_seconds": grace,
                }
            ),
            name=f"scripted-{runner_id}",
            command=command or (sys.executable, "-m", "tests.agents.scripted"),
            home=home,
            spec_hash="hash",
            env={
                "SCRIPTED_HOST": "{host}",
                "SCRIPTED_PORT": "{port}",
                "SCRIPTED_KEY": "key",
                "SCRIPTED_FOLDER": str(home),
                "PYTHONPATH": str(ROOT),
            },
        )

    def python(self, script: str) -> tuple[str, ...]:
        return (sys.executable, "-c", script)

    async def test_a_runner_that_cannot_be_told_where_to_listen_is_asked_at_the_usual_address(self) -> None:
        spec = self.make_spec("r1")
        deaf = replace(spec, env={**spec.env, "SCRIPTED_HOST": "127.0.0.1"})
        async with self.running(self.make_engine(), deaf) as endpoint:
            assert endpoint.host == "127.0.0.1"
            assert await answers(endpoint)
            (found,) = await self.make_engine().list()
            assert found.endpoint == endpoint

    async def test_a_runner_sees_its_own_environment_and_not_the_routers(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ROUTERS_SECRET", "must not be seen")
        engine = self.make_engine()
        script = "import os; print(os.getcwd(), os.environ['HOME'], os.environ['SCRIPTED_KEY'], *os.environ)"
        spec = self.make_spec("r1", command=self.python(script))
        await engine.create(spec)
        await engine.start(spec)
        await engine.wait_exit("r1")
        cwd, home, key, *names = (await engine.logs("r1", 1)).split()
        assert (cwd, home, key) == (str(spec.home), str(spec.home), "key")
        assert "ROUTERS_SECRET" not in names
        await engine.stop("r1", 1)

    async def test_the_port_is_put_into_the_command(self) -> None:
        engine = self.make_engine()
        spec = self.make_spec("r1", command=(*self.python("import sys; print(sys.argv[1])"), "at {port}"))
        await engine.create(spec)
        endpoint = await engine.start(spec)
        await engine.wait_exit("r1")
        assert await engine.logs("r1", 1) == f"at {endpoint.port}"
        await engine.stop("r1", 1)

    async def test_children_of_an_agent_are_ended_with_it(self) -> None:
        engine = self.make_engine()
        script = "import subprocess,sys; p = subprocess.Popen(['sleep', '600']); print(p.pid, flush=True); p.wait()"
        spec = self.make_spec("r1", command=self.python(script))
        await engine.create(spec)
        await engine.start(spec)
        while not (pid := await engine.logs("r1", 1)):
            await trio.sleep(0.02)
        await engine.stop("r1", 1)
        stat = Path(f"/proc/{pid}/stat")
        while stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z":
            await trio.sleep(0.02)

    async def test_the_record_of_a_later_process_with_the_same_id_is_not_believed(self) -> None:
        engine = self.make_engine()
        async with self.running(engine, self.make_spec("r1")) as endpoint:
            record = self.folder / "runners" / "r1" / "runner.json"
            kept = record.read_text()
            record.write_text(kept.replace('"born":', '"born":1'))
            (found,) = await self.make_engine().list()
            assert not found.running
            record.write_text(kept)
            await until_answers(endpoint)

    async def test_a_port_is_given_back_by_stop(self) -> None:
        engine = self.make_engine(last=0)
        await engine.create(self.make_spec("r1"))
        with pytest.raises(EngineError, match="BACKEND_PORT_END"):
            await engine.create(self.make_spec("r2"))
        await engine.stop("r1", 1)
        await engine.stop("r2", 1)
        await engine.create(self.make_spec("r3"))

    async def test_the_port_of_a_runner_that_was_found_is_not_given_out(self) -> None:
        async with self.running(self.make_engine(), self.make_spec("r1")) as endpoint:
            other = self.make_engine()
            await other.list()
            await other.create(self.make_spec("r2"))
            assert f'"port":{endpoint.port}' not in (self.folder / "runners/r2/runner.json").read_text()
            await other.stop("r2", 1)

    async def test_a_runner_that_was_not_created_is_not_started(self) -> None:
        with pytest.raises(EngineError, match="not created"):
            await self.make_engine().start(self.make_spec("r1"))

    async def test_records_are_readable_by_nobody_else(self) -> None:
        engine = self.make_engine()
        await engine.create(self.make_spec("r1"))
        assert (self.folder / "runners" / "r1").stat().st_mode & 0o077 == 0
        await engine.stop("r1", 1)

    async def test_what_an_agent_prints_without_end_is_cut_down_to_its_end(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("supervisors.engines.process._LOOK_SECONDS", 0.05)
        monkeypatch.setattr("supervisors.engines.process._MAX_OUTPUT_BYTES", 200_000)
        engine = self.make_engine()
        script = (
            "import sys, time\n"
            "for n in range(20_000): print(n, 'x' * 100); n % 500 or time.sleep(0.02)\n"
            "print('last'); sys.stdout.flush(); time.sleep(600)"
        )
        spec = self.make_spec("r1", command=self.python(script))
        output = self.folder / "runners" / "r1" / "output.log"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(engine.run, _never)
            await engine.create(spec)
            await engine.start(spec)
            largest = 0
            while await engine.logs("r1", 1) != "last":
                largest = max(largest, output.stat().st_size)
                await trio.sleep(0.01)
            assert "19998 x" in await engine.logs("r1", 3)
            nursery.cancel_scope.cancel()
        assert largest < 1_500_000, "of more than two million"
        await engine.stop("r1", 1)
