"""Events of the streams `keys:<user id>` and `keys:shared`."""

from typing import ClassVar

from domain.event import Event


class KeySet(Event):
    """A user gave a variable a value: for one backend, or ("") for all of them."""

    TOPIC = "keys.set"
    SECRET: ClassVar[frozenset[str]] = frozenset({"value"})
    PRIVATE: ClassVar[frozenset[str]] = frozenset({"value"})

    user_id: str
    backend: str
    name: str
    value: str


class KeyCleared(Event):
    """A user took a value back."""

    TOPIC = "keys.cleared"

    user_id: str
    backend: str
    name: str


class KeyShared(Event):
    """The admin's own value of a variable is shared with everybody, or no longer."""

    TOPIC = "keys.shared"

    name: str
    shared: bool
