"""supervisors.usage: days, months and budgets."""

import time

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import TooMany
from domain.usage.events import UsageRecorded
from projections.usage import DAY
from projections.users import User
from supervisors.usage import FLUSH_SECONDS, UsageMeter, next_month
from tests.supervisors.accounts_setup import AccountsSetup
from tests.supervisors.usage_setup import Clock, Disk, at, by_day, count
from tests.supervisors.whole import ORIGIN

# -- days and months --------------------------------------------------------------------------------------


async def test_the_meter_writes_every_few_minutes_and_at_midnight_and_at_its_end(
    setup: AccountsSetup, meter: UsageMeter, clock: Clock, ada: User, mock_clock: trio.testing.MockClock
) -> None:
    clock.set("2026-01-31 23:57:00")
    began, start = trio.current_time(), clock.now
    clock.read = lambda: start + trio.current_time() - began
    windows: list[UsageRecorded] = []

    # Heard before the meter goes on: when all are blocked again, it sleeps.
    setup.log.listen(lambda records: windows.extend(r.event for r in records if isinstance(r.event, UsageRecorded)))

    async def written(number: int) -> UsageRecorded:
        while len(windows) < number:
            await trio.lowlevel.checkpoint()
        return windows[-1]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(meter.run)
        count(meter, ada, 1)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(FLUSH_SECONDS - 1)
        await trio.testing.wait_all_tasks_blocked()
        assert windows == [], "not before its time"
        mock_clock.jump(1)
        first = await written(1)
        assert first.until == start + FLUSH_SECONDS
        count(meter, ada, 10)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(60)
        second = await written(2)
        assert second.until == at("2026-02-01 00:00:00")
        assert second.since // DAY == at("2026-01-31 00:00:00") // DAY
        count(meter, ada, 100)
        assert meter.tokens_this_month(ada.id) == 100, "a new month has begun"
        nursery.cancel_scope.cancel()
    third = await written(3)
    assert third.since == at("2026-02-01 00:00:00")
    january, february = int(at("2026-01-31 00:00:00") // DAY), int(at("2026-02-01 00:00:00") // DAY)
    assert by_day(setup, ada) == {january: (2, 11), february: (1, 100)}
    assert setup.views.usage.month(ada.id, start).tokens == 11


async def test_what_a_refused_disk_kept_over_midnight_still_belongs_to_its_day_and_month(
    setup: AccountsSetup, meter: UsageMeter, clock: Clock, disk: Disk, ada: User
) -> None:
    clock.set("2026-01-31 23:59:00")
    count(meter, ada, 1)
    disk.fails = True
    clock.set("2026-02-01 00:00:00")
    await meter.flush()
    clock.set("2026-02-01 00:10:00")
    count(meter, ada, 100)
    await meter.flush()
    disk.fails = False
    await meter.flush()
    january, february = int(at("2026-01-31 00:00:00") // DAY), int(at("2026-02-01 00:00:00") // DAY)
    assert by_day(setup, ada) == {january: (1, 1), february: (1, 100)}
    assert meter.tokens_this_month(ada.id) == 100


@given(now=st.floats(0, 4e9))
def test_the_next_month_begins_at_the_first_midnight_of_another_month(now: float) -> None:
    found = next_month(now)
    assert found > now
    assert time.gmtime(found)[2:6] == (1, 0, 0, 0)
    assert time.gmtime(found - 1)[:2] == time.gmtime(now)[:2]


# -- budgets ----------------------------------------------------------------------------------------------


async def _with_budget(setup: AccountsSetup, user: User, tokens: int | None) -> User:
    await setup.accounts.set_budget(user, tokens, ORIGIN)
    return setup.views.users.get(user.id)


async def test_a_budget_is_spent_when_its_last_token_is_and_good_again_in_the_next_month(
    setup: AccountsSetup, meter: UsageMeter, clock: Clock, ada: User
) -> None:
    ada = await _with_budget(setup, ada, 100)
    count(meter, ada, 50, 20)
    await meter.flush()
    count(meter, ada, 29)
    meter.check_budget(ada)
    count(meter, ada, 0, 1)
    clock.set("2026-01-31 23:59:00")
    for _ in range(2):
        with pytest.raises(TooMany, match="100 tokens") as refused:
            meter.check_budget(ada)
        assert refused.value.reason == "budget_spent"
        assert refused.value.fields["retry_after"] == 61
        await meter.flush()
    clock.set("2026-02-01 00:00:00")
    meter.check_budget(ada)


async def test_a_budget_counts_for_its_user_alone_and_none_at_all_is_none(
    setup: AccountsSetup, meter: UsageMeter, ada: User, bob: User
) -> None:
    ada = await _with_budget(setup, ada, 0)
    bob = await _with_budget(setup, bob, 1000)
    with pytest.raises(TooMany):
        meter.check_budget(ada)
    count(meter, ada, 10**6)
    meter.check_budget(bob)
    meter.check_budget(await _with_budget(setup, ada, None))


async def test_a_budget_holds_while_the_counts_are_being_written(
    setup: AccountsSetup, meter: UsageMeter, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = await _with_budget(setup, ada, 100)
    count(meter, ada, 100)
    original, seen = meter._ends.append, []

    async def append(*args: object, **more: object) -> None:
        seen.append(meter.tokens_this_month(ada.id))
        await original(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(meter._ends, "append", append)
    await meter.flush()
    assert seen == [100]
