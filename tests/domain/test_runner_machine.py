"""domain.runners.machine: the whole table, written out a second time by hand."""

from itertools import product

import pytest

from domain.runners.machine import START_STAGES, Effect, ImpossibleTransitionError, Input, State, Step, step, table

# One line: state, input, next state, effects.
EXPECTED = """
absent      wanted        preparing  begin_start
absent      adopted       ready
absent      stop          absent
absent      died          absent

preparing   wanted        preparing
preparing   advanced      pulling
preparing   start_failed  failed     record_failure
preparing   stop          stopping   cancel_start begin_stop
preparing   died          preparing

pulling     wanted        pulling
pulling     advanced      creating
pulling     start_failed  failed     record_failure
pulling     stop          stopping   cancel_start begin_stop
pulling     died          pulling

creating    wanted        creating
creating    advanced      starting
creating    start_failed  failed     record_failure
creating    stop          stopping   cancel_start begin_stop
creating    died          creating

starting    wanted        starting
starting    advanced      probing
starting    start_failed  failed     record_failure
starting    stop          stopping   cancel_start begin_stop
starting    died          starting

probing     wanted        probing
probing     advanced      ready      announce_ready
probing     start_failed  failed     record_failure
probing     stop          stopping   cancel_start begin_stop
probing     died          probing

ready       wanted        ready
ready       died          failed     record_failure
ready       stop          stopping   begin_stop
ready       idle          stopping   begin_stop

stopping    stopped       absent     record_stop
stopping    died          stopping
stopping    stop          stopping

failed      wanted        preparing  begin_start
failed      stop          failed
failed      died          failed
failed      adopted       ready
"""


def _expected() -> dict[tuple[State, Input], Step]:
    rows = [line.split() for line in EXPECTED.splitlines() if line]
    return {
        (State(now), Input(happened)): Step(State(then), tuple(map(Effect, effects)))
        for now, happened, then, *effects in rows
    }


IMPOSSIBLE = sorted(set(product(State, Input)) - set(_expected()))


def test_the_table_is_exactly_the_expected_one() -> None:
    assert table() == _expected()


@pytest.mark.parametrize(("state", "happened"), sorted(_expected()))
def test_a_possible_input_leads_where_the_table_says(state: State, happened: Input) -> None:
    assert step(state, happened) == _expected()[state, happened]


@pytest.mark.parametrize(("state", "happened"), IMPOSSIBLE)
def test_an_impossible_input_is_a_bug_that_is_named(state: State, happened: Input) -> None:
    with pytest.raises(ImpossibleTransitionError, match=f"{happened} is impossible in state {state}"):
        step(state, happened)


def test_changing_the_returned_table_changes_nothing() -> None:
    table().clear()
    assert step(State.ABSENT, Input.WANTED).state is State.PREPARING


def test_every_state_can_be_reached_and_left() -> None:
    reached, todo = {State.ABSENT}, [State.ABSENT]
    while todo:
        now = todo.pop()
        for happened in Input:
            if (now, happened) in table() and (then := table()[now, happened].state) not in reached:
                reached.add(then)
                todo.append(then)
    assert reached == set(State)
    for state in State:
        assert any(s.state is not state for (now, _), s in table().items() if now is state), state


def test_a_start_that_always_advances_passes_every_stage_and_announces_once() -> None:
    state = step(State.ABSENT, Input.WANTED).state
    passed: list[State] = []
    effects: list[Effect] = []
    while state is not State.READY:
        passed.append(state)
        then = step(state, Input.ADVANCED)
        state, effects = then.state, [*effects, *then.effects]
    assert tuple(passed) == START_STAGES
    assert effects == [Effect.ANNOUNCE_READY]


@pytest.mark.parametrize("state", list(State))
def test_whoever_stops_a_runner_gets_it_stopped_in_every_state(state: State) -> None:
    then = step(state, Input.STOP)
    at_rest = {State.ABSENT, State.FAILED}
    assert then.state in ({state} if state in at_rest else {State.STOPPING})


@pytest.mark.parametrize("state", list(State))
def test_a_death_is_never_impossible_since_nobody_can_forbid_it(state: State) -> None:
    step(state, Input.DIED)
