"""The base of every domain event."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Event(BaseModel):
    """A fact that has happened, named in the past tense and never changed afterwards.

    ``TOPIC`` is the stable name under which the event is stored: renaming the class never touches the log.
    ``class_version`` counts the shapes the payload has had. When it rises to N, the class gains a static
    method ``upcast_v<N-1>_v<N>(state: dict)`` that mends an old payload in place; the log calls it on read.
    ``SECRET`` names the fields that no tool may print: they are masked wherever an event is shown.
    ``PRIVATE`` names the fields that are encrypted in the log under the key of the user whom they belong to,
    and can no longer be read once that user was deleted: they then hold their default, or "".
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    TOPIC: ClassVar[str]
    class_version: ClassVar[int] = 1
    SECRET: ClassVar[frozenset[str]] = frozenset()
    PRIVATE: ClassVar[frozenset[str]] = frozenset()
