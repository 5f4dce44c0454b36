"""What a supervisor asks of an engine.

An engine knows runners by their runner id, which it attaches to whatever it makes (a label, a file), so that
a restarted router finds them again and a cancelled call leaves nothing that cannot be found.
"""

import re
import signal
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from domain.backends.definition import Backend

_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL|AUTH", re.IGNORECASE)
_SHORTEST_SECRET = 6
"""What is shorter would blot out half of a log."""

Report = Callable[[float, str], None]
"""Takes how much of the stage is done (0..1, never falling) and a line of detail."""


def names_host(texts: Iterable[str]) -> bool:
    """Tell whether an agent that is started with these texts is told on which address to listen."""
    return any(HOST_PLACE in text for text in texts)


@dataclass(frozen=True, slots=True)
class RunnerSpec:
    """All that a runner is made from. `env` holds secrets: it is never logged or put into an event."""

    runner_id: str
    agent_id: str
    user_id: str
    user_slug: str
    backend: Backend
    name: str
    command: tuple[str, ...]
    home: Path
    spec_hash: str
    env: Mapping[str, str] = field(repr=False)
    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Of the variables that are each user's own, as they were when this was made."""

    @property
    def chooses_host(self) -> bool:
        """Whether its agent can be told on which address to listen."""
        declared = (value for name, value in self.env.items() if name not in self.values)
        return names_host((*self.command, *declared))

    def redacted(self, text: str) -> str:
        """Return a text of the agent's without the secrets that it was given."""
        for name, value in self.env.items():
            if _SECRET_NAME.search(name) and len(value) >= _SHORTEST_SECRET:
                text = text.replace(value, f"[{name}]")
        return text


HOST_PLACE, PORT_PLACE = "{host}", "{port}"
"""What stands in a command or a variable for where the agent has to listen."""
PAGE_HOST = "127.0.0.1"
"""Where an agent listens that cannot be told otherwise: the address at which people may open the page, too."""
AGENT_NAME = "localhost"
"""The name by which agents are asked. At which address they are published is for the router to know."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a runner listens, on this host."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """The start of every URL of this runner."""
        return f"http://{self.host}:{self.port}"


_LAST_SIGNAL = 64
_MEANINGS = {
    126: "its command cannot be executed; mend `command` of the backend",
    127: "its command was not found; mend `command` or `image` of the backend",
}
"""What shells and init programs mean by these codes."""


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
        if self.code in _MEANINGS:
            return f"it exited with code {self.code}: {_MEANINGS[self.code]}"
        # A container that was killed by a signal exits with 128 and the signal's number.
        number = -self.code if self.code < 0 else self.code - 128
        if not 0 < number <= _LAST_SIGNAL:
            return f"it exited with code {self.code}"
        why = (
            ", perhaps because the machine or the agent's limit was out of memory"
            if number == signal.SIGKILL
            else ""
        )
        return f"it was killed by signal {number}{why}"


@dataclass(frozen=True, slots=True)
class Found:
    """A runner that an engine has, whoever started it."""

    runner_id: str
    name: str
    spec_hash: str
    running: bool
    endpoint: Endpoint | None


class EngineError(Exception):
    """The engine refused. The message carries its words and says what to do."""


class EngineAwayError(EngineError):
    """The engine does not answer at all. What runs, runs on; nothing can be started or stopped meanwhile."""


class Engine(Protocol):
    """Runs agents. Every method may raise EngineError; `stop` and `logs` never raise for an unknown runner."""

    name: str

    async def run(self, on_return: Callable[[], Awaitable[None]]) -> None:
        """Stay in touch with the engine until cancelled; without it, exits are not noticed.

        `on_return` is called whenever the engine is back after it was away.
        """

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
