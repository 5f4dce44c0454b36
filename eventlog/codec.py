"""Events to stored bytes and back.

A payload is the event as JSON. Where the event's class names `PRIVATE` fields and there is a vault, those are left
out of it and follow it encrypted: `JSON NUL owner NUL sealed JSON`. (JSON never holds a NUL.) Whoever cannot
decrypt them reads the event all the same, with blanks in their place.
"""

import re
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, cast

import orjson
from eventsourcing.persistence import Mapper, StoredEvent, Transcoder
from eventsourcing.utils import TopicError, register_topic, resolve_topic
from pydantic import BaseModel, ValidationError

from eventlog.bounds import MAX_DEPTH, MAX_EVENT_BYTES, check_numbers, trimmed
from eventlog.envelope import ERASED, UNREADABLE, LoggableEvent, Origin, Recorded, StoredRecord
from eventlog.errors import BrokenSealError, NewerShapeError, UnkeepableError, UnknownEventError
from eventlog.vault import Vault


class OrjsonTranscoder(Transcoder):
    """JSON by orjson; nested pydantic models are written as objects."""

    def encode(self, obj: Any) -> bytes:
        """Return `obj` as JSON."""
        return orjson.dumps(obj, default=_as_json)

    def decode(self, data: bytes) -> Any:
        """Return what JSON `data` says."""
        return orjson.loads(data)


def _as_json(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.__dict__
    raise TypeError(f"an event cannot hold a {type(value).__name__}")


_NUL = b"\0"


class _Erased(dict[str, Any]):
    """An old payload whose private part is gone: where a step up asks for what was in there, it finds a blank."""

    def __missing__(self, key: str) -> str:
        return ""

    def pop(self, key: str, *default: Any) -> Any:
        """Return a blank instead of raising."""
        return super().pop(key, *(default or ("",)))


@dataclass(frozen=True, slots=True)
class Private:
    """The private fields of an event class, and the JSON that stands for them once they cannot be read."""

    names: frozenset[str]
    blanks: bytes

    @classmethod
    def of(cls, event_type: type[Any]) -> "Private":
        """Return those of a class. A blank is the field's default, "" where it has none."""
        fields = {name: event_type.model_fields[name] for name in event_type.PRIVATE}
        blanks = {n: "" if f.is_required() else f.get_default(call_default_factory=True) for n, f in fields.items()}
        return cls(frozenset(fields), orjson.dumps(blanks))


class EventMapper(Mapper[str]):
    """The library's mapper, taught pydantic: topics and upcasting are its, the envelope is ours.

    `event_types` are all the events the log may hold. They are registered under their `TOPIC`, so a class
    may be renamed or moved freely. A payload of an older `class_version` is upcast on read by the class's
    `upcast_v<N>_v<N+1>` methods, which mend it in place. Without a `vault` nothing is encrypted, and what is
    encrypted reads as erased.
    """

    def __init__(self, event_types: Iterable[type[LoggableEvent]], vault: Vault | None = None) -> None:
        super().__init__(OrjsonTranscoder())
        self.event_types = tuple(event_types)
        self.vault = vault
        self._private: dict[str, Private] = {}
        for event_type in self.event_types:
            register_topic(event_type.TOPIC, event_type)
            if event_type.PRIVATE:
                self._private[event_type.TOPIC] = Private.of(event_type)

    def encode(self, event: LoggableEvent, stream: str, version: int, owner: str) -> tuple[str, bytes, bytes]:
        """Return topic, payload and the payload's SHA-256 digest of the event at a place.

        The payload is decoded again before it is encrypted: nothing is written that could not be read. Raises
        UnkeepableError for such an event, and KeyDestroyedError when there is something private in it and its owner
        was deleted.
        """
        topic, state = event.TOPIC, event.__dict__
        private = self._private.get(topic) if self.vault else None
        if private is None or self.vault is None:
            payload = self._json(event, state)
            self._check_readable(topic, payload)
        elif not owner:
            raise AssertionError(f"{topic} holds private fields, and nobody is said to own them")
        else:
            open_part = self._json(event, {k: v for k, v in state.items() if k not in private.names})
            secret_part = self._encoded(topic, {k: v for k, v in state.items() if k in private.names})
            self._check_readable(topic, _joined(open_part, secret_part))
            sealed = self.vault.seal(owner, secret_part, _place(stream, version, topic))
            payload = _NUL.join((open_part, owner.encode(), sealed))
        return topic, payload, sha256(payload).digest()

    def _json(self, event: LoggableEvent, state: dict[str, Any]) -> bytes:
        if event.class_version > 1:
            state = {**state, "class_version": event.class_version}
        found = self._encoded(event.TOPIC, state)
        if _LONG_NUMBER.search(found):  # orjson writes up to 2**64 - 1, and read models hold half of that.
            check_numbers(orjson.loads(found))
        return found

    def _encoded(self, topic: str, state: dict[str, Any]) -> bytes:
        try:
            return self.transcoder.encode(state)
        except TypeError as error:  # Which says of what kind the value is, and not the value.
            raise UnkeepableError(f"This cannot be kept ({topic}): {error}.") from error

    def _check_readable(self, topic: str, payload: bytes) -> None:
        if len(payload) > MAX_EVENT_BYTES:
            raise UnkeepableError(f"This cannot be kept ({topic}): it is larger than {MAX_EVENT_BYTES >> 20} MiB.")
        try:
            self._event(topic, payload, erased=False)
        except Exception as error:
            raise UnkeepableError(
                f"This cannot be kept ({topic}), since it could not be read again: {_told(error)}."
            ) from error

    def decode(self, stored: StoredRecord) -> Recorded[Any]:
        """Return the recorded event, upcast to today's shape. Raises UnknownEventError when it cannot be read."""
        try:
            payload, erased = self._readable(stored)
            event = self._event(stored.topic, payload, erased=erased)
        except _NOT_ITS_FAULT:
            raise
        except Exception as error:
            raise _unknown(stored, error) from error
        return _recorded(stored, event, erased=erased)

    def record(self, stored: StoredRecord) -> Recorded[Any]:
        """Return the recorded event, whatever is stored: one that cannot be read must not hold up the others.

        Of such an event `problem` says why, and `event` is what its envelope tells (`from_envelope`) or UNREADABLE.
        Earlier versions wrote what is nested more deeply than they could read: of that, all is read that is within
        the bounds.
        """
        try:
            return self.decode(stored)
        except UnknownEventError as error:
            problem = str(error)
        try:
            payload, erased = self._readable(stored)
            whole = orjson.loads(payload)
            kept = trimmed(whole)
            event = None if kept == whole else self._event(stored.topic, orjson.dumps(kept), erased=erased)
        except _NOT_ITS_FAULT:
            raise
        except Exception:  # Why it cannot be read as it is has been told.
            event = None
        if event is None:
            event = _from_envelope(stored)
            told = (_AT_ITS_WORD if event else _LOST).format(problem)
            return _recorded(stored, event or UNREADABLE, erased=False, problem=told)
        return _recorded(stored, event, erased=erased, problem=_TRIMMED.format(stored.position, stored.topic))

    def _readable(self, stored: StoredRecord) -> tuple[bytes, bool]:
        """Return the payload as one JSON object, and whether something private in it is gone."""
        open_part, sealed_here, rest = stored.state.partition(_NUL)
        if not sealed_here:
            return open_part, not open_part
        owner, _, sealed = rest.partition(_NUL)
        place = _place(stored.originator_id, stored.originator_version, stored.topic)
        found = self.vault.unseal(owner.decode(), sealed, place) if self.vault else None
        secret_part = self._private[stored.topic].blanks if found is None else found
        return _joined(open_part, secret_part), found is None

    def raw(self, stored: StoredRecord) -> tuple[bytes, bool] | None:
        """Return an event's payload as JSON, and whether it is erased, where nothing in it has to be changed.

        None for a payload of another shape, or with something secret in it. Raises UnknownEventError.
        """
        try:
            event_type = resolve_topic(stored.topic)
            if event_type.SECRET or event_type.class_version > 1:
                return None
            payload, erased = self._readable(stored)
            if payload:
                orjson.loads(payload)  # What is written as it is must be JSON.
        except _NOT_ITS_FAULT:
            raise
        except Exception as error:
            raise _unknown(stored, error) from error
        return payload or b"{}", erased

    def plain(self, stored: StoredRecord) -> tuple[dict[str, Any], frozenset[str], bool]:
        """Return an event's payload as plain values in today's shape, its secret fields, and whether it is erased.

        Much faster than making an event of it. Raises UnknownEventError.
        """
        try:
            payload, erased = self._readable(stored)
            if not payload:
                return {}, frozenset(), True
            event_type = resolve_topic(stored.topic)
            state: Any = self.transcoder.decode(payload)
            if not isinstance(state, dict):
                raise TypeError("it is no object")
            if event_type.class_version > 1:
                state = self._upcast(event_type, state, stored.topic, erased=erased)
        except _NOT_ITS_FAULT:
            raise
        except Exception as error:
            raise _unknown(stored, error) from error
        return state, event_type.SECRET, erased

    def _event(self, topic: str, payload: bytes, *, erased: bool) -> Any:
        if not payload:
            return ERASED
        event_type = resolve_topic(topic)
        if event_type.class_version == 1:  # Never upcast: straight from bytes, which is twice as fast.
            return event_type.__pydantic_validator__.validate_json(payload)
        state = cast(dict[str, Any], self.transcoder.decode(payload))
        return event_type.model_validate(self._upcast(event_type, state, topic, erased=erased))

    def _upcast(self, event_type: Any, state: dict[str, Any], topic: str, *, erased: bool) -> dict[str, Any]:
        version = state.pop("class_version", 1)
        private: Private | None = None
        if version > event_type.class_version:
            raise NewerShapeError
        if erased and version < event_type.class_version:
            private = self._private[topic]
            state = _Erased({name: value for name, value in state.items() if name not in private.names})
        while version < event_type.class_version:
            getattr(event_type, f"upcast_v{version}_v{version + 1}")(state)
            version += 1
        return {**state, **orjson.loads(private.blanks)} if private else state

    def to_stored_event(self, domain_event: Any) -> StoredEvent:
        """Not used: the writer knows position and version, which the library's form keeps in the event."""
        raise NotImplementedError("use encode()")

    def to_domain_event(self, stored_event: StoredEvent) -> Any:
        """Return the bare event of a stored one."""
        return self.decode(cast(Any, stored_event)).event


_NOT_ITS_FAULT = (sqlite3.Error, OSError, MemoryError)
"""What may go wrong with any event, and not again the next time: the disk, or the vault's file."""
_LONG_NUMBER = re.compile(rb"[:,\[]\d{19}")
_TRIMMED = (
    f"The event at position {{}} ({{}}) is nested more than {MAX_DEPTH} levels deep. "
    "What is deeper is left out; the rest of it counts."
)
_LOST = "{} It is passed over."
_AT_ITS_WORD = "{} What it ended, limited or began is known from its envelope, and counts."


def _joined(open_part: bytes, secret_part: bytes) -> bytes:
    """Return two JSON objects as one."""
    return open_part[:-1] + (b"," if len(open_part) > 2 else b"") + secret_part[1:]


def _recorded(stored: StoredRecord, event: Any, *, erased: bool, problem: str = "") -> Recorded[Any]:
    return Recorded(
        position=stored.position,
        stream=stored.originator_id,
        version=stored.originator_version,
        type=stored.topic,
        time=stored.at / 1e6,
        origin=Origin(stored.actor, stored.correlation, stored.causation),
        event=event,
        owner=stored.owner,
        erased=erased,
        problem=problem,
        size=len(stored.state),
    )


def _from_envelope(stored: StoredRecord) -> Any:
    try:
        return resolve_topic(stored.topic).from_envelope(stored.originator_id.partition(":")[2], stored.owner)
    except Exception:  # Nobody knows its type.
        return None


def _unknown(stored: StoredRecord, error: Exception) -> UnknownEventError:
    return UnknownEventError(
        f"The event at position {stored.position} ({stored.topic}) cannot be read: {_told(error)}."
    )


def _told(error: Exception) -> str:
    """Return what is wrong without the values: they may be secret."""
    if isinstance(error, ValidationError):
        found = error.errors()
        if [e["type"] for e in found] == ["json_invalid"]:
            return "its payload is damaged"
        listed = ", ".join(f"{'.'.join(map(str, e['loc'])) or 'all of it'}: {e['type']}" for e in found)
        return f"its payload is not what this version of agent-stack expects ({listed})"
    if isinstance(error, BrokenSealError):
        return "what is encrypted in it was changed, or belongs to another event"
    if isinstance(error, TopicError):
        return "this version of agent-stack does not know its type"
    if isinstance(error, NewerShapeError):
        return "a newer version of agent-stack wrote it"
    return f"its payload is damaged ({type(error).__name__})"


def _place(stream: str, version: int, topic: str) -> bytes:
    """What a sealed part is bound to: it cannot be moved to another event."""
    return f"{stream}\0{version}\0{topic}".encode()
