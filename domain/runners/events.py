"""Events of the stream `runner:<id>`: a new stream for every start, so it stays short."""

from typing import ClassVar, Literal

from domain.event import Event

StopReason = Literal["idle", "requested", "keys_changed", "agent_deleted", "files_full", "shutdown", "orphaned"]


class RunnerRequested(Event):
    """A start was asked for. `spec_hash` fingerprints all that the runner is started with."""

    TOPIC = "runner.requested"

    runner_id: str
    agent_id: str
    user_id: str
    backend: str
    container_name: str
    engine: str
    spec_hash: str


class RunnerStarted(Event):
    """The engine runs it. `handle` is the engine's own name for it, `port` the one on the host's loopback."""

    TOPIC = "runner.started"

    runner_id: str
    handle: str
    host: str
    port: int
    image: str


class RunnerReady(Event):
    """It answered its readiness probe; `seconds` is the time since it was requested."""

    TOPIC = "runner.ready"

    runner_id: str
    seconds: float


class RunnerFailed(Event):
    """It did not come up, or it died. `log_tail` is what it said last, secrets redacted."""

    TOPIC = "runner.failed"
    PRIVATE: ClassVar[frozenset[str]] = frozenset({"log_tail", "message"})

    runner_id: str
    stage: str
    message: str
    exit_code: int | None = None
    out_of_memory: bool = False
    log_tail: str = ""


class RunnerStopped(Event):
    """It was stopped and removed."""

    TOPIC = "runner.stopped"

    runner_id: str
    reason: StopReason
    exit_code: int | None = None


class RunnerAdopted(Event):
    """A restarted router found it still serving and took it over."""

    TOPIC = "runner.adopted"

    runner_id: str


class RunnerVanished(Event):
    """The log says it runs, the engine does not know it: it ended while no router was watching."""

    TOPIC = "runner.vanished"

    runner_id: str
