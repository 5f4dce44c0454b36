"""Why a runner is not there, in words for a person."""

from domain.errors import DomainError, EngineFailed
from domain.runners.machine import State
from supervisors.engines.protocol import Engine, EngineError
from supervisors.runners.run import Run

LOG_TAIL_LINES = 20


async def explain(
    engine: Engine, run: Run, stage: State, message: str, *, kind: type[DomainError] = EngineFailed
) -> DomainError:
    """Return an error with what the agent printed last, its own key blotted out."""
    try:
        tail = await engine.logs(run.runner_id, LOG_TAIL_LINES)
    except EngineError:
        tail = ""
    tail = tail.replace(run.key, "[key]").strip()
    told = f"{message} It printed last:\n{tail}" if tail else f"{message} It printed nothing."
    return kind(told, stage=str(stage), log_tail=tail)
