"""eventlog.codec."""

import json
import sqlite3
from hashlib import sha256
from typing import Any, ClassVar, cast
from unittest.mock import patch

import pytest
from eventsourcing.persistence import StoredEvent
from pydantic import BaseModel, ConfigDict

from domain.catalogue import EVENT_TYPES
from domain.event import Event
from eventlog.codec import EventMapper
from eventlog.envelope import UNREADABLE, Origin
from eventlog.errors import UnkeepableError, UnknownEventError
from tests.domain.samples import SAMPLES
from tests.eventlog.things import MAPPER, Happened, stored
from tests.harness.poison import nested


class Moved(Event):
    """Has had three shapes: `place`; then `city` and `street`; then also `zip_code`."""

    TOPIC = "test.moved"
    class_version: ClassVar[int] = 3

    city: str
    street: str
    zip_code: str

    @staticmethod
    def upcast_v1_v2(state: dict[str, Any]) -> None:
        state["city"], _, state["street"] = state.pop("place").partition(", ")

    @staticmethod
    def upcast_v2_v3(state: dict[str, Any]) -> None:
        state["zip_code"] = "00000"


class Size(BaseModel):
    """A value inside an event."""

    model_config = ConfigDict(frozen=True)

    width: int
    height: int | None = None


class Resized(Event):
    """Holds values that are models themselves."""

    TOPIC = "test.resized"

    size: Size
    others: tuple[Size, ...] = ()


DOMAIN = EventMapper(EVENT_TYPES)
ODD = [{"odd": "sk-planted"}]
"""No field of any event is such."""
LOCAL = EventMapper([Moved, Resized])


@pytest.mark.parametrize("event", SAMPLES, ids=lambda e: e.TOPIC)
def test_every_domain_event_survives_the_log(event: Event) -> None:
    topic, payload, digest = DOMAIN.encode(event, "thing:1", 2, "")
    assert digest == sha256(payload).digest()
    back = DOMAIN.decode(stored(topic, payload)).event
    assert type(back) is type(event)
    assert back == event


@pytest.mark.parametrize(
    "event", [Resized(size=Size(width=1)), Resized(size=Size(width=1, height=2), others=(Size(width=3),))]
)
def test_models_inside_an_event_survive_the_log(event: Event) -> None:
    topic, payload, _ = LOCAL.encode(event, "thing:1", 2, "")
    assert LOCAL.decode(stored(topic, payload)).event == event


def test_the_envelope_is_read_back() -> None:
    recorded = MAPPER.decode(stored("test.happened", b'{"n":3,"text":"x"}'))
    assert recorded.position == 5
    assert (recorded.stream, recorded.version, recorded.type) == ("thing:1", 2, "test.happened")
    assert recorded.time == 1.5
    assert recorded.origin == Origin("system", "job", None)
    assert recorded.event == Happened(n=3, text="x")


def test_an_event_of_the_first_shape_is_stored_without_a_version() -> None:
    assert json.loads(MAPPER.encode(Happened(n=1, text="x"), "thing:1", 2, "")[1]) == {"n": 1, "text": "x"}


def test_a_later_shape_is_stored_with_its_version() -> None:
    _, payload, _ = LOCAL.encode(Moved(city="A", street="B", zip_code="1"), "thing:1", 2, "")
    assert json.loads(payload) == {"city": "A", "street": "B", "zip_code": "1", "class_version": 3}


@pytest.mark.parametrize(
    ("payload", "zip_code"),
    [
        (b'{"place":"Rome, Via Appia"}', "00000"),
        (b'{"city":"Rome","street":"Via Appia","class_version":2}', "00000"),
        (b'{"city":"Rome","street":"Via Appia","zip_code":"178","class_version":3}', "178"),
    ],
)
def test_an_older_shape_is_upcast_step_by_step(payload: bytes, zip_code: str) -> None:
    event = LOCAL.decode(stored("test.moved", payload)).event
    assert event == Moved(city="Rome", street="Via Appia", zip_code=zip_code)


def test_the_librarys_form_gives_the_bare_event() -> None:
    assert MAPPER.to_domain_event(cast(StoredEvent, stored("test.happened", b'{"n":3}'))) == Happened(n=3)
    with pytest.raises(NotImplementedError):
        MAPPER.to_stored_event(Happened())


def test_an_event_of_an_unknown_topic_is_refused_with_its_position_and_topic() -> None:
    with pytest.raises(UnknownEventError, match=r"position 5 \(test\.unheard_of\)"):
        MAPPER.decode(stored("test.unheard_of", b"{}"))


@pytest.mark.parametrize("payload", [b"{", b"[]", b'{"n":"x"}', b'{"n":1,"more":2}', b"\xff"])
def test_a_payload_that_does_not_fit_is_refused_with_its_position(payload: bytes) -> None:
    with pytest.raises(UnknownEventError, match="position 5"):
        MAPPER.decode(stored("test.happened", payload))


@pytest.mark.parametrize("payload", [b"{", b'{"city":"A","street":"B","class_version":2,"more":1}'])
def test_a_payload_of_several_shapes_that_does_not_fit_is_refused_too(payload: bytes) -> None:
    with pytest.raises(UnknownEventError, match="position 5"):
        LOCAL.decode(stored("test.moved", payload))


@pytest.mark.parametrize("payload", [b"{}", b"[]"])
def test_a_payload_that_cannot_be_upcast_is_refused_with_its_position(payload: bytes) -> None:
    with pytest.raises(UnknownEventError, match="position 5"):
        LOCAL.decode(stored("test.moved", payload))


def test_a_payload_of_a_newer_shape_is_refused() -> None:
    payload = b'{"city":"A","street":"B","zip_code":"1","class_version":4}'
    with pytest.raises(UnknownEventError):
        LOCAL.decode(stored("test.moved", payload))


def test_what_json_cannot_hold_is_refused_when_it_is_encoded() -> None:
    odd: Any = {1}
    with pytest.raises(UnkeepableError, match=r"test\.happened.*set"):
        MAPPER.encode(Happened.model_construct(text=odd), "thing:1", 2, "")


@pytest.mark.parametrize("event", SAMPLES, ids=lambda e: e.TOPIC)
def test_every_domain_event_is_read_back_before_it_is_written(event: Event) -> None:
    """What is put in place of a field by a fault of the program is refused, and nothing of it is told."""
    for name in type(event).model_fields:
        with pytest.raises(UnkeepableError, match=rf"{event.TOPIC}.*{name}") as refused:
            DOMAIN.encode(event.model_copy(update={name: ODD}), "thing:1", 2, "")
        assert "sk-planted" not in str(refused.value)


# -- whatever is stored -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("test.unheard_of", b"{}"),
        ("test.happened", b"{"),
        ("test.happened", b"[]"),
        ("test.happened", b'{"n":"x"}'),
        ("test.happened", b"\xff\xfe"),
        ("test.happened", b'{"n":1,"more":' + b"[" * 5000),
        ("test.happened", b'{"n":1}\0nobody\0sealed'),
        ("test.moved", b'{"class_version":4}'),
        ("test.moved", b'{"class_version":"x"}'),
        ("test.moved", b"[]"),
    ],
)
def test_a_record_of_what_cannot_be_read_is_marked_and_has_its_envelope(topic: str, payload: bytes) -> None:
    found = LOCAL.record(stored(topic, payload))
    assert found.event is UNREADABLE
    assert (found.position, found.stream, found.version, found.type) == (5, "thing:1", 2, topic)
    assert found.problem.startswith(f"The event at position 5 ({topic}) cannot be read")


def test_a_record_of_what_can_be_read_is_what_is_decoded() -> None:
    good = stored("test.happened", b'{"n":3}')
    assert MAPPER.record(good) == MAPPER.decode(good)


def test_a_disk_that_fails_while_an_event_is_read_does_not_make_the_event_unreadable() -> None:
    with patch.object(MAPPER, "_event", side_effect=sqlite3.OperationalError("disk I/O error")):
        for way in (MAPPER.decode, MAPPER.record):
            with pytest.raises(sqlite3.OperationalError):
                way(stored("test.happened", b'{"n":3}'))


@pytest.mark.parametrize("levels", [200, 201, 230, 252])
def test_of_what_is_nested_too_deeply_all_is_read_that_is_not(levels: int) -> None:
    """Earlier versions wrote up to 252 levels and could read 200."""
    message = {"conversation_id": "c", "message_id": "m", "role": "assistant", "content": "a word"}
    payload = json.dumps({**message, "extra": {"near": 1, "far": nested(levels)}}).encode()
    found = DOMAIN.record(stored("message.posted", payload))
    assert found.event.content == "a word"
    assert found.event.extra["near"] == 1
    assert "nested more than 64 levels deep" in found.problem
