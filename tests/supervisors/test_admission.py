"""supervisors.admission: who may ask for how much at a time."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio
import trio.testing

from domain.errors import TooMany
from projections.users import User
from supervisors.admission import Admission
from supervisors.allowance import Allowance, Limits
from supervisors.budgets import LEAST_HELD, MOST_WAITING
from supervisors.homes.sizes import HomeSizes
from supervisors.usage import UsageMeter
from tests.supervisors.accounts_setup import AccountsSetup, open_accounts
from tests.supervisors.whole import ORIGIN, PASSWORD


class Clock:
    """The time that the admission sees."""

    now = 1000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return the clock of the limits."""
    clock = Clock()
    monkeypatch.setattr("supervisors.admission.time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


@pytest.fixture
async def setup(tmp_path: Path, clock: Clock) -> AsyncIterator[AccountsSetup]:
    """Return accounts in an empty folder."""
    del clock
    async with open_accounts(tmp_path) as opened:
        for name in ("ada", "bob"):
            await opened.accounts.register(
                email=f"{name}@example.org", password=PASSWORD, name=None, role="user", origin=ORIGIN
            )
        yield opened


@pytest.fixture
async def ada(setup: AccountsSetup) -> User:
    """Return a user."""
    return setup.views.users.all()[0]


@pytest.fixture
async def bob(setup: AccountsSetup) -> User:
    """Return another one."""
    return setup.views.users.all()[1]


def _admission(setup: AccountsSetup, *, per_minute: int = 0, at_once: int = 0) -> Admission:
    allowance = Allowance(setup.views, HomeSizes(Path("nowhere"), setup.views), Limits(None, None, None))
    usage = UsageMeter(setup.log, setup.views)
    return Admission(usage, allowance, per_minute=per_minute, at_once=at_once)


def _refusal(admission: Admission, user: User) -> TooMany:
    with pytest.raises(TooMany) as refused:
        admission.admit_now(user)
    return refused.value


@contextmanager
def _admitted(admission: Admission, user: User) -> Iterator[None]:
    admitted = admission.admit_now(user)
    try:
        yield
    finally:
        admission.release(admitted)


def _ask(admission: Admission, user: User) -> None:
    """Ask for an answer that is written at once."""
    with _admitted(admission, user):
        pass


async def test_a_user_may_ask_so_many_times_in_a_minute_and_is_told_when_to_come_again(
    setup: AccountsSetup, clock: Clock, ada: User, bob: User
) -> None:
    admission = _admission(setup, per_minute=4)
    for _ in range(4):
        _ask(admission, ada)
    for _ in range(3):
        refused = _refusal(admission, ada)
        assert refused.reason == "rate_limit_exceeded"
        assert refused.fields == {"retry_after": 15, "limit": 4, "reset": 60.0}
    _ask(admission, bob)
    clock.now += 15
    _ask(admission, ada)
    assert _refusal(admission, ada).fields["retry_after"] == 15


async def test_nobody_is_told_to_come_again_in_no_time(setup: AccountsSetup, clock: Clock, ada: User) -> None:
    admission = _admission(setup, per_minute=600)
    for _ in range(600):
        _ask(admission, ada)
    assert _refusal(admission, ada).fields["retry_after"] >= 1
    clock.now += 1
    _ask(admission, ada)


async def test_so_many_answers_may_be_written_at_once(setup: AccountsSetup, ada: User, bob: User) -> None:
    admission = _admission(setup, at_once=2)
    with _admitted(admission, ada):
        admitted = admission.admit_now(ada)
        refused = _refusal(admission, ada)
        assert refused.reason == "too_many_running"
        assert refused.fields["retry_after"] >= 1
        _ask(admission, bob)
        assert admission.statistics() == {"running": 2, "users": 1}
        admission.release(admitted)
        _ask(admission, ada)
    assert admission.statistics() == {"running": 0, "users": 0}


async def test_an_answer_that_breaks_is_no_longer_being_written(setup: AccountsSetup, ada: User) -> None:
    admission = _admission(setup, at_once=1)
    with pytest.raises(ZeroDivisionError), _admitted(admission, ada):
        raise ZeroDivisionError
    _ask(admission, ada)


async def test_who_is_refused_takes_no_place(setup: AccountsSetup, ada: User) -> None:
    admission = _admission(setup, per_minute=1, at_once=5)
    _ask(admission, ada)
    for _ in range(10):
        with pytest.raises(TooMany), _admitted(admission, ada):
            raise AssertionError("unreachable")
    assert admission.statistics() == {"running": 0, "users": 0}


async def test_a_request_that_is_refused_for_another_reason_does_not_count(setup: AccountsSetup, ada: User) -> None:
    admission = _admission(setup, per_minute=2, at_once=1)
    with _admitted(admission, ada):
        for _ in range(5):
            assert _refusal(admission, ada).reason == "too_many_running"
    _ask(admission, ada)
    assert _refusal(admission, ada).reason == "rate_limit_exceeded"


async def test_a_spent_budget_comes_before_all_else(setup: AccountsSetup, ada: User, bob: User) -> None:
    admission = _admission(setup, per_minute=1, at_once=1)
    await setup.accounts.set_budget(ada, 0, ORIGIN)
    for _ in range(3):
        assert _refusal(admission, setup.views.users.get(ada.id)).reason == "budget_spent"
    _ask(admission, bob)


async def test_without_limits_everything_is_let_in(setup: AccountsSetup, ada: User) -> None:
    admission = _admission(setup)
    for _ in range(2000):
        admission.admit_now(ada)
    assert admission.statistics() == {"running": 2000, "users": 1}


async def test_what_may_use_up_a_budget_is_written_one_after_the_other_and_the_others_wait_their_turn(
    setup: AccountsSetup, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("supervisors.admission.WAIT_SECONDS", 1000.0)
    admission, order = _admission(setup), list[int]()
    await setup.accounts.set_budget(ada, 2 * LEAST_HELD + 1, ORIGIN)
    ada = setup.views.users.get(ada.id)

    async def ask(number: int) -> None:
        admitted = await admission.admit(ada)
        order.append(number)
        assert admission.statistics()["running"] <= 2
        await trio.testing.wait_all_tasks_blocked()
        admission.release(admitted)

    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(ask, number)
            await trio.testing.wait_all_tasks_blocked()
    assert order == list(range(10))


async def test_nobody_waits_for_ever_for_what_is_held_back_and_not_any_number(
    setup: AccountsSetup, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("supervisors.admission.WAIT_SECONDS", 0.2)
    admission, refused = _admission(setup), list[str]()
    await setup.accounts.set_budget(ada, 100, ORIGIN)
    ada = setup.views.users.get(ada.id)
    first = await admission.admit(ada)

    async def ask() -> None:
        with pytest.raises(TooMany) as error:
            await admission.admit(ada)
        refused.append(error.value.reason)

    async with trio.open_nursery() as nursery:
        for _ in range(2 * MOST_WAITING):
            nursery.start_soon(ask)
    assert refused == ["budget_held"] * 2 * MOST_WAITING
    admission.release(first)
    admission.release(await admission.admit(ada))
