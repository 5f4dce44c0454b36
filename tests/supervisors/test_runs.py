"""supervisors.runners.run, and a supervisor that cannot begin again."""

from pathlib import Path
from typing import Any

from structlog.testing import capture_logs

from domain.catalogue import EVENT_TYPES
from domain.runners.events import RunnerAdopted, RunnerRequested, RunnerStopped
from eventlog.codec import EventMapper
from eventlog.envelope import Origin, StreamAppend
from eventlog.log import open_log
from supervisors.runners.pool import _recovered
from supervisors.runners.run import Run

ORIGIN = Origin("system", "test")
REQUESTED = RunnerRequested(
    runner_id="r1",
    agent_id="a1",
    user_id="u1",
    backend="demo",
    container_name="demo-u1",
    engine="process",
    spec_hash="0f",
)


async def test_a_run_goes_on_from_where_its_stream_is_whatever_a_read_model_said(tmp_path: Path) -> None:
    async with open_log(tmp_path, EventMapper(EVENT_TYPES)) as log:
        await log.append(StreamAppend("runner:r1", 0, [REQUESTED]), origin=ORIGIN)
        run = Run("r1", ORIGIN, "key", "u1")
        for stale in (0, 7):
            run.version = stale
            await run.record(log, RunnerAdopted(runner_id="r1"))
        assert run.version == 3
        await run.record(log, RunnerStopped(runner_id="r1", reason="idle"))
        assert [r.version for r in await log.read_stream("runner:r1")] == [1, 2, 3, 4]


async def test_a_supervisor_that_cannot_begin_again_stops_no_other() -> None:
    class Broken:
        """Its log refuses even that."""

        async def recover(self) -> None:
            raise OSError(28, "No space left on device")

    supervisor: Any = Broken()
    with capture_logs() as logged:
        await _recovered(supervisor)
    assert [e["event"] for e in logged] == ["supervisor_not_recovered"]
