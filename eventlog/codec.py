"""Events to stored bytes and back."""

from collections.abc import Iterable
from hashlib import sha256
from typing import Any, cast

import orjson
from eventsourcing.persistence import Mapper, StoredEvent, Transcoder
from eventsourcing.utils import TopicError, register_topic, resolve_topic
from pydantic import BaseModel

from eventlog.envelope import ERASED, LoggableEvent, Origin, Recorded, StoredRecord
from eventlog.errors import UnknownEventError


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


class EventMapper(Mapper[str]):
    """The library's mapper, taught pydantic: topics and upcasting are its, the envelope is ours.

    `event_types` are all the events the log may hold. They are registered under their `TOPIC`, so a class
    may be renamed or moved freely. A payload of an older `class_version` is upcast on read by the class's
    `upcast_v<N>_v<N+1>` methods, which mend it in place.
    """

    def __init__(self, event_types: Iterable[type[LoggableEvent]]) -> None:
        super().__init__(OrjsonTranscoder())
        self.event_types = tuple(event_types)
        for event_type in self.event_types:
            register_topic(event_type.TOPIC, event_type)

    def encode(self, event: LoggableEvent) -> tuple[str, bytes, bytes]:
        """Return topic, payload and the payload's SHA-256 digest."""
        state = event.__dict__
        if event.class_version > 1:
            state = {**state, "class_version": event.class_version}
        payload = self.transcoder.encode(state)
        return event.TOPIC, payload, sha256(payload).digest()

    def decode(self, stored: StoredRecord) -> Recorded[Any]:
        """Return the recorded event, upcast to today's shape. Raises UnknownEventError when it cannot be read."""
        try:
            event = self._event(stored)
        except (TopicError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise UnknownEventError(
                f"the event at position {stored.position} ({stored.topic}) cannot be read by this version of "
                f"agent-stack; was the data folder written by a newer one? ({error!r})"
            ) from error
        return Recorded(
            position=stored.position,
            stream=stored.originator_id,
            version=stored.originator_version,
            type=stored.topic,
            time=stored.at / 1e6,
            origin=Origin(stored.actor, stored.correlation, stored.causation),
            event=event,
        )

    def _event(self, stored: StoredRecord) -> Any:
        if not stored.state:
            return ERASED
        event_type = resolve_topic(stored.topic)
        if event_type.class_version == 1:  # Never upcast: straight from bytes, which is twice as fast.
            return event_type.__pydantic_validator__.validate_json(stored.state)
        state = cast(dict[str, Any], self.transcoder.decode(stored.state))
        version = state.pop("class_version", 1)
        if version > event_type.class_version:
            raise ValueError(f"its shape {version} is newer than {event_type.class_version}")
        while version < event_type.class_version:
            getattr(event_type, f"upcast_v{version}_v{version + 1}")(state)
            version += 1
        return event_type.model_validate(state)

    def to_stored_event(self, domain_event: Any) -> StoredEvent:
        """Not used: the writer knows position and version, which the library's form keeps in the event."""
        raise NotImplementedError("use encode()")

    def to_domain_event(self, stored_event: StoredEvent) -> Any:
        """Return the bare event of a stored one."""
        return self.decode(cast(Any, stored_event)).event
