"""domain.runners.idle."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.runners.idle import NEVER, clamp_idle


@pytest.mark.parametrize(
    ("asked", "stored"),
    [(0, NEVER), (-1, NEVER), (1, 60), (59, 60), (60, 60), (61, 61), (3600, 3600), (3601, 3600)],
)
def test_an_idle_time_is_clamped_and_nothing_means_never(asked: int, stored: int) -> None:
    assert clamp_idle(asked, least=60, most=3600) == stored


@given(asked=st.integers(), least=st.integers(1, 1000), more=st.integers(0, 1000))
def test_a_clamped_idle_time_stays_as_it_is(asked: int, least: int, more: int) -> None:
    once = clamp_idle(asked, least=least, most=least + more)
    assert once == NEVER or least <= once <= least + more
    assert clamp_idle(once, least=least, most=least + more) == once
