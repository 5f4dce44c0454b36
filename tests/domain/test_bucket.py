"""domain.limits.bucket."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from domain.limits.bucket import Buckets, Rate

RATES = st.builds(Rate, st.integers(1, 20), st.floats(0.01, 100))
STARTS = st.floats(0, 1e7)
STEPS = st.lists(st.one_of(st.just(0.0), st.floats(0, 200)), max_size=120)


@given(rate=RATES, start=STARTS, steps=STEPS)
def test_in_no_window_are_there_more_than_the_burst_and_one_for_each_interval(
    rate: Rate, start: float, steps: list[float]
) -> None:
    buckets, now, taken = Buckets(rate), start, []
    for step in steps:
        now += step
        if buckets.take("key", now) == 0.0:
            taken.append(now)
    for first, since in enumerate(taken):
        for last in range(first, len(taken)):
            allowed = rate.burst + (taken[last] - since) / rate.seconds
            assert last - first + 1 <= allowed + 1e-6


@given(per_minute=st.integers(1, 1000), start=STARTS)
@example(per_minute=600, start=12345.678)  # What a user may ask for by default.
def test_whoever_has_rested_may_have_the_whole_burst_at_once(per_minute: int, start: float) -> None:
    buckets = Buckets(Rate(per_minute, 60 / per_minute))
    assert buckets.left("key", start) == per_minute
    refused = [n for n in range(per_minute) if buckets.take("key", start)]
    assert refused == [], "one of the burst was refused"
    assert buckets.take("key", start) > 0
    assert buckets.left("key", start) == 0


@given(rate=RATES, start=STARTS, steps=STEPS)
def test_whoever_comes_again_when_told_to_is_let_in(rate: Rate, start: float, steps: list[float]) -> None:
    buckets, now = Buckets(rate), start
    for step in steps:
        now += step
        wait = buckets.take("key", now)
        if wait:
            assert wait <= rate.seconds + 1e-6
            now += math.ceil(wait)
            assert buckets.take("key", now) == 0.0


@given(rate=RATES, start=STARTS, tries=st.integers(1, 50))
def test_a_refusal_costs_nothing(rate: Rate, start: float, tries: int) -> None:
    buckets = Buckets(rate)
    while not buckets.take("key", start):
        pass
    first = buckets.wait("key", start)
    for _ in range(tries):
        assert buckets.take("key", start) == first
    assert buckets.wait("key", start) == first


def test_a_look_takes_nothing() -> None:
    buckets = Buckets(Rate(2, 10.0))
    for _ in range(5):
        assert buckets.wait("key", 0.0) == 0.0
        assert buckets.left("key", 0.0) == 2
        assert buckets.full_in("key", 0.0) == 0.0
    assert len(buckets) == 0


@pytest.mark.parametrize(
    ("now", "left", "wait", "full_in"),
    [(0.0, 0, 10.0, 30.0), (9.5, 0, 0.5, 20.5), (10.0, 1, 0.0, 20.0), (25.0, 2, 0.0, 5.0), (99.0, 3, 0.0, 0.0)],
)
def test_an_empty_bucket_fills_one_by_one(now: float, left: int, wait: float, full_in: float) -> None:
    buckets = Buckets(Rate(3, 10.0))
    for _ in range(3):
        assert buckets.take("key", 0.0) == 0.0
    assert (buckets.left("key", now), buckets.wait("key", now), buckets.full_in("key", now)) == (
        left,
        wait,
        full_in,
    )


def test_each_key_has_a_bucket_of_its_own_and_a_cleared_one_is_full() -> None:
    buckets = Buckets(Rate(1, 10.0))
    assert buckets.take("a", 0.0) == 0.0
    assert buckets.take("b", 0.0) == 0.0
    assert buckets.take("a", 0.0) == 10.0
    buckets.clear("a")
    buckets.clear("never seen")
    assert buckets.take("a", 0.0) == 0.0
    assert buckets.take("b", 0.0) == 10.0


def test_a_flood_of_keys_is_not_remembered_and_who_is_still_at_it_is() -> None:
    buckets = Buckets(Rate(2, 1000.0), keep=10)
    for n in range(1000):
        buckets.take(n, float(n))
        buckets.take("busy", float(n))
    assert len(buckets) == 10
    buckets.clear("busy")
    assert len(buckets) == 9


def test_many_are_taken_at_once_or_none() -> None:
    buckets = Buckets(Rate(10, 1.0))
    assert buckets.take("key", 0.0, 8) == 0.0
    assert buckets.take("key", 0.0, 5) == pytest.approx(3.0)
    assert buckets.left("key", 0.0) == 2
    assert buckets.take("key", 3.0, 5) == 0.0


def test_more_than_the_burst_are_taken_from_a_full_bucket_only() -> None:
    buckets = Buckets(Rate(10, 1.0))
    assert buckets.take("key", 0.0, 1) == 0.0
    assert buckets.take("key", 0.0, 50) == pytest.approx(1.0)
    assert buckets.take("key", 1.0, 50) == 0.0
    assert buckets.wait("key", 1.0) == pytest.approx(41.0)


def test_what_is_spent_is_not_asked_for() -> None:
    buckets = Buckets(Rate(10, 1.0))
    for _ in range(100):
        buckets.spend("key", 0.0, 7)
    assert buckets.full_in("key", 0.0) == pytest.approx(700.0)
    assert buckets.left("key", 0.0) == 0
