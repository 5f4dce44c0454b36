"""The state of any stream at any version, for whoever looks into the log."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

from domain.conversations.state import Conversation, Draft
from domain.keys.events import KeyCleared, KeySet, KeyShared
from eventlog.described import MASK, described
from eventlog.envelope import Recorded

_CONVERSATION = "conversation:"


def state_after(records: Iterable[Recorded[Any]]) -> dict[str, Any]:
    """Return the state after some events of one stream, from its first on, as plain values; secrets are masked.

    A conversation's state is that of its decisions, and that of a stream of keys is what is set. Every other
    stream's is what its events said last of each of their fields.
    """
    listed = list(records)
    if listed and listed[0].stream.startswith(_CONVERSATION):
        draft = Draft(Conversation())
        for record in listed:
            draft.apply(record.event, record.time)
        conversation = draft.state()
        about = {**asdict(conversation), "messages": {m.id: asdict(m) for m in conversation.messages}}
        del about["size"]  # Which follows from the messages.
        return about
    state: dict[str, Any] = {}
    for record in listed:
        match record.event:
            case KeySet(backend=backend, name=name):
                state[f"{backend or 'all'}/{name}"] = MASK
            case KeyCleared(backend=backend, name=name):
                state.pop(f"{backend or 'all'}/{name}", None)
            case KeyShared(name=name, shared=shared):
                state[name] = shared
            case _:
                state |= described(record)["payload"]
    return state


def changes(before: Any, after: Any, path: str = "") -> Iterator[dict[str, Any]]:
    """Yield what differs between two states: `{"path", "before", "after"}`, None for what is not there."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}, key=str):
            yield from changes(before.get(key), after.get(key), f"{path}.{key}" if path else str(key))
    elif before != after:
        yield {"path": path, "before": before, "after": after}
