"""projections.usage: how long runners were up, by day."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.event import Event
from domain.runners.events import (
    RunnerFailed,
    RunnerReady,
    RunnerRequested,
    RunnerStopped,
    RunnerVanished,
)
from domain.users.events import UserDeleted
from eventlog.envelope import Recorded
from projections.usage import DAY, Usage, by_day
from tests.projections.histories import ORIGIN

REQUESTED = RunnerRequested(
    runner_id="r1", agent_id="a1", user_id="u1", backend="demo", container_name="c", engine="process", spec_hash="0"
)
READY = RunnerReady(runner_id="r1", seconds=1.0)
STOPPED = RunnerStopped(runner_id="r1", reason="idle")
NOON = 10 * DAY + DAY / 2


def _usage(*events: tuple[float, Event]) -> Usage:
    """Return what was counted of events at their times."""
    usage = Usage()
    usage.apply([Recorded(n, "r", n, e.TOPIC, at, ORIGIN, e) for n, (at, e) in enumerate(events, start=1)])
    return usage


def _seconds(usage: Usage) -> dict[int, float]:
    return {r.day: r.runner_seconds for r in usage.of_user("u1", 0, 10**6)}


@given(since=st.floats(0, 1e10), length=st.floats(0, 40 * DAY))
def test_a_span_of_time_is_split_at_midnight_and_nothing_of_it_is_lost(since: float, length: float) -> None:
    until = since + length
    parts = list(by_day(since, until))
    assert sum(seconds for _, seconds in parts) == pytest.approx(until - since, abs=1e-3)
    days = [day for day, _ in parts]
    assert days == list(range(days[0], days[0] + len(days))) if days else until <= since
    for day, seconds in parts:
        assert 0 < seconds <= DAY
        assert since // DAY <= day <= until // DAY


def test_nothing_lies_on_a_span_that_ends_before_it_begins() -> None:
    assert list(by_day(5.0, 5.0)) == list(by_day(6.0, 5.0)) == []


def test_a_runner_counts_from_when_it_was_ready_to_its_end() -> None:
    usage = _usage((NOON - 50, REQUESTED), (NOON, READY), (NOON + 100.5, STOPPED))
    assert _seconds(usage) == {10: 100.5}
    (row,) = usage.of_user("u1", 10, 10)
    assert (row.agent_id, row.backend, row.model, row.requests) == ("a1", "demo", "", 0)


def test_a_runner_that_is_up_over_midnight_counts_on_each_day() -> None:
    assert _seconds(_usage((NOON, REQUESTED), (NOON, READY), (NOON + 2 * DAY, STOPPED))) == {
        10: DAY / 2,
        11: DAY,
        12: DAY / 2,
    }


@pytest.mark.parametrize(
    ("end", "counted"),
    [
        (STOPPED, {10: 60.0}),
        (RunnerFailed(runner_id="r1", stage="", message="no"), {10: 60.0}),
        (RunnerVanished(runner_id="r1"), {}),  # Nobody knows when.
        (UserDeleted(user_id="u1"), {}),
    ],
    ids=lambda v: v.TOPIC if isinstance(v, Event) else "",
)
def test_each_end_of_a_runner_is_an_end_of_its_time(end: Event, counted: dict[int, float]) -> None:
    usage = _usage((NOON, REQUESTED), (NOON, READY), (NOON + 60, end), (NOON + 99, STOPPED))
    assert _seconds(usage) == counted
    assert all(len(t) == 0 for t in usage.tables if t.name == "running_since")


def test_a_runner_that_was_never_ready_costs_no_time() -> None:
    assert _seconds(_usage((NOON, REQUESTED), (NOON + 60, STOPPED))) == {}


def test_two_runners_of_a_day_add_up() -> None:
    second = REQUESTED.model_copy(update={"runner_id": "r2"})
    usage = _usage(
        (NOON, REQUESTED),
        (NOON, READY),
        (NOON + 10, STOPPED),
        (NOON + 20, second),
        (NOON + 20, READY.model_copy(update={"runner_id": "r2"})),
        (NOON + 25, STOPPED.model_copy(update={"runner_id": "r2"})),
    )
    assert _seconds(usage) == {10: 15.0}
