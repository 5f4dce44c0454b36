"""domain.ids."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.ids import new_id

ALPHABET = set("0123456789abcdefghjkmnpqrstvwxyz")


@given(now=st.floats(min_value=0, max_value=2**47 / 1000))
def test_an_id_has_26_characters_that_are_safe_in_paths_and_hard_to_confuse(now: float) -> None:
    made = new_id(now)
    assert len(made) == 26
    assert set(made) <= ALPHABET


@given(times=st.lists(st.integers(min_value=0, max_value=2**47), min_size=2, max_size=20, unique=True))
def test_ids_sort_by_the_millisecond_of_their_creation(times: list[int]) -> None:
    # Half a millisecond is added, to stay clear of the rounding of floats.
    ids = [new_id((t + 0.5) / 1000) for t in sorted(times)]
    assert ids == sorted(ids)


def test_ids_of_the_same_moment_differ() -> None:
    assert len({new_id(1_700_000_000.0) for _ in range(1000)}) == 1000


@pytest.mark.parametrize("now", [0.0, 1_700_000_000.0])
def test_the_first_ten_characters_are_the_time(now: float) -> None:
    assert new_id(now)[:10] == new_id(now)[:10]
    assert new_id(now)[:10] != new_id(now + 1)[:10]
