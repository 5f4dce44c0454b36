"""domain.backends.registry."""

import json
from typing import Any

import pytest

from domain.backends.registry import Backends, BackendsFileError, parse_backends
from domain.errors import NotFound, Unavailable


def _entry(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "display_name": name.title(), "image": name, **fields}


def _parse(*entries: Any) -> Backends:
    return parse_backends(json.dumps({"backends": entries}), "backends.json")


def _refused(text: str) -> str:
    with pytest.raises(BackendsFileError) as refused:
        parse_backends(text, "/etc/backends.json")
    return str(refused.value)


def _refused_entries(*entries: Any) -> str:
    return _refused(json.dumps({"backends": entries}))


def test_backends_keep_their_declared_order() -> None:
    assert [b.name for b in _parse(_entry("z"), _entry("a"), _entry("m"))] == ["z", "a", "m"]


def test_there_may_be_none() -> None:
    assert list(_parse()) == []


@pytest.mark.parametrize(
    "text",
    ["[]", "{}", '{"backends": {}}', '{"backends": [], "more": 1}', '{"backend": []}', "null", '"backends"', "3"],
)
def test_a_file_of_another_form_is_refused_with_the_form_it_must_have(text: str) -> None:
    message = _refused(text)
    assert message.startswith("/etc/backends.json: ")
    assert '{"backends": [...]}' in message


@pytest.mark.parametrize("text", ["", "{", '{"backends": [}', '{"backends": [],}'])
def test_what_is_not_json_is_refused_with_the_place(text: str) -> None:
    message = _refused(text)
    assert message.startswith("/etc/backends.json: not valid JSON")
    assert "line 1" in message


def test_an_unknown_key_is_refused_with_file_entry_and_key() -> None:
    message = _refused_entries(_entry("demo"), _entry("other", comand=["x"]))
    assert "/etc/backends.json" in message
    assert "entry 2 ('other'): comand: unknown key" in message


def test_an_unknown_key_inside_a_member_is_named_with_its_path() -> None:
    message = _refused_entries(_entry("demo", session={"place": "body", "name": "s", "nam": 1}))
    assert "entry 1 ('demo'): session.nam: unknown key" in message


def test_a_wrong_value_is_refused_with_file_entry_and_key() -> None:
    message = _refused_entries(_entry("demo", engine="podman"))
    assert "/etc/backends.json" in message
    assert "entry 1 ('demo'): engine: " in message
    assert "'docker' or 'process'" in message


@pytest.mark.parametrize("entry", [3, None, "demo", []])
def test_an_entry_that_is_no_object_is_refused_with_its_number(entry: Any) -> None:
    assert "entry 1: entry: " in _refused_entries(entry)


def test_an_entry_without_a_name_is_refused_with_its_number() -> None:
    assert "entry 2: name: " in _refused_entries(_entry("demo"), {"display_name": "X"})


def test_a_repeated_name_is_refused_with_both_entries() -> None:
    message = _refused_entries(_entry("demo"), _entry("x"), _entry("demo"))
    assert "/etc/backends.json" in message
    assert "entry 3 ('demo'): name: 'demo' is already used by entry 1 ('demo')" in message


def test_a_repeated_model_is_refused_with_both_entries() -> None:
    message = _refused_entries(_entry("a", extra_models=["m"]), _entry("b", extra_models=["n", "m"]))
    assert "entry 2 ('b'): extra_models: 'm' is already used by entry 1 ('a')" in message


def test_a_model_with_the_name_of_another_backend_is_refused() -> None:
    message = _refused_entries(_entry("a", extra_models=["b"]), _entry("b"))
    assert "entry 2 ('b'): name: 'b' is already used by entry 1 ('a')" in message


def test_a_backend_that_repeats_its_own_name_as_a_model_is_told_the_right_key() -> None:
    assert "entry 1 ('a'): extra_models: " in _refused_entries(_entry("a", extra_models=["a"]))


def test_every_mistake_is_listed_at_once() -> None:
    message = _refused_entries(_entry("a", x=1, y=2), _entry("B"), _entry("c"), _entry("c"))
    assert "4 mistake(s)" in message
    for said in ("'a'): x:", "'a'): y:", "'B'): name:", "'c'): name:"):
        assert said in message


def test_a_repeated_key_is_refused_with_file_and_key() -> None:
    message = _refused(
        '{"backends": [{"name": "demo", "display_name": "Demo", "engine": "docker", "engine": "process"}]}'
    )
    assert message.startswith("/etc/backends.json: ")
    assert "engine: given twice" in message


def test_a_repeated_key_is_refused_with_its_entry() -> None:
    message = _refused('{"backends": [{"name": "a", "display_name": "A"}, {"name": "b", "name": "c"}]}')
    assert "entry 2" in message


def test_an_empty_model_name_is_refused() -> None:
    assert "extra_models" in _refused_entries(_entry("a", extra_models=[""]))


def test_a_container_prefix_of_another_backend_is_refused() -> None:
    assert "container_prefix" in _refused_entries(
        _entry("a", container_prefix="box"), _entry("b", container_prefix="box")
    )


def test_a_backend_is_found_by_name_or_refused_with_the_names_there_are() -> None:
    backends = _parse(_entry("a"), _entry("b", disabled=True))
    assert backends.get("b").name == "b"
    with pytest.raises(NotFound, match="Declared: a, b") as refused:
        backends.get("c")
    assert refused.value.reason == "unknown_backend"


def test_a_disabled_backend_may_be_looked_at_but_not_started() -> None:
    backends = _parse(_entry("a"), _entry("b", disabled=True))
    assert backends.enabled("a").name == "a"
    with pytest.raises(Unavailable) as refused:
        backends.enabled("b")
    assert refused.value.reason == "backend_disabled"


@pytest.mark.parametrize(
    ("model", "name"),
    [("a", "a"), ("a/anything/at:all", "a"), ("small", "a"), ("a/fast", "b"), ("b", "b"), ("b/", "b")],
)
def test_a_model_belongs_to_the_backend_that_names_it_or_stands_before_the_slash(model: str, name: str) -> None:
    backends = _parse(_entry("a", extra_models=["small"]), _entry("b", extra_models=["a/fast"]))
    assert backends.for_model(model).name == name


@pytest.mark.parametrize("model", ["", "c", "A", "small/x", "off", "off/x", "/a", " a"])
def test_an_unknown_or_disabled_model_does_not_exist_and_the_others_are_named(model: str) -> None:
    backends = _parse(_entry("a", extra_models=["small"]), _entry("off", disabled=True))
    with pytest.raises(NotFound, match="Available: a, small") as refused:
        backends.for_model(model)
    assert refused.value.reason == "model_not_found"


def test_a_very_long_model_name_is_cut_in_the_message() -> None:
    with pytest.raises(NotFound) as refused:
        _parse().for_model("m" * 100_000)
    assert len(refused.value.message) < 400
