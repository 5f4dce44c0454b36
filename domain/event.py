"""The base of every domain event."""

from typing import ClassVar, Self

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

    @classmethod
    def from_envelope(cls, id_: str, owner: str) -> Self | None:
        """Return the event when nothing but its envelope can be read: the id of its stream, and whom it is about.

        What must not be undone is taken at its word whatever else was said: what was ended does not come back, what
        was limited is not free again, and what a user has can still be found and deleted. None for all others:
        what they said is not guessed.
        """
        return None
