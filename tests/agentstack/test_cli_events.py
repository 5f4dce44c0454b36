"""`agentstack events`: following a log that grows, positions that cannot be, and a master key that is not there."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from click.testing import CliRunner

from agentstack.cli import cli
from eventlog.envelope import Recorded
from eventlog.filter import Filter
from eventlog.log import open_log
from eventlog.reader import BATCH, BATCH_BYTES, Head, Reader
from tests.agentstack.test_cli import run_once, told
from tests.eventlog.things import MAPPER, append
from tests.harness.server import Server

HUGE = "99999999999999999999"


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a server that has run once, and does not run."""
    yield from run_once(tmp_path_factory.mktemp("stopped"))


class GrowingReader(Reader):
    """A reader of a log to which something is appended after each look into it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.length = 0
        self.grow()
        super().__init__(folder / "events.db", MAPPER)

    def head(self) -> Head:
        """Return the newest commit of before."""
        found = super().head()
        self.grow()
        return found

    def events(self, wanted: Filter, limit: int = BATCH, most_bytes: int = BATCH_BYTES) -> list[Recorded[Any]]:
        """Return what was there before."""
        found = super().events(wanted, limit, most_bytes)
        self.grow()
        return found

    def grow(self) -> None:
        """Append three events."""

        async def write() -> None:
            async with open_log(self._folder, MAPPER) as log:
                await append(log, "a", self.length, *range(3))

        trio.run(write)
        self.length += 3


@pytest.mark.parametrize("earlier", [0, 2, 10])
def test_whoever_follows_the_log_sees_every_event_once_whenever_it_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, earlier: int
) -> None:
    reader, pauses = GrowingReader(tmp_path), []

    def sleep(_: float) -> None:
        pauses.append(reader.length)
        if len(pauses) == 4:
            raise KeyboardInterrupt

    module = sys.modules["agentstack.cli.events"]  # In the package, its name is that of the command.
    monkeypatch.setattr(module, "open_reader", lambda: reader)
    monkeypatch.setattr(module, "time", SimpleNamespace(sleep=sleep))
    shown = CliRunner().invoke(cli, ["events", "tail", "--json", "--lines", str(earlier)])
    reader.close()
    seen = [json.loads(line)["position"] for line in shown.stdout.splitlines()]
    first = max(1, 4 - earlier)  # Three events were there when it began.
    assert seen == list(range(first, seen[-1] + 1))
    assert seen[-1] >= pauses[-2], "all that was there before the last look but one"


@pytest.mark.parametrize(
    "command", ["show {}", "show 0", "list --after {}", "list --after -1", "export --after {}", "tail --lines {}"]
)
def test_a_position_that_cannot_be_is_a_mistake_of_the_caller(stopped: Server, command: str) -> None:
    run = stopped.cli("events", *command.format(HUGE).split())
    assert "Invalid value" in told(run)
    assert run.returncode == 2


def test_a_position_that_nobody_has_reached_yet_shows_nothing(stopped: Server) -> None:
    largest = str(2**63 - 1)
    assert f"no event at position {largest}" in told(stopped.cli("events", "show", largest))
    assert stopped.cli("events", "list", "--json", "--after", largest).stdout == ""


@pytest.mark.parametrize("command", ["events list", "users list", "vault status"])
def test_without_its_master_key_a_log_is_not_read_and_no_other_key_is_made(stopped: Server, command: str) -> None:
    """The server has it in a variable, which this shell has not."""
    kept = stopped.data / "secrets" / "master"
    aside = kept.rename(stopped.folder / "master")
    try:
        said = told(stopped.cli(*command.split()))
        assert not kept.exists()
    finally:
        aside.rename(kept)
    assert "AGENT_STACK_MASTER_KEY" in said
    assert "secrets/master" in said
