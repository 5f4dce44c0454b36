"""domain.backends.definition."""

import re
from typing import Any

import pytest
from pydantic import ValidationError

from domain.backends.definition import Backend
from domain.users.rules import slug_base


def _backend(**fields: Any) -> Backend:
    return Backend.model_validate({"name": "demo", "display_name": "Demo", "image": "demo", **fields})


def test_a_name_a_display_name_and_an_image_are_enough() -> None:
    backend = _backend()
    assert backend.engine == "docker"
    assert backend.models == ("demo",)
    assert backend.model_handling == "keep"
    assert backend.history == "whole"
    assert not backend.disabled


@pytest.mark.parametrize("name", ["", "Demo", "-demo", "de mo", "de_mo", "d" * 41, "../demo", "demo\n"])
def test_a_name_that_could_not_name_a_container_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        _backend(name=name)


@pytest.mark.parametrize(
    "fields",
    [
        {"display_name": ""},
        {"display_name": "d" * 81},
        {"engine": "podman"},
        {"extra_env": {"lower": "x"}},
        {"extra_env": {"A=B": "x"}},
        {"user_overridable_env": ["1ST"]},
        {"home_template": "../etc"},
        {"health_path": "health"},
        {"health_path": "/health?x=1"},
        {"ready_path": "/a b"},
        {"startup_timeout_seconds": 0},
        {"stop_grace_seconds": -1},
        {"stop_grace_seconds": 301},
        {"default_idle_seconds": -1},
        {"session": {"place": "cookie", "name": "s"}},
        {"session": {"place": "header", "name": ""}},
        {"session": {"place": "header", "name": "x", "more": 1}},
        {"model_handling": "rename"},
        {"history": "none"},
        {"comand": ["x"]},
    ],
)
def test_an_unacceptable_value_or_an_unknown_key_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        _backend(**fields)


def test_a_definition_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        setattr(_backend(), "name", "other")  # noqa: B010 - mypy would refuse the plain form


def test_its_own_name_comes_first_among_its_models() -> None:
    assert _backend(extra_models=["small", "large"]).models == ("demo", "small", "large")


@pytest.mark.parametrize(
    ("prefix", "ordinal", "name"),
    [(None, 1, "demo-ada"), (None, 2, "demo-ada-a2"), ("box", 1, "box-ada"), ("box", 12, "box-ada-a12")],
)
def test_a_container_is_named_for_its_user_and_from_the_second_on_for_its_ordinal(
    prefix: str | None, ordinal: int, name: str
) -> None:
    assert _backend(container_prefix=prefix).container_name("ada", ordinal) == name


def test_a_home_is_named_for_the_backend_and_the_ordinal() -> None:
    assert [_backend().home_name(n) for n in (1, 2, 3)] == ["demo", "demo-a2", "demo-a3"]


@pytest.mark.parametrize("local", ["bob-a2", "x-ada", "a2", "a", "-", "Bob.A2"])
def test_a_slug_can_never_be_taken_for_a_prefix_or_an_ordinal(local: str) -> None:
    slug = slug_base(f"{local}@example.org")
    assert "-" not in slug
    assert not re.fullmatch(r"a\d*", slug)


def test_a_backend_may_not_be_named_like_a_second_agent() -> None:
    with pytest.raises(ValidationError, match="second agent"):
        _backend(name="demo-a2")
