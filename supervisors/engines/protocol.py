"""What a supervisor asks of an engine.

An engine knows runners by their runner id, which it attaches to whatever it makes (a label, a file), so that
a restarted router finds them again and a cancelled call leaves nothing that cannot be found.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

Report = Callable[[float, str], None]
"""Takes how much of the stage is done (0..1, never falling) and a line of detail."""


@dataclass(frozen=True, slots=True)
class RunnerSpec:
    """All that a runner is made from. `env` holds secrets: it is never logged or put into an event."""

    runner_id: str
    agent_id: str
    user_id: str
    backend: str
    name: str
    command: tuple[str, ...]
    home: Path
    spec_hash: str
    stop_grace_seconds: float
    env: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a runner listens, on this host."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """The start of every URL of this runner."""
        return f"http://{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Exit:
    """How a runner ended. `code` is None when nobody was there to see it."""

    code: int | None
    out_of_memory: bool = False

    def __str__(self) -> str:
        if self.out_of_memory:
            return "it was killed for using too much memory"
        if self.code is None:
            return "it ended"
        return f"it exited with code {self.code}" if self.code >= 0 else f"it was killed by signal {-self.code}"


@dataclass(frozen=True, slots=True)
class Found:
    """A runner that an engine has, whoever started it."""

    runner_id: str
    name: str
    spec_hash: str
    running: bool
    endpoint: Endpoint | None


class EngineError(Exception):
    """The engine refused or is away. The message carries its words."""


class Engine(Protocol):
    """Runs agents. Every method may raise EngineError; `stop` and `logs` never raise for an unknown runner."""

    name: str

    async def check(self) -> None:
        """Raise EngineError, saying how to mend it, unless the engine can be used."""

    async def prepare(self, spec: RunnerSpec, report: Report) -> str:
        """Have present what the runner is made from, and return its identity (an image's digest)."""

    async def create(self, spec: RunnerSpec) -> None:
        """Make the runner without starting it."""

    async def start(self, spec: RunnerSpec) -> Endpoint:
        """Start what was created, and return where it will listen."""

    async def wait_exit(self, runner_id: str) -> Exit:
        """Return once the runner has ended, for whatever reason."""

    async def stop(self, runner_id: str, grace_seconds: float) -> Exit:
        """Stop the runner politely, after the grace by force, and remove it. Does nothing twice."""

    async def logs(self, runner_id: str, lines: int) -> str:
        """Return the last lines that the runner has printed, "" when there are none."""

    async def list(self) -> list[Found]:
        """Return every runner of this installation, in any state."""

    def statistics(self) -> dict[str, int]:
        """Return how many calls the engine has had."""
