"""domain.agents.rules."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.agents.rules import check_model, check_name, free_ordinal
from domain.errors import Conflict, Unprocessable


@pytest.mark.parametrize(("taken", "free"), [([], 1), ([1], 2), ([2], 1), ([1, 3], 2), ([3, 2, 1], 4)])
def test_a_new_agent_gets_the_smallest_free_ordinal(taken: list[int], free: int) -> None:
    assert free_ordinal(taken, most=5) == free


def test_the_most_agents_allowed_is_a_conflict_that_says_what_to_do() -> None:
    with pytest.raises(Conflict, match="MAX_AGENTS_PER_BACKEND") as refused:
        free_ordinal([1, 2, 3], most=3)
    assert refused.value.reason == "too_many_agents"
    assert refused.value.fields == {"limit": 3}


@given(taken=st.sets(st.integers(1, 30)), most=st.integers(1, 30))
def test_a_free_ordinal_is_never_taken_and_never_over_the_most(taken: set[int], most: int) -> None:
    if len(taken) >= most:
        with pytest.raises(Conflict):
            free_ordinal(taken, most=most)
    else:
        assert free_ordinal(taken, most=most) in set(range(1, most + 1)) - taken


@pytest.mark.parametrize(("given_", "kept"), [("A", "A"), ("  Ada's  ", "Ada's"), ("n" * 80, "n" * 80)])
def test_a_name_is_trimmed(given_: str, kept: str) -> None:
    assert check_name(given_) == kept


@pytest.mark.parametrize("name", ["", "   ", "n" * 81])
def test_a_name_of_no_or_too_many_characters_is_refused(name: str) -> None:
    with pytest.raises(Unprocessable) as refused:
        check_name(name)
    assert refused.value.reason == "bad_name"


@pytest.mark.parametrize(("given_", "kept"), [("", ""), ("  ", ""), (" m/1 ", "m/1"), ("m" * 200, "m" * 200)])
def test_a_model_override_is_trimmed_and_may_be_none(given_: str, kept: str) -> None:
    assert check_model(given_) == kept


def test_a_model_override_of_more_than_200_characters_is_refused() -> None:
    with pytest.raises(Unprocessable) as refused:
        check_model("m" * 201)
    assert refused.value.reason == "bad_model"
