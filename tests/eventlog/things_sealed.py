"""Events with private fields, for the tests of what is encrypted."""

import json
from typing import Any, ClassVar

from domain.event import Event
from eventlog.codec import EventMapper
from eventlog.envelope import StreamAppend
from eventlog.vault import Vault
from tests.eventlog.things import Happened, Noted

MASTER = "a master key with enough randomness in it"


class Told(Event):
    """Something private, with a number that is not."""

    TOPIC = "test.told"
    PRIVATE: ClassVar[frozenset[str]] = frozenset({"text", "more"})

    n: int = 0
    text: str
    more: dict[str, Any] | None = None


class Whispered(Event):
    """Has the same fields, and all of them are private."""

    TOPIC = "test.whispered"
    PRIVATE: ClassVar[frozenset[str]] = frozenset({"text"})

    text: str


class Named(Event):
    """Has had two shapes: `name` in one piece, then in two, and a `kind` that is not private."""

    TOPIC = "test.named"
    class_version: ClassVar[int] = 2
    PRIVATE: ClassVar[frozenset[str]] = frozenset({"first", "last"})

    first: str
    last: str
    kind: str

    @staticmethod
    def upcast_v1_v2(state: dict[str, Any]) -> None:
        state["first"], _, state["last"] = state.pop("name").partition(" ")
        state["kind"] = "person"


class Aged(Event):
    """Has had two shapes, of which the second has a private field and a public one more."""

    TOPIC = "test.aged"
    class_version: ClassVar[int] = 2
    PRIVATE: ClassVar[frozenset[str]] = frozenset({"text", "note"})

    text: str
    note: str
    size: int

    @staticmethod
    def upcast_v1_v2(state: dict[str, Any]) -> None:
        state["size"] = len(state["text"])
        state.setdefault("note", "none")


def sealed_mapper(vault: Vault | None) -> EventMapper:
    """Return a mapper that knows all events of these tests, in the shapes of today."""
    return EventMapper([Happened, Noted, Told, Whispered, Named, Aged], vault)


def first_shape(vault: Vault, topic: str, private: dict[str, str]) -> bytes:
    """Return the payload of an event of ada's at version 2 of `one:1`, as when its class had its first shape."""
    sealed = vault.seal("ada", json.dumps(private).encode(), f"one:1\0{2}\0{topic}".encode())
    return b"\0".join((b"{}", b"ada", sealed))


def tell(stream: str, expected: int, *texts: str, owner: str) -> StreamAppend:
    """Return an append of one private event for each text."""
    return StreamAppend(stream, expected, [Told(n=n, text=text) for n, text in enumerate(texts)], owner)
