"""A kill at any point around a commit loses nothing that was acknowledged, and leaves nothing half done."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio

from domain.catalogue import EVENT_TYPES
from domain.users.events import EmailClaimed, SlugClaimed, UserRegistered
from eventlog.codec import EventMapper
from eventlog.filter import Filter
from eventlog.log import EventLog, open_log
from eventlog.writer import FAIL_POINTS
from projections import store as view_store
from projections.store import ViewStore
from projections.views import Views

ROUNDS = 200
ROOT = Path(__file__).resolve().parent.parent.parent
MAPPER = EventMapper(EVENT_TYPES)
Acknowledged = dict[int, tuple[str, int]]


class ForkServer:
    """`crash_child` as a process, asked for one crash at a time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.eventlog.crash_child"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    def crash(self, order: dict[str, Any]) -> tuple[Acknowledged, int]:
        """Have a child crash, and return what it had acknowledged and how it ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        acknowledged: Acknowledged = {}
        for line in self._process.stdout:
            match line.decode().split():
                case ["ack", position, stream, version]:
                    assert int(position) not in acknowledged, "a position was given twice"
                    acknowledged[int(position)] = (stream, int(version))
                case ["end", status]:
                    return acknowledged, int(status)
        raise AssertionError("the fork server has ended")

    def close(self) -> None:
        """End it, and a child that hangs."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()


@pytest.fixture
def forks() -> Iterator[ForkServer]:
    """Return a fork server."""
    with ExitStack() as stack:
        server = ForkServer()
        stack.callback(server.close)
        yield server


def _rows(views: Views) -> dict[str, list[Any]]:
    return {t.name: list(t) for p in views.all for t in p.tables}


def _check(folder: Path, log: EventLog, acknowledged: Acknowledged) -> int:
    found = log.reader.events(Filter(), limit=-1)
    positions = [r.position for r in found]
    assert positions == list(range(1, len(found) + 1)), "positions have a gap"
    assert log.position == len(found)
    assert log.reader.verify() == len(found)

    stored = {r.position: (r.stream, r.version) for r in found}
    lost = {p: a for p, a in acknowledged.items() if stored.get(p) != a}
    assert not lost, "acknowledged events were lost"

    versions: dict[str, int] = {}
    for record in found:
        assert record.version == versions.get(record.stream, 0) + 1, "a stream has a gap"
        versions[record.stream] = record.version

    accounts: dict[type, set[str]] = {UserRegistered: set(), EmailClaimed: set(), SlugClaimed: set()}
    for record in found:
        if type(record.event) in accounts:
            accounts[type(record.event)].add(record.event.user_id)
    assert accounts[UserRegistered] == accounts[EmailClaimed] == accounts[SlugClaimed], "an account is half made"

    loaded, rebuilt = Views(), Views()
    store = ViewStore(folder / view_store.FILE_NAME)
    store.load(loaded.all, log.reader.identity(), log.position)
    store.close()
    loaded.catch_up(log.reader)
    rebuilt.catch_up(log.reader)
    assert _rows(loaded) == _rows(rebuilt), "the saved views differ from a rebuild"
    return len(found)


async def _reopen(folder: Path, acknowledged: Acknowledged) -> int:
    async with open_log(folder, MAPPER) as log:
        return await trio.to_thread.run_sync(_check, folder, log, acknowledged)


@pytest.mark.slow
async def test_nothing_acknowledged_is_lost_in_200_crashes(tmp_path: Path, forks: ForkServer) -> None:
    seed = Random().randrange(2**32)
    print("seed", seed)  # Shown when the test fails.
    random = Random(seed)
    folder, copy = tmp_path / "data", tmp_path / "copy"
    folder.mkdir()
    acknowledged: Acknowledged = {}
    stored = 0
    for round_ in range(ROUNDS):
        point = FAIL_POINTS[round_ % len(FAIL_POINTS)]
        order = {"seed": f"{seed}/{round_}", "folder": str(folder), "point": point, "commit": random.randint(1, 8)}
        with trio.fail_after(60):
            new, status = await trio.to_thread.run_sync(forks.crash, order, abandon_on_cancel=True)
        assert os.WIFSIGNALED(status), order
        assert os.WTERMSIG(status) == signal.SIGKILL, order
        assert not new.keys() & acknowledged.keys(), "a position was used again"
        acknowledged |= new
        # On a copy, so that the next child finds the folder just as the crash has left it.
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(folder, copy)
        now = await _reopen(copy, acknowledged)
        assert now >= max(stored, len(acknowledged)), order
        stored = now
    assert await _reopen(folder, acknowledged) == stored
    assert stored > ROUNDS * 5, "the children have worked"
    print("events", stored)
