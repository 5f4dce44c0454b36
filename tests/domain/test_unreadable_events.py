"""Events that cannot be read: the complaint says where the mistake is, and never what is written there."""

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import orjson
import pytest

from domain.catalogue import EVENT_TYPES
from domain.event import Event
from domain.keys.events import KeySet
from domain.users.events import PasswordChanged
from eventlog.codec import EventMapper
from eventlog.envelope import StoredRecord
from eventlog.errors import UnknownEventError

SECRET = "sk-live-0123456789-nobody-may-see-this"
MAPPER = EventMapper(EVENT_TYPES)
KEY = {"user_id": "u1", "backend": "", "name": "LLM_API_KEY", "value": SECRET}


def _stored(event_type: type[Event], payload: bytes) -> StoredRecord:
    digest = sha256(payload).digest()
    return StoredRecord(5, "keys:u1", 2, event_type.TOPIC, payload, 1_500_000, "system", "job", None, digest)


def _complaint(event_type: type[Event], payload: bytes, way: Callable[..., Any] = MAPPER.decode) -> str:
    with pytest.raises(UnknownEventError) as refused:
        way(_stored(event_type, payload))
    return str(refused.value)


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        ({**KEY, "value": [SECRET]}, "value: string_type"),
        ({**KEY, "value": {"inner": SECRET}}, "value: string_type"),
        ({**KEY, "backend": None}, "backend: string_type"),
        ({**KEY, "name": 7, "user_id": [SECRET]}, "user_id: string_type, name: string_type"),
        ({"user_id": "u1", "value": SECRET, "name": "N"}, "backend: missing"),
        ([SECRET], "model"),
        (SECRET, "model"),
    ],
)
def test_a_value_of_the_wrong_shape_is_named_by_its_place_and_not_shown(payload: object, told: str) -> None:
    complaint = _complaint(KeySet, orjson.dumps(payload))
    assert "position 5 (keys.set)" in complaint
    assert told in complaint
    assert SECRET not in complaint


@pytest.mark.parametrize(
    "payload",
    [
        b'{"user_id": "u1", "value": "' + SECRET.encode(),
        SECRET.encode(),
        b'{"user_id": "\xff' + SECRET.encode() + b'"}',
        orjson.dumps({**KEY, "class_version": SECRET}),
        orjson.dumps({**KEY, "value": [SECRET], "class_version": 9}),
    ],
)
@pytest.mark.parametrize("event_type", [KeySet, PasswordChanged])
def test_nothing_is_shown_of_what_is_no_json_or_of_another_version(event_type: type[Event], payload: bytes) -> None:
    assert SECRET not in _complaint(event_type, payload)


@pytest.mark.parametrize("event_type", EVENT_TYPES, ids=lambda t: t.TOPIC)
def test_no_event_shows_its_values_when_all_of_them_are_of_the_wrong_shape(event_type: type[Event]) -> None:
    payload = {name: {"odd": [SECRET]} for name in event_type.model_fields}
    complaint = _complaint(event_type, orjson.dumps(payload))
    assert SECRET not in complaint
    assert f"position 5 ({event_type.TOPIC})" in complaint
