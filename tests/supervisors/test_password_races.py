"""Passwords that are changed while another change is still being hashed."""

from collections.abc import Awaitable, Callable
from typing import Any

import bcrypt
import pytest

from domain.errors import Conflict, Unauthenticated
from domain.users.events import PasswordChanged
from projections.users import User
from tests.supervisors.accounts_setup import AccountsSetup
from tests.supervisors.whole import ORIGIN, PASSWORD

NEW, RESET = "the new password of ada", "what the admin has set"
Deed = Callable[[], Awaitable[object]]


class Meanwhile:
    """Holds one step of a change of password until something else was done."""

    def __init__(self, setup: AccountsSetup, monkeypatch: pytest.MonkeyPatch) -> None:
        self._setup = setup
        self._patch = monkeypatch
        self.done = 0

    def hashing(self, password: str, deed: Deed) -> None:
        """Do it while this password is being hashed."""
        hashing = self._setup.accounts._hashing
        original = hashing.hash

        async def held(asked: str) -> str:
            if asked == password:
                self.done += 1
                await deed()
            return await original(asked)

        self._patch.setattr(hashing, "hash", held)

    def looking(self, deed: Deed) -> None:
        """Do it once, when the log was looked at and nothing of it is written yet."""
        original = self._setup.log.read_stream

        async def held(stream: str) -> Any:
            found = await original(stream)
            if not self.done:
                self.done += 1
                await deed()
            return found

        self._patch.setattr(self._setup.log, "read_stream", held)


@pytest.fixture
def meanwhile(setup: AccountsSetup, monkeypatch: pytest.MonkeyPatch) -> Meanwhile:
    return Meanwhile(setup, monkeypatch)


async def _opens(setup: AccountsSetup, password: str) -> bool:
    try:
        await setup.accounts.authenticate("ada@example.org", password)
    except Unauthenticated:
        return False
    return True


async def _outdated(setup: AccountsSetup, user: User) -> User:
    """Give a user a hash of the earlier agent-stack."""
    old = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    event = PasswordChanged(user_id=user.id, password_hash=old, rehashed=True)
    await setup.accounts._ends.append(f"user:{user.id}", event, ORIGIN, owner=user.id)
    return setup.views.users.get(user.id)


async def test_a_sign_in_that_renews_an_old_hash_does_not_undo_a_reset(
    setup: AccountsSetup, ada: User, meanwhile: Meanwhile
) -> None:
    user = await _outdated(setup, ada)
    meanwhile.hashing(PASSWORD, lambda: setup.accounts.set_password(user, RESET, ORIGIN))
    assert await _opens(setup, PASSWORD), "it was the right one when it was asked for"
    assert meanwhile.done == 1
    assert not await _opens(setup, PASSWORD)
    assert await _opens(setup, RESET)


async def test_a_sign_in_of_before_a_reset_opens_no_session_after_it(
    setup: AccountsSetup, ada: User, meanwhile: Meanwhile
) -> None:
    user = await _outdated(setup, ada)
    meanwhile.hashing(PASSWORD, lambda: setup.accounts.set_password(user, RESET, ORIGIN))
    signed = await setup.accounts.authenticate(user.email, PASSWORD)
    with pytest.raises(Unauthenticated):
        await setup.accounts.open_session(signed, "a device", ORIGIN)
    assert list(setup.views.sessions.of_user(user.id)) == []


async def test_a_change_that_a_reset_overtakes_is_a_conflict_and_the_reset_stays(
    setup: AccountsSetup, ada: User, meanwhile: Meanwhile
) -> None:
    session = await setup.accounts.open_session(ada, "a device", ORIGIN)
    meanwhile.hashing(NEW, lambda: setup.accounts.set_password(ada, RESET, ORIGIN))
    with pytest.raises(Conflict) as refused:
        await setup.accounts.change_password(ada, PASSWORD, NEW, session, ORIGIN)
    assert (refused.value.reason, meanwhile.done) == ("password_changed", 1)
    assert [await _opens(setup, p) for p in (PASSWORD, NEW, RESET)] == [False, False, True]
    assert list(setup.views.sessions.of_user(ada.id)) == []


async def test_a_reset_between_the_look_at_the_log_and_the_change_is_a_conflict_too(
    setup: AccountsSetup, ada: User, meanwhile: Meanwhile
) -> None:
    session = await setup.accounts.open_session(ada, "a device", ORIGIN)
    meanwhile.looking(lambda: setup.accounts.set_password(ada, RESET, ORIGIN))
    with pytest.raises(Conflict):
        await setup.accounts.change_password(ada, PASSWORD, NEW, session, ORIGIN)
    assert [await _opens(setup, p) for p in (PASSWORD, NEW, RESET)] == [False, False, True]


@pytest.mark.parametrize("moment", ["hashing", "looking"])
async def test_another_name_at_the_same_time_is_no_reason_to_refuse_a_change(
    setup: AccountsSetup, ada: User, meanwhile: Meanwhile, moment: str
) -> None:
    session = await setup.accounts.open_session(ada, "a device", ORIGIN)

    async def rename() -> None:
        await setup.accounts.rename(ada, "Ada Lovelace", ORIGIN)

    if moment == "hashing":
        meanwhile.hashing(NEW, rename)
    else:
        meanwhile.looking(rename)
    await setup.accounts.change_password(ada, PASSWORD, NEW, session, ORIGIN)
    assert meanwhile.done == 1
    assert [await _opens(setup, p) for p in (PASSWORD, NEW)] == [False, True]
    assert setup.views.users.get(ada.id).name == "Ada Lovelace"
    assert [s.id for s in setup.views.sessions.of_user(ada.id)] == [session.id]


async def test_another_name_at_the_same_time_does_not_keep_an_old_hash_from_being_renewed(
    setup: AccountsSetup, ada: User, meanwhile: Meanwhile
) -> None:
    user = await _outdated(setup, ada)
    meanwhile.looking(lambda: setup.accounts.rename(user, "Ada Lovelace", ORIGIN))
    assert await _opens(setup, PASSWORD)
    now = setup.views.users.get(user.id)
    assert (now.name, now.password_changes) == ("Ada Lovelace", user.password_changes)
    assert not setup.accounts._hashing.is_outdated(now.password_hash)
    assert await _opens(setup, PASSWORD)


async def test_a_new_password_and_the_end_of_the_other_sign_ins_are_one_commit(
    setup: AccountsSetup, ada: User
) -> None:
    """Nothing can come between: no crash, no disk that refuses, no client that hangs up."""
    kept, *others = [await setup.accounts.open_session(ada, "", ORIGIN) for _ in range(4)]
    commits: list[list[str]] = []
    setup.log.listen(lambda records: commits.append([r.type for r in records]))
    await setup.accounts.change_password(ada, PASSWORD, NEW, kept, ORIGIN)
    assert sorted(commits[-1]) == ["session.revoked"] * 3 + ["user.password_changed"]
    assert [s.id for s in setup.views.sessions.of_user(ada.id)] == [kept.id]
    assert others


async def test_a_user_has_so_many_sign_ins_and_the_oldest_end(setup: AccountsSetup, ada: User) -> None:
    made = [await setup.accounts.open_session(ada, "", ORIGIN) for _ in range(105)]
    assert [s.id for s in setup.views.sessions.of_user(ada.id)] == [s.id for s in made[5:]]
