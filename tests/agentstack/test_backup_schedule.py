"""agentstack.backups.schedule: when a backup is tried again, and what is logged of it."""

import subprocess
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any

import orjson
import pytest
import structlog
import trio
import trio.testing
from structlog.testing import LogCapture

from agentstack.backups.schedule import keep_backups
from agentstack.settings import Settings

MADE = {"bytes": 5, "left_out": []}


@pytest.fixture
def autojump_clock() -> trio.testing.MockClock:
    """Let sleeping tasks wake at once, in the right order."""
    return trio.testing.MockClock(autojump_threshold=0)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Return those of a server that makes backups, none of which is ever there."""
    monkeypatch.chdir(tmp_path)
    return Settings(backup_folder=tmp_path / "backups", stack_data_root=tmp_path / "data")


Run = subprocess.CompletedProcess[bytes]
Logged = list[MutableMapping[str, Any]]


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Logged:
    """Return what is logged, whatever other tests have set up for it."""
    capture = LogCapture()
    logger = structlog.wrap_logger(structlog.PrintLogger(), processors=[capture])
    monkeypatch.setattr("agentstack.backups.schedule._logger", logger)
    return capture.entries


async def _tries(settings: Settings, monkeypatch: pytest.MonkeyPatch, *ends: Callable[[], Run]) -> list[float]:
    """Return the times on the test's clock at which a backup is tried, when the first ones end so."""
    times: list[float] = []

    async def run_process(*_: object, **__: object) -> Run:
        times.append(trio.current_time())
        if len(times) > len(ends):
            scope.cancel()
            await trio.sleep_forever()
        return ends[len(times) - 1]()

    monkeypatch.setattr("agentstack.backups.schedule.trio.run_process", run_process)
    with trio.CancelScope() as scope:
        await keep_backups(settings)
    return times


def _made(told: dict[str, Any]) -> Callable[[], Run]:
    return lambda: subprocess.CompletedProcess([], 0, orjson.dumps(told), b"")


def _failed() -> Run:
    return subprocess.CompletedProcess([], 1, b"", b"the disk is full")


def _not_started() -> Run:
    raise FileNotFoundError(2, "there is no Python any more")


@pytest.mark.parametrize("failure", [_failed, _not_started])
async def test_after_a_backup_that_failed_the_next_try_waits_longer_than_the_next_look(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: trio.testing.MockClock,
    logged: Logged,
    failure: Callable[[], Run],
) -> None:
    start, failed, again = await _tries(settings, monkeypatch, _made(MADE), failure)
    look = failed - start
    assert again - failed > 10 * look > 0
    assert [r["event"] for r in logged] == ["backup_made", "backup_failed"]


async def test_backups_that_left_something_out_say_how_much(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock, logged: Logged
) -> None:
    await _tries(settings, monkeypatch, _made({**MADE, "left_out": ["users/a", "users/b"]}), _made(MADE))
    assert [(r["bytes"], r["left_out"]) for r in logged] == [(5, 2), (5, 0)]


async def test_a_backup_that_failed_removes_no_older_one(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    assert settings.backup_folder
    settings.backup_folder.mkdir()
    for n in range(settings.backup_keep + 1):
        (settings.backup_folder / f"agent-stack-2020010{n}T000000Z.backup").write_text("old")
    monkeypatch.setattr("agentstack.backups.schedule._age", lambda _: float("inf"))
    await _tries(settings, monkeypatch, _failed)
    assert len(list(settings.backup_folder.iterdir())) == settings.backup_keep + 1
    await _tries(settings, monkeypatch, _made(MADE))
    assert len(list(settings.backup_folder.iterdir())) == settings.backup_keep
