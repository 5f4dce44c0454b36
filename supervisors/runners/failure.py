"""Why a runner is not there, in words for a person."""

import math

import trio

from domain.errors import DomainError, EngineFailed, StartTimedOut, Unavailable
from domain.runners.backoff import STEADY_SECONDS, pause_seconds
from domain.runners.machine import State
from supervisors.engines.protocol import Engine, EngineError
from supervisors.runners.run import Run

LOG_TAIL_LINES = 20
_MAX_TAIL = 16_384
"""Characters of them: an agent may print a line of any length."""


async def with_log_tail(engine: Engine, run: Run, stage: State, error: DomainError) -> DomainError:
    """Return an error with what the agent printed last, if it ran at all, secrets blotted out."""
    try:
        tail = await printed(engine, run, LOG_TAIL_LINES) if run.endpoint else ""
    except EngineError:
        tail = ""
    quoted = f" It printed last:\n{tail}" if tail else " It printed nothing." if run.endpoint else ""
    return type(error)(
        error.message + quoted, code=error.reason, **{**error.fields, "stage": str(stage), "log_tail": tail}
    )


async def printed(engine: Engine, run: Run, lines: int) -> str:
    """Return the last lines that a runner has printed, secrets blotted out. Raises EngineError."""
    text = await engine.logs(run.runner_id, lines)
    return (run.spec.redacted(text) if run.spec else text).replace(run.key, "[key]").strip()[-_MAX_TAIL:]


class Failures:
    """Failures of one agent in a row: what keeps failing is not started again at once."""

    def __init__(self, display_name: str) -> None:
        self._display_name = display_name
        self._count = 0
        self._last_at = 0.0
        self._last_words = ""

    def add(self, error: DomainError, *, ready_at: float) -> None:
        """Note a failure now, of a runner that was ready since `ready_at` (trio's clock; infinite: never)."""
        self._last_at = trio.current_time()
        if self._last_at - ready_at >= STEADY_SECONDS:
            self._count = 0
        if isinstance(error, EngineFailed | StartTimedOut):  # Anything else is not the agent's doing.
            self._count += 1
            self._last_words = error.message

    def clear(self) -> None:
        """Begin a new row: the runner was stopped in good health."""
        self._count = 0

    def refusal(self) -> Unavailable | None:
        """Return why a start has to wait, or None when it need not."""
        left = math.ceil(self._last_at + pause_seconds(self._count) - trio.current_time())
        if left <= 0:
            return None
        return Unavailable(
            f"{self._display_name} has failed {self._count} times in a row, so it is not started again for another "
            f"{left} s. Last time: {self._last_words}",
            code="backing_off",
            retry_after=left,
        )
