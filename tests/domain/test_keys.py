"""domain.keys.policy."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.backends.definition import Backend
from domain.keys.policy import Effective, Lookup, effective, masked, values

NAMES = ("LLM_BASE_URL", "LLM_API_KEY", "LLM_MODEL")
SCOPES = ("", "one", "two")
VALUES = st.dictionaries(
    st.tuples(st.sampled_from(SCOPES), st.sampled_from(NAMES)), st.sampled_from(["", "a", "b"])
)


def _backend(**changes: Any) -> Backend:
    return Backend.model_validate(
        {
            "name": "one",
            "display_name": "One",
            "engine": "process",
            "command": ["x"],
            "user_overridable_env": NAMES,
            **changes,
        }
    )


def _lookup(values: dict[tuple[str, str], str]) -> Lookup:
    return lambda scope, name: values.get((scope, name))


@given(
    own=VALUES,
    shared=VALUES,
    default=st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["", "d"])),
)
def test_the_first_tier_that_has_a_value_counts(
    own: dict[tuple[str, str], str], shared: dict[tuple[str, str], str], default: dict[str, str]
) -> None:
    found = effective(_backend(extra_env=default), _lookup(own), _lookup(shared))
    assert set(found) == set(NAMES)
    for name, counted in found.items():
        tiers = {
            "backend": own.get(("one", name)),
            "global": own.get(("", name)),
            "shared": shared.get(("", name)),
            "default": default.get(name),
        }
        if counted.source == "unset":
            assert counted.value == ""
            assert not any(tiers.values())
            continue
        assert counted.value == tiers[counted.source] != ""
        above = list(tiers)[: list(tiers).index(counted.source)]
        assert not any(tiers[tier] for tier in above)


@given(own=VALUES, shared=VALUES)
def test_what_is_set_for_another_backend_or_shared_for_one_alone_does_not_count(
    own: dict[tuple[str, str], str], shared: dict[tuple[str, str], str]
) -> None:
    beside = {k: v for k, v in own.items() if k[0] != "two"}
    everybodys = {k: v for k, v in shared.items() if k[0] == ""}
    backend = _backend()
    assert effective(backend, _lookup(own), _lookup(shared)) == effective(
        backend, _lookup(beside), _lookup(everybodys)
    )


def test_variables_that_users_may_not_set_are_not_told() -> None:
    backend = _backend(user_overridable_env=("LLM_MODEL",), extra_env={"SECRET": "s", "LLM_MODEL": "m"})
    own = _lookup({("", "SECRET"): "mine", ("one", "LLM_API_KEY"): "k"})
    assert effective(backend, own, own) == {"LLM_MODEL": Effective("m", "default")}


def test_a_variable_without_a_value_is_left_out_of_the_values() -> None:
    found = {"A": Effective("", "unset"), "B": Effective("b", "shared")}
    assert values(found) == {"B": "b"}


@given(value=st.text(alphabet=st.characters(exclude_characters="•"), max_size=60))
def test_a_masked_value_shows_at_most_its_first_and_last_four_characters(value: str) -> None:
    shown = masked(value)
    if len(value) <= 8:
        assert shown == "•" * len(value)
        return
    assert (shown[:4], shown[-4:]) == (value[:4], value[-4:])
    assert set(shown[4:-4]) == {"•"}
    assert len(shown.replace("•", "")) == 8
    assert len(shown) <= 16, "how long it is is not told either"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("", ""),
        ("12345678", "••••••••"),
        ("123456789", "1234•6789"),
        ("sk-proj-" + "x" * 100 + "wxyz", "sk-p••••••••wxyz"),
    ],
)
def test_values_are_masked(value: str, shown: str) -> None:
    assert masked(value) == shown
