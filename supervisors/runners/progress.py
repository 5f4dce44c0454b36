"""How far a start has come, for whoever watches."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from domain.runners.machine import State

# Where each stage begins on the bar; it ends where the next one begins. Pulling and probing take the time.
STAGE_BEGINS: Final = {
    State.PREPARING: 0,
    State.PULLING: 5,
    State.CREATING: 45,
    State.STARTING: 50,
    State.PROBING: 60,
}
_STAGE_ENDS: Final = {
    State.PREPARING: 5,
    State.PULLING: 45,
    State.CREATING: 50,
    State.STARTING: 60,
    State.PROBING: 99,
}
READY = "ready"
ERROR = "error"
SNAPSHOT = "snapshot"


@dataclass(frozen=True, slots=True)
class Progress:
    """One report: `progress` in percent, `message` for a person, `detail` for the curious."""

    stage: str
    progress: int
    message: str
    detail: str = ""

    @property
    def final(self) -> bool:
        """Whether the start is over."""
        return self.stage in {READY, ERROR}


def boot_fraction(elapsed: float, expected: float) -> float:
    """Return how much of a boot is likely done: it nears 1 without reaching it, however long it takes.

    `expected` is what the last boot of this backend took, both in seconds.
    """
    return 1 - math.exp(-1.5 * elapsed / max(expected, 0.1))


class ProgressBoard:
    """The newest report of one runner. Watchers see the newest, not all: a slow one never piles up work.

    Within one start the bar never goes back, and it stays below 100 until the runner is ready.
    `on_change` is called after every change.
    """

    def __init__(self, on_change: Callable[[], None]) -> None:
        self.current = Progress(SNAPSHOT, 0, "Not running")
        self._on_change = on_change

    def __repr__(self) -> str:
        return f"<ProgressBoard {self.current.stage} {self.current.progress}%>"

    def begin(self) -> None:
        """A new start: the bar begins at 0, or where the start was whose place it takes."""
        replaces = self.current.stage in set(map(str, STAGE_BEGINS))
        self._set(Progress(State.PREPARING, self.current.progress if replaces else 0, "Getting ready"))

    def report(self, stage: State, fraction: float, message: str, detail: str = "") -> None:
        """Report that `fraction` (0..1) of a stage is done."""
        low, high = STAGE_BEGINS[stage], _STAGE_ENDS[stage]
        percent = max(self.current.progress, int(low + (high - low) * min(1.0, max(0.0, fraction))))
        self._set(Progress(stage, percent, message, detail))

    def ready(self, message: str) -> None:
        """The start has succeeded."""
        self._set(Progress(READY, 100, message))

    def failed(self, message: str) -> None:
        """The start has failed."""
        self._set(Progress(ERROR, self.current.progress, message))

    def reset(self) -> None:
        """Nothing runs any more."""
        self._set(Progress(SNAPSHOT, 0, "Not running"))

    def _set(self, progress: Progress) -> None:
        if progress != self.current:
            self.current = progress
            self._on_change()
