"""domain.catalogue, and what holds for every event."""

import re
from collections import Counter
from importlib import import_module
from pathlib import Path

import pytest
from pydantic import ValidationError

import domain
from domain.catalogue import EVENT_TYPES
from domain.event import Event
from tests.domain.samples import SAMPLES

every_type = pytest.mark.parametrize("event_type", EVENT_TYPES, ids=lambda t: t.TOPIC)
every_sample = pytest.mark.parametrize("event", SAMPLES, ids=lambda e: e.TOPIC)


def test_every_topic_is_unique() -> None:
    assert [t for t, n in Counter(e.TOPIC for e in EVENT_TYPES).items() if n > 1] == []


def test_every_event_of_the_domain_is_in_the_catalogue() -> None:
    root = Path(next(iter(domain.__path__)))
    for file in root.rglob("*.py"):
        import_module(".".join(("domain", *file.relative_to(root).with_suffix("").parts)))
    declared = {t for t in Event.__subclasses__() if t.__module__.startswith("domain.")}
    assert declared == set(EVENT_TYPES)


def test_there_is_a_sample_of_every_event() -> None:
    assert {type(e) for e in SAMPLES} == set(EVENT_TYPES)


@every_type
def test_a_topic_is_a_thing_and_what_happened_to_it(event_type: type[Event]) -> None:
    assert re.fullmatch(r"[a-z]+\.[a-z_]+", event_type.TOPIC)


@every_type
def test_a_secret_field_exists(event_type: type[Event]) -> None:
    assert event_type.model_fields.keys() >= event_type.SECRET


@every_type
def test_an_event_with_versions_can_upcast_from_each(event_type: type[Event]) -> None:
    for version in range(1, event_type.class_version):
        assert callable(getattr(event_type, f"upcast_v{version}_v{version + 1}", None))


@every_sample
def test_an_event_cannot_be_changed(event: Event) -> None:
    field = next(iter(type(event).model_fields))
    with pytest.raises(ValidationError):
        setattr(event, field, "other")


@every_sample
def test_an_event_does_not_take_an_unknown_field(event: Event) -> None:
    with pytest.raises(ValidationError):
        type(event).model_validate({**event.model_dump(), "more": 1})


@every_sample
def test_an_event_survives_json(event: Event) -> None:
    assert type(event).model_validate_json(event.model_dump_json()) == event
