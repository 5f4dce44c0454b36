"""The progress of a start."""

from hypothesis import given
from hypothesis import strategies as st

from domain.runners.machine import START_STAGES, State
from supervisors.runners.progress import Progress, ProgressBoard, boot_fraction

REPORTS = st.lists(st.tuples(st.sampled_from(START_STAGES), st.floats(-1, 2)), max_size=30)


@given(REPORTS)
def test_the_bar_never_goes_back_and_stays_below_100_until_ready(reports: list[tuple[State, float]]) -> None:
    board = ProgressBoard(lambda: None)
    board.begin()
    shown = [board.current.progress]
    for stage, fraction in reports:
        board.report(stage, fraction, "")
        shown.append(board.current.progress)
    assert shown == sorted(shown)
    assert shown[-1] < 100
    board.ready("up")
    assert (board.current.stage, board.current.progress, board.current.final) == ("ready", 100, True)


def test_a_new_start_begins_at_nothing() -> None:
    board = ProgressBoard(lambda: None)
    board.ready("up")
    board.begin()
    assert (board.current.progress, board.current.final) == (0, False)


def test_a_failure_leaves_the_bar_where_it_was() -> None:
    board = ProgressBoard(lambda: None)
    board.begin()
    board.report(State.CREATING, 0, "creating")
    board.failed("broken")
    assert board.current == Progress("error", 45, "broken")
    assert board.current.final


def test_watchers_are_woken_for_changes_only() -> None:
    calls: list[Progress] = []
    board = ProgressBoard(lambda: calls.append(board.current))
    board.begin()
    board.report(State.PULLING, 0.5, "pulling", "half")
    board.report(State.PULLING, 0.5, "pulling", "half")
    board.report(State.PULLING, 0.25, "pulling", "half")
    assert [c.progress for c in calls] == [0, 25]


def test_the_board_says_where_it_is() -> None:
    board = ProgressBoard(lambda: None)
    board.report(State.PROBING, 0.5, "")
    assert repr(board) == "<ProgressBoard probing 79%>"
    board.reset()
    assert board.current == Progress("snapshot", 0, "Not running")


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1e4))
def test_a_boot_nears_its_end_without_falling_back(elapsed: float, more: float, expected: float) -> None:
    now, later = boot_fraction(elapsed, expected), boot_fraction(elapsed + more, expected)
    assert 0 <= now <= later <= 1
