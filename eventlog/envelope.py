"""What surrounds an event in the log."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

E = TypeVar("E")


class LoggableEvent(Protocol):
    """What the log asks of an event: a stable topic, a version of its shape, and pydantic's validation.

    `PRIVATE` names the fields that are encrypted under the key of their owner.
    """

    TOPIC: ClassVar[str]
    PRIVATE: ClassVar[frozenset[str]]
    class_version: ClassVar[int]

    @classmethod
    def model_validate(cls, obj: Any) -> Any:
        """Return an event made from `obj`, or raise."""

    @classmethod
    def from_envelope(cls, id_: str, owner: str) -> Any:
        """Return an event from the id of its stream and its owner, where the rest cannot be read; or None."""


class _Stand(BaseModel):
    """What stands in the place of an event of which only the envelope is left."""

    model_config = ConfigDict(frozen=True)

    TOPIC: ClassVar[str]
    PRIVATE: ClassVar[frozenset[str]] = frozenset()
    class_version: ClassVar[int] = 1
    SECRET: ClassVar[frozenset[str]] = frozenset()


class Erased(_Stand):
    """What is read where a payload was blanked: the chain covers what was there."""

    TOPIC = "erased"


class Unreadable(_Stand):
    """What is read where an event cannot be."""

    TOPIC = "unreadable"


ERASED = Erased()
UNREADABLE = Unreadable()


@dataclass(frozen=True, slots=True)
class Origin:
    """Who or what brought an event about.

    `actor` is `user:<id>`, `runner:<id>`, `operator` (the command line) or `system`; `correlation` is the id of
    the HTTP request or job that all its consequences share; `causation` is the position of the event that led
    directly to this one, if one did.
    """

    actor: str
    correlation: str
    causation: int | None = None


@dataclass(slots=True)
class Recorded(Generic[E]):
    """An event with its place in the log. `time` is in unix seconds (UTC).

    `owner` is whom it is about, "" for nobody. `erased` tells that what was private in it cannot be read any more:
    blanks stand in its place. `problem` says why the event, or a part of it, cannot be read; "" when all of it was.
    `size` is how many bytes its payload takes in the log.

    Treat it as immutable: it is shared. It is not declared frozen because that triples the cost of making one.
    """

    position: int
    stream: str
    version: int
    type: str
    time: float
    origin: Origin
    event: E
    owner: str = ""
    erased: bool = False
    problem: str = ""
    size: int = 0


@dataclass(frozen=True, slots=True)
class StreamAppend:
    """Events for one stream, on the condition that it is at version `expected` (0: it does not exist).

    `owner` is whom they are about: their key encrypts what is private in them. It may stay "" when nothing is. `at`
    is when they happened, in microseconds since the epoch; now, unless they are brought in from elsewhere.
    """

    stream: str
    expected: int
    events: Sequence[LoggableEvent]
    owner: str = ""
    at: int | None = None


class StoredRecord(NamedTuple):
    """A stored event with its envelope: the library's `StoredEvent` fields and ours, in column order.

    A tuple, so that it is the row itself on the writer's hot path. `at` is in microseconds since the epoch.
    """

    position: int
    originator_id: str
    originator_version: int
    topic: str
    state: bytes
    at: int
    actor: str
    correlation: str
    causation: int | None
    digest: bytes
    owner: str = ""
