"""The life of a runner as a table: which input is possible in which state, and what follows.

The supervisor owns the I/O; this module owns every decision about where a runner is. Nothing else
assigns a state, so a race is a row that a test can name.
"""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """Where a runner is. The names from `preparing` to `probing` are also the stages a client is shown."""

    ABSENT = "absent"
    PREPARING = "preparing"
    PULLING = "pulling"
    CREATING = "creating"
    STARTING = "starting"
    PROBING = "probing"
    READY = "ready"
    STOPPING = "stopping"
    FAILED = "failed"


class Input(StrEnum):
    """What can happen to a runner."""

    WANTED = "wanted"
    """Somebody needs it running."""
    ADVANCED = "advanced"
    """The start has reached its next stage."""
    ADOPTED = "adopted"
    """A runner of an earlier router was found serving."""
    START_FAILED = "start_failed"
    """The start gave up."""
    DIED = "died"
    """The engine says that it ended by itself."""
    STOP = "stop"
    """Somebody wants it stopped."""
    IDLE = "idle"
    """Its idle time is over and no lease is out."""
    STOPPED = "stopped"
    """The engine has stopped and removed it."""


class Effect(StrEnum):
    """The I/O that the supervisor does after a transition."""

    BEGIN_START = "begin_start"
    ANNOUNCE_READY = "announce_ready"
    RECORD_FAILURE = "record_failure"
    CANCEL_START = "cancel_start"
    BEGIN_STOP = "begin_stop"
    RECORD_STOP = "record_stop"


class ImpossibleTransitionError(Exception):
    """An input that the state excludes: a bug in the supervisor, never a user's mistake."""


@dataclass(frozen=True, slots=True)
class Step:
    """Where the runner goes, and what is to be done on the way."""

    state: State
    effects: tuple[Effect, ...] = ()


START_STAGES = (State.PREPARING, State.PULLING, State.CREATING, State.STARTING, State.PROBING)

_TABLE: dict[tuple[State, Input], Step] = {
    (State.ABSENT, Input.WANTED): Step(State.PREPARING, (Effect.BEGIN_START,)),
    (State.FAILED, Input.WANTED): Step(State.PREPARING, (Effect.BEGIN_START,)),
    (State.ABSENT, Input.ADOPTED): Step(State.READY),
    # The engine was away when somebody asked; with it comes back what it ran all along.
    (State.FAILED, Input.ADOPTED): Step(State.READY),
    (State.READY, Input.DIED): Step(State.FAILED, (Effect.RECORD_FAILURE,)),
    (State.READY, Input.STOP): Step(State.STOPPING, (Effect.BEGIN_STOP,)),
    (State.READY, Input.IDLE): Step(State.STOPPING, (Effect.BEGIN_STOP,)),
    (State.STOPPING, Input.STOPPED): Step(State.ABSENT, (Effect.RECORD_STOP,)),
    # Three things are merely late, not wrong: a death notice of a runner being stopped, a second
    # wish for what is already coming, and a wish to stop what is already gone.
    (State.STOPPING, Input.DIED): Step(State.STOPPING),
    (State.STOPPING, Input.STOP): Step(State.STOPPING),
    (State.READY, Input.WANTED): Step(State.READY),
    (State.ABSENT, Input.STOP): Step(State.ABSENT),
    (State.FAILED, Input.STOP): Step(State.FAILED),
    (State.ABSENT, Input.DIED): Step(State.ABSENT),
    (State.FAILED, Input.DIED): Step(State.FAILED),
}
for _now, _next in zip(START_STAGES, (*START_STAGES[1:], State.READY), strict=True):
    _TABLE[_now, Input.ADVANCED] = Step(_next, (Effect.ANNOUNCE_READY,) if _next is State.READY else ())
    _TABLE[_now, Input.WANTED] = Step(_now)
    _TABLE[_now, Input.START_FAILED] = Step(State.FAILED, (Effect.RECORD_FAILURE,))
    _TABLE[_now, Input.STOP] = Step(State.STOPPING, (Effect.CANCEL_START, Effect.BEGIN_STOP))
    # The start's own probe notices a death and fails with better words than an exit code.
    _TABLE[_now, Input.DIED] = Step(_now)


def step(state: State, happened: Input) -> Step:
    """Return what follows when `happened` meets `state`. Raises ImpossibleTransitionError for a bug.

    A wish for a runner that is stopping is not in the table: the supervisor keeps it until the runner
    is absent, and a fresh one is started then.
    """
    try:
        return _TABLE[state, happened]
    except KeyError:
        raise ImpossibleTransitionError(f"{happened} is impossible in state {state}") from None


def table() -> dict[tuple[State, Input], Step]:
    """Return a copy of the whole table, for tests and documentation."""
    return dict(_TABLE)
