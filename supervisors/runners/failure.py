"""Why a runner is not there, in words for a person."""

from domain.errors import DomainError
from domain.runners.machine import State
from supervisors.engines.protocol import Engine, EngineError
from supervisors.runners.run import Run

LOG_TAIL_LINES = 20


async def with_log_tail(engine: Engine, run: Run, stage: State, error: DomainError) -> DomainError:
    """Return an error with what the agent printed last, if it ran at all, its own key blotted out."""
    try:
        tail = await engine.logs(run.runner_id, LOG_TAIL_LINES) if run.endpoint else ""
    except EngineError:
        tail = ""
    tail = tail.replace(run.key, "[key]").strip()
    printed = f" It printed last:\n{tail}" if tail else " It printed nothing." if run.endpoint else ""
    return type(error)(
        error.message + printed, code=error.reason, **{**error.fields, "stage": str(stage), "log_tail": tail}
    )
