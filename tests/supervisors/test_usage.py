"""supervisors.usage: counting what is used."""

from collections import Counter, defaultdict

import pytest
import trio

from projections.users import User
from supervisors.usage import UsageMeter
from tests.supervisors.accounts_setup import AccountsSetup
from tests.supervisors.usage_setup import BACKEND, NOON, Clock, Disk, agent_of, by_day, count, recorded

# -- counting ---------------------------------------------------------------------------------------------


async def test_counts_add_up_over_any_number_of_flushes(
    setup: AccountsSetup, meter: UsageMeter, ada: User, bob: User
) -> None:
    for n in range(1, 21):
        count(meter, ada, n, 2 * n, model="demo/large" if n % 2 else "demo")
        count(meter, bob, 1, 1, agent="b1")
        assert meter.tokens_this_month(ada.id) == sum(3 * k for k in range(1, n + 1))
        if n % 7 == 0:
            await meter.flush()
            assert meter.tokens_this_month(ada.id) == sum(3 * k for k in range(1, n + 1))
    await meter.flush()
    rows = {r.model: r for r in setup.views.usage.of_user(ada.id, 0, 10**6)}
    assert {m: (r.requests, r.prompt_tokens, r.completion_tokens) for m, r in rows.items()} == {
        "demo/large": (10, 100, 200),
        "demo": (10, 110, 220),
    }
    assert setup.views.usage.month(bob.id, NOON).tokens == 40
    assert len(await recorded(setup)) == 6, "one event a user and flush"


async def test_a_window_says_from_when_to_when_it_is(
    setup: AccountsSetup, meter: UsageMeter, clock: Clock, ada: User
) -> None:
    count(meter, ada, 1)
    clock.now += 50
    count(meter, ada, 1)
    clock.now += 10
    await meter.flush()
    (event,) = await recorded(setup)
    assert (event.since, event.until) == (int(clock.now) - 60, int(clock.now))


async def test_an_error_is_counted_and_an_agent_that_tells_nothing_too(
    setup: AccountsSetup, meter: UsageMeter, ada: User
) -> None:
    count(meter, ada, failed=True)
    meter.count(agent_of(ada), BACKEND, "demo", None, failed=True)
    meter.count(agent_of(ada), BACKEND, "demo", None, failed=False)
    count(meter, ada, None, None)
    count(meter, ada, 5, None)
    count(meter, ada, None, 7)
    await meter.flush()
    (row,) = setup.views.usage.of_user(ada.id, 0, 10**6)
    assert (row.requests, row.errors, row.unknown) == (6, 2, 2)
    assert (row.prompt_tokens, row.completion_tokens) == (5, 7)


async def test_models_that_are_not_declared_count_under_the_backends_name(
    setup: AccountsSetup, meter: UsageMeter, ada: User
) -> None:
    for model in ("demo", "demo/large", "", "made-up-1", "made-up-2"):
        count(meter, ada, model=model)
    await meter.flush()
    rows = setup.views.usage.of_user(ada.id, 0, 10**6)
    assert {r.model: r.requests for r in rows} == {"demo": 4, "demo/large": 1}


async def test_when_a_token_was_used_last_is_known_at_once_and_kept_with_the_counts(
    setup: AccountsSetup, meter: UsageMeter, clock: Clock, ada: User
) -> None:
    assert meter.token_used_at(ada.id, "t1") is None
    meter.note_token(ada.id, "t1")
    clock.now += 5
    meter.note_token(ada.id, "t1")
    assert meter.token_used_at(ada.id, "t1") == int(clock.now)
    assert meter.token_used_at(ada.id, "t2") is None
    await meter.flush()
    (event,) = await recorded(setup)
    assert event.tokens_used == {"t1": int(clock.now)}
    assert event.tallies == ()


async def test_where_nothing_is_counted_nothing_is_written(setup: AccountsSetup, meter: UsageMeter) -> None:
    await meter.flush()
    meter.tokens_this_month("nobody")
    meter.token_used_at("nobody", "t1")
    await meter.flush()
    assert await recorded(setup) == []


async def test_what_was_counted_for_a_user_who_is_gone_is_dropped(
    setup: AccountsSetup, meter: UsageMeter, ada: User, bob: User
) -> None:
    count(meter, ada, 5)
    count(meter, bob, 5)
    meter.forget(ada.id)
    meter.forget("nobody")
    meter.count(
        agent_of(ada).__class__("a9", "gone", "demo", "A", "", 1, 0.0, 0.0), BACKEND, "demo", None, failed=False
    )
    await meter.flush()
    assert [e.user_id for e in await recorded(setup)] == [bob.id]


# -- a disk that refuses ----------------------------------------------------------------------------------


async def test_a_disk_that_refuses_keeps_the_numbers_for_the_next_time(
    setup: AccountsSetup, meter: UsageMeter, clock: Clock, disk: Disk, ada: User, bob: User
) -> None:
    meter.note_token(ada.id, "t1")
    count(meter, ada, 1, 2)
    count(meter, bob, 10)
    disk.fails = True
    for _ in range(3):
        await meter.flush()
        clock.now += 1
        count(meter, ada, 1, 2)
        count(meter, ada, 5, failed=True, agent="a2")
        meter.note_token(ada.id, "t2")
    assert meter.tokens_this_month(ada.id) == 27
    assert meter.token_used_at(ada.id, "t1") == int(clock.now) - 3
    disk.fails = False
    await meter.flush()
    assert meter.tokens_this_month(ada.id) == 27
    events = [e for e in await recorded(setup) if e.user_id == ada.id]
    sums: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for tally in (t for e in events for t in e.tallies):
        sums[tally.agent_id].update(requests=tally.requests, errors=tally.errors, prompt=tally.prompt_tokens)
    assert sums == {
        "a1": {"requests": 4, "errors": 0, "prompt": 4},
        "a2": {"requests": 3, "errors": 3, "prompt": 15},
    }
    assert {"t1": int(clock.now) - 3, "t2": int(clock.now)} == {
        k: v for e in events for k, v in e.tokens_used.items()
    }
    assert setup.views.usage.month(bob.id, clock.now).tokens == 10


async def test_a_stop_in_the_middle_of_a_flush_loses_nothing(
    setup: AccountsSetup, meter: UsageMeter, ada: User, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    count(meter, ada, 1)
    count(meter, bob, 2)
    original = meter._ends.append
    with trio.CancelScope() as scope:

        async def append(*args: object, **more: object) -> None:
            scope.cancel()
            await original(*args, **more)  # type: ignore[arg-type]

        monkeypatch.setattr(meter._ends, "append", append)
        await meter.flush()
    await meter.flush()  # As the stack does when it closes.
    assert [by_day(setup, user).popitem()[1] for user in (ada, bob) if by_day(setup, user)] == [(1, 1), (1, 2)]
