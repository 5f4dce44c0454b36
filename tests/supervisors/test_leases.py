"""Leases of a runner, in a whole stack without a socket."""

import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from agentstack.root import Stack, open_stack
from agentstack.settings import load_settings
from domain.errors import EngineFailed
from domain.runners.events import RunnerReady
from domain.runners.machine import State
from eventlog.envelope import Origin, Recorded, StreamAppend
from supervisors.runners.supervisor import RunnerSupervisor
from tests.harness.ports import PortBlock
from tests.harness.scripted import Gates, scripted_backend

ORIGIN = Origin("system", "test")
PATIENCE_SECONDS = 60


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    """Return a stack with the scripted agent, whose runners idle for a fifth of a second at most."""
    path = tmp_path / "backends.json"
    path.write_text(json.dumps({"backends": [scripted_backend(Gates(tmp_path / "gates"))]}))
    ports = PortBlock()
    settings = load_settings(
        stack_data_root=tmp_path / "data",
        backends_config_path=path,
        backend_port_start=ports.first,
        backend_port_end=ports.last,
        router_port=1,
        default_idle_seconds=1,
        stop_runners_on_exit=True,
    )
    async with open_stack(settings) as opened:
        yield opened


async def _supervisor(stack: Stack) -> RunnerSupervisor:
    services = stack.services
    user = await services.accounts.register(
        email="ann@example.org", password="a long password", name="", role="user", origin=ORIGIN
    )
    agent = await services.agents.first(user.id, services.backends.get("scripted"), ORIGIN)
    return services.pool.supervise(agent)


async def test_a_lease_starts_the_runner_and_pins_it(stack: Stack) -> None:
    supervisor = await _supervisor(stack)
    async with supervisor.lease(ORIGIN) as lease:
        assert supervisor.state is State.READY
        assert (supervisor.idle.leases, supervisor.stops_in, supervisor.idle.idle_for) == (1, None, 0)
        assert lease.run.endpoint is not None
    assert supervisor.idle.leases == 0
    assert supervisor.stops_in is not None


async def test_many_leases_at_once_share_one_start(stack: Stack) -> None:
    supervisor, runs = await _supervisor(stack), set()

    async def use() -> None:
        async with supervisor.lease(ORIGIN) as lease:
            runs.add(lease.run.runner_id)

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(use)
    assert len(runs) == 1
    assert supervisor.idle.leases == 0


async def test_a_wish_that_is_given_up_at_once_leaves_no_lease(stack: Stack) -> None:
    supervisor = await _supervisor(stack)
    with trio.CancelScope() as scope:
        scope.cancel()
        await supervisor.acquire(ORIGIN)
    async with supervisor.lease(ORIGIN):
        pass
    assert supervisor.idle.leases == 0


async def test_a_wish_that_is_given_up_during_the_start_leaves_no_lease(stack: Stack) -> None:
    supervisor = await _supervisor(stack)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.acquire, ORIGIN)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    async with supervisor.lease(ORIGIN):
        pass
    assert supervisor.idle.leases == 0


async def test_a_runner_that_nobody_uses_any_more_is_stopped(stack: Stack) -> None:
    supervisor = await _supervisor(stack)
    async with supervisor.lease(ORIGIN):
        pass
    with trio.move_on_after(PATIENCE_SECONDS):
        while supervisor.state is not State.ABSENT:
            await trio.sleep(0.02)
    assert supervisor.state is State.ABSENT


async def test_a_runner_whose_death_is_known_is_not_leased(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    supervisor = await _supervisor(stack)
    async with supervisor.lease(ORIGIN) as lease:
        dead = lease.run
    engine = stack.services.pool.house.engines["process"]
    looked_at = trio.Event()

    async def slow_logs(_runner_id: str, _lines: int) -> str:
        await looked_at.wait()
        return ""

    monkeypatch.setattr(engine, "logs", slow_logs)
    fresh: list[str] = []

    async def use() -> None:
        async with supervisor.lease(ORIGIN) as lease:
            fresh.append(lease.run.runner_id)

    async with trio.open_nursery() as nursery:
        engine._children[dead.runner_id].kill()  # type: ignore[attr-defined] # the process engine's
        with trio.fail_after(PATIENCE_SECONDS):
            await dead.exited.wait()
        nursery.start_soon(use)
        await trio.testing.wait_all_tasks_blocked()
        looked_at.set()
    assert fresh
    assert fresh != [dead.runner_id]


async def test_a_runner_that_dies_as_it_becomes_ready_has_failed_to_start(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor, log = await _supervisor(stack), stack.services.log
    engine, append, killed = stack.services.pool.house.engines["process"], log.append, list[str]()

    async def append_and_kill(*appends: StreamAppend, origin: Origin) -> Sequence[Recorded[Any]]:
        event = appends[0].events[0]
        if isinstance(event, RunnerReady) and not killed:
            killed.append(event.runner_id)
            assert supervisor.run_now is not None
            engine._children[event.runner_id].kill()  # type: ignore[attr-defined] # the process engine's
            await supervisor.run_now.exited.wait()
        return await append(*appends, origin=origin)

    monkeypatch.setattr(log, "append", append_and_kill)
    with pytest.raises(EngineFailed, match="killed by signal 9"):
        await supervisor.acquire(ORIGIN)
    async with supervisor.lease(ORIGIN) as lease:
        assert [lease.run.runner_id] != killed
    assert supervisor.idle.leases == 0


async def test_a_runner_that_died_is_replaced(stack: Stack) -> None:
    supervisor = await _supervisor(stack)
    async with supervisor.lease(ORIGIN) as lease:
        dead = lease.run
    engine = stack.services.pool.house.engines["process"]
    engine._children[dead.runner_id].kill()  # type: ignore[attr-defined] # the process engine's
    with trio.fail_after(PATIENCE_SECONDS):
        await dead.closed.wait()
    assert supervisor.state is State.FAILED
    async with supervisor.lease(ORIGIN) as lease:
        assert lease.run is not dead


async def test_a_stop_waits_until_nothing_is_left(stack: Stack) -> None:
    supervisor = await _supervisor(stack)
    assert await supervisor.stop("requested", ORIGIN) is False
    async with supervisor.lease(ORIGIN):
        pass
    assert await supervisor.stop("requested", ORIGIN) is True
    assert await stack.services.pool.house.engines["process"].list() == []
    assert repr(supervisor).endswith("absent, 0 leases>") or supervisor.state is State.STOPPING
