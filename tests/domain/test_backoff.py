"""domain.runners.backoff."""

from hypothesis import given
from hypothesis import strategies as st

from domain.runners.backoff import FREE_FAILURES, LONGEST_PAUSE, pause_seconds


def test_the_first_failures_cost_no_wait() -> None:
    assert [pause_seconds(n) for n in range(FREE_FAILURES + 1)] == [0] * (FREE_FAILURES + 1)


def test_each_further_failure_doubles_the_wait_up_to_the_longest() -> None:
    assert [pause_seconds(n) for n in range(3, 11)] == [5, 10, 20, 40, 80, 160, 300, 300]


@given(failures=st.integers(0, 10**12))
def test_more_failures_never_shorten_the_wait_and_it_stays_bounded(failures: int) -> None:
    assert 0 <= pause_seconds(failures) <= pause_seconds(failures + 1) <= LONGEST_PAUSE
