"""Making accounts: one for each address, one admin, no slug twice, whoever comes at the same moment."""

import re
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import trio
import trio.testing

from domain.errors import Conflict, DomainError, Forbidden, Invalid, NotFound, Unauthenticated
from domain.invites.events import InviteUsed
from domain.users.events import EmailClaimed, EmailReleased, Role, UserDeleted, UserRegistered
from eventlog.envelope import StreamAppend
from eventlog.errors import AppendFailedError
from eventlog.filter import Filter
from projections.users import User
from tests.supervisors.accounts_setup import AccountsSetup, open_accounts
from tests.supervisors.whole import ORIGIN, PASSWORD

SPELLINGS = ("ada@example.org", "  Ada@Example.ORG ", "ADA@EXAMPLE.ORG", "\uff41da@example.org")


@pytest.fixture
async def setup(tmp_path: Path) -> AsyncIterator[AccountsSetup]:
    """Return accounts in an empty folder."""
    async with open_accounts(tmp_path) as opened:
        yield opened


async def _register(setup: AccountsSetup, email: str, role: Role = "user", invite: str = "") -> User:
    return await setup.accounts.register(
        email=email, password=PASSWORD, name=None, role=role, origin=ORIGIN, invite=invite
    )


async def _delete(setup: AccountsSetup, user: User) -> None:
    """Append what a deletion appends of the account itself, and destroy its key."""
    email, log = setup.accounts.email_stream(user.email), setup.log
    await log.append(
        StreamAppend(email, len(await log.read_stream(email)), [EmailReleased(user_id=user.id)]),
        StreamAppend(
            f"user:{user.id}", len(await log.read_stream(f"user:{user.id}")), [UserDeleted(user_id=user.id)]
        ),
        origin=ORIGIN,
    )
    setup.vault.destroy(user.id)


async def _race(setup: AccountsSetup, emails: tuple[str, ...], role: Role = "user", invite: str = "") -> list[User]:
    """Register all at once; return those who got an account."""
    made: list[User] = []

    async def attempt(email: str) -> None:
        with suppress(Conflict, Forbidden):
            made.append(await _register(setup, email, role, invite))

    async with trio.open_nursery() as nursery:
        for email in emails:
            nursery.start_soon(attempt, email)
    return made


async def test_an_account_can_be_signed_in_to_with_any_spelling_of_its_address(setup: AccountsSetup) -> None:
    user = await _register(setup, " Ada@Example.org ")
    assert (user.email, user.name, user.slug, user.role) == ("Ada@Example.org", "ada", "ada", "user")
    for spelling in SPELLINGS:
        assert await setup.accounts.authenticate(spelling, PASSWORD) == user
    for wrong in ((SPELLINGS[0], "another password"), ("bob@example.org", PASSWORD), ("nonsense", PASSWORD)):
        with pytest.raises(Unauthenticated) as refused:
            await setup.accounts.authenticate(*wrong)
        assert refused.value.reason == "bad_credentials"


@pytest.mark.parametrize("role", ["user", "admin"])
async def test_of_all_who_want_one_address_at_once_one_gets_it(setup: AccountsSetup, role: Role) -> None:
    made = await _race(setup, SPELLINGS * 3, role)
    assert [u.id for u in made] == [u.id for u in setup.views.users.all()]
    assert len(made) == 1
    assert setup.vault.owners == {made[0].id}, "who got nothing leaves no key"


async def test_of_all_who_want_to_be_admin_at_once_one_is(setup: AccountsSetup) -> None:
    made = await _race(setup, tuple(f"user{n}@example.org" for n in range(8)), "admin")
    assert len(made) == 1
    assert setup.views.users.admin() == made[0]
    with pytest.raises(Conflict) as refused:
        await _register(setup, "late@example.org", "admin")
    assert refused.value.reason == "admin_exists"
    assert setup.vault.owners == {made[0].id}


async def test_all_who_want_one_slug_at_once_get_one_each(setup: AccountsSetup) -> None:
    made = await _race(setup, tuple(f"ada@example{n}.org" for n in range(8)))
    assert sorted(u.slug for u in made) == sorted(["ada", *(f"ada{n}" for n in range(2, 9))])


async def test_no_number_of_accounts_uses_up_a_short_name(
    setup: AccountsSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Short names are never given out again: whoever makes accounts with one must not take it from all others."""
    monkeypatch.setattr(setup.views.users, "slug_taken", lambda slug: len(slug) < len("ada1000"))
    made = await _register(setup, "ada@example.org")
    assert re.fullmatch(r"ada[0-9a-f]{8}", made.slug)


@pytest.mark.parametrize("times", [1, 3])
async def test_of_all_who_want_a_released_address_at_once_one_gets_it(setup: AccountsSetup, times: int) -> None:
    for _ in range(times):
        await _delete(setup, (await _race(setup, SPELLINGS))[0])
    made = await _race(setup, SPELLINGS * 3)
    assert len(made) == len(setup.views.users.all()) == 1
    assert made[0].slug == f"ada{times + 1}"


async def test_who_looks_just_when_another_has_taken_an_address_does_not_take_it_too(tmp_path: Path) -> None:
    """The first one's commit is on disk, and the read models have not heard of it yet."""
    held, reached, go_on = threading.Event(), threading.Event(), threading.Event()

    def on_point(point: str) -> None:
        if point == "before_deliver" and held.is_set():
            held.clear()
            reached.set()
            go_on.wait()

    async with open_accounts(tmp_path, on_point) as setup:
        claimed: list[str] = []
        original = setup.accounts._ends.version

        async def version(stream: str) -> int:
            found = await original(stream)
            if reached.is_set():
                claimed.append(stream)
            return found

        setup.accounts._ends.version = version  # type: ignore[method-assign]
        made: list[User] = []
        refused: list[Conflict] = []

        async def attempt(email: str) -> None:
            try:
                made.append(await _register(setup, email))
            except Conflict as error:
                refused.append(error)

        try:
            async with trio.open_nursery() as nursery:
                held.set()
                nursery.start_soon(attempt, SPELLINGS[0])
                await trio.to_thread.run_sync(reached.wait)
                nursery.start_soon(attempt, SPELLINGS[1])
                while not claimed and not refused:  # The second one has seen how far the address is.
                    await trio.sleep(0.01)
                await trio.testing.wait_all_tasks_blocked()
                go_on.set()
        finally:
            go_on.set()
        streams = await setup.log.read(Filter(types=(EmailClaimed.TOPIC,)))
    assert len(streams) == 1, "one address was claimed twice"
    assert (len(made), len(refused)) == (1, 1)


async def test_a_slug_that_was_given_out_is_not_given_out_again_after_a_restart(tmp_path: Path) -> None:
    slugs: list[str] = []
    for _ in range(4):
        async with open_accounts(tmp_path) as setup:
            user = await _register(setup, "ada@example.org")
            slugs.append(user.slug)
            await _delete(setup, user)
    assert slugs == ["ada", "ada2", "ada3", "ada4"]


@pytest.mark.parametrize(
    ("email", "password", "reason"),
    [("nonsense", PASSWORD, "bad_email"), ("ada@example.org", "short", "weak_password")],
)
async def test_what_is_refused_leaves_neither_events_nor_a_key(
    setup: AccountsSetup, email: str, password: str, reason: str
) -> None:
    with pytest.raises(Invalid) as refused:
        await setup.accounts.register(email=email, password=password, name=None, role="user", origin=ORIGIN)
    assert refused.value.reason == reason
    assert setup.log.position == 0
    assert setup.vault.owners == set()


async def test_a_disk_that_refuses_an_account_leaves_no_key(tmp_path: Path) -> None:
    fails = True

    def on_point(point: str) -> None:
        if fails and point == "before_commit":
            raise OSError(28, "No space left on device")

    async with open_accounts(tmp_path, on_point) as setup:
        with pytest.raises(AppendFailedError):
            await _register(setup, "ada@example.org")
        assert setup.vault.owners == set()
        fails = False
        assert (await _register(setup, "ada@example.org")).slug == "ada"


@pytest.mark.parametrize(
    "moment", ["_hashing.hash", "_ends.newest", "_log.append"], ids=["hashing", "looking", "appending"]
)
async def test_who_gives_up_while_signing_up_leaves_an_account_with_a_key_or_neither(
    setup: AccountsSetup, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    part, _, method = moment.partition(".")
    owner = getattr(setup.accounts, part)
    original = getattr(owner, method)
    with trio.CancelScope() as scope:

        async def give_up(*args: Any, **more: Any) -> Any:
            scope.cancel()
            return await original(*args, **more)

        monkeypatch.setattr(owner, method, give_up)
        await _register(setup, "ada@example.org")
    assert scope.cancel_called
    assert setup.vault.owners == {u.id for u in setup.views.users.all()}


# -- invitations ------------------------------------------------------------------------------------------


async def test_an_invitation_is_good_for_as_many_accounts_as_it_says_also_at_once(setup: AccountsSetup) -> None:
    admin = await _register(setup, "admin@example.org", "admin")
    invite, code = await setup.invites.create(admin.id, " For friends ", 3, 1000, ORIGIN)
    assert invite.note == "For friends"
    assert invite.prefix == code[:10]
    made = await _race(setup, tuple(f"user{n}@example.org" for n in range(8)), invite=code)
    assert len(made) == 3
    assert setup.vault.owners == {admin.id, *(u.id for u in made)}
    with pytest.raises(Forbidden) as refused:
        await _register(setup, "late@example.org", invite=code)
    assert refused.value.reason == "bad_invite"


async def test_a_bad_code_is_refused_before_anything_is_told_of_accounts(setup: AccountsSetup) -> None:
    admin = await _register(setup, "admin@example.org", "admin")
    invite, code = await setup.invites.create(admin.id, "", 5, 1000, ORIGIN)
    await setup.invites.revoke(invite.id, ORIGIN)
    for bad in (code, "inv-nonsense", "x"):
        for email in ("admin@example.org", "new@example.org", "nonsense"):
            with pytest.raises(Forbidden):
                await _register(setup, email, invite=bad)


async def test_an_account_that_is_refused_does_not_use_up_an_invitation(setup: AccountsSetup) -> None:
    admin = await _register(setup, "admin@example.org", "admin")
    _, code = await setup.invites.create(admin.id, "", 1, 1000, ORIGIN)
    for email in ("admin@example.org", "nonsense"):
        with pytest.raises(DomainError):
            await _register(setup, email, invite=code)
    assert (await _register(setup, "ada@example.org", invite=code)).role == "user"


async def test_an_account_that_no_read_model_knows_keeps_its_key_and_its_address(tmp_path: Path) -> None:
    """A fault of a read model: the account is in the log, and the next start will know it."""
    async with open_accounts(tmp_path) as setup:
        with patch.dict(setup.views.users.on, {UserRegistered: _raise}), pytest.raises(NotFound):
            await _register(setup, "ada@example.org")
        (owner,) = setup.vault.owners
        with pytest.raises(Conflict, match="already"):
            await _register(setup, "ada@example.org")
        assert setup.vault.owners == {owner}
    async with open_accounts(tmp_path) as setup:
        user = setup.views.users.by_email("ada@example.org")
        assert user is not None
        assert user.id == owner
        assert (await setup.accounts.authenticate("ada@example.org", PASSWORD)).id == owner


async def test_an_invitation_of_which_a_read_model_has_missed_a_use_holds_up_nobody(tmp_path: Path) -> None:
    async with open_accounts(tmp_path) as setup:
        admin = await _register(setup, "admin@example.org", "admin")
        _, code = await setup.invites.create(admin.id, "", 3, 3600, ORIGIN)
        with patch.dict(setup.views.invites.on, {InviteUsed: _raise}), trio.fail_after(60):
            for number in range(3):
                await _register(setup, f"user{number}@example.org", invite=code)
        assert setup.views.invites.problem


def _raise(*_: object) -> None:
    raise RuntimeError("a fault of a handler")
