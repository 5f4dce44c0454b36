"""Whatever is done to accounts, in whatever order and at once: one admin, one user an address, no slug twice."""

from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import trio
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from domain.errors import Conflict, DomainError
from domain.users.events import EmailReleased, Role, UserDeleted
from domain.users.rules import normal_email
from eventlog.envelope import StreamAppend
from eventlog.errors import EventLogError
from eventlog.filter import Filter
from projections.users import User
from tests.supervisors.accounts_setup import AccountsSetup, open_accounts
from tests.supervisors.whole import ORIGIN, PASSWORD

LOCALS = st.sampled_from(["ada", "bob", "a1", "admin"])
DOMAINS = st.sampled_from(["example.org", "example.com"])


@st.composite
def spelling(draw: st.DrawFn) -> str:
    """Return one of few addresses in one of many spellings."""
    text = f"{draw(LOCALS)}@{draw(DOMAINS)}"
    upper = draw(st.lists(st.booleans(), min_size=len(text), max_size=len(text)))
    text = "".join(c.upper() if up else c for c, up in zip(text, upper, strict=True))
    if draw(st.booleans()):
        text = text.replace("a", "\uff41", 1)  # A full-width letter, which is the same after normalisation.
    return draw(st.sampled_from(["", " ", "\t"])) + text + draw(st.sampled_from(["", " "]))


class Histories(RuleBasedStateMachine):
    """Every step opens the folder, acts, and closes it: what is checked is what survives."""

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        self.folder = Path(self._stack.enter_context(TemporaryDirectory()))
        self.admin_id = ""
        self.users: dict[str, User] = {}
        self.slugs: set[str] = set()

    def teardown(self) -> None:
        """Remove the folder."""
        self._stack.close()

    def _do(self, deed: Any) -> Any:
        async def run() -> Any:
            async with open_accounts(self.folder) as setup:
                await _agrees(setup)  # What the last step did has survived.
                found = await deed(setup)
                await _agrees(setup)
                self.users = {u.id: u for u in setup.views.users.all()}
                return found

        return trio.run(run)

    def _made(self, users: list[User]) -> None:
        for user in users:
            assert user.slug not in self.slugs, "a slug was given out twice"
            self.slugs.add(user.slug)

    async def _register_all(self, setup: AccountsSetup, wanted: list[tuple[str, Role]]) -> list[User]:
        made: list[User] = []

        async def attempt(email: str, role: Role) -> None:
            with suppress(Conflict):
                made.append(
                    await setup.accounts.register(
                        email=email, password=PASSWORD, name=None, role=role, origin=ORIGIN
                    )
                )

        async with trio.open_nursery() as nursery:
            for email, role in wanted:
                nursery.start_soon(attempt, email, role)
        return made

    # -- deeds --------------------------------------------------------------------------------------------

    @initialize(emails=st.lists(spelling(), min_size=1, max_size=4))
    def bootstrap(self, emails: list[str]) -> None:
        """Several people find the link that makes the admin."""
        wanted: list[tuple[str, Role]] = [(email, "admin") for email in emails]
        made = self._do(lambda setup: self._register_all(setup, wanted))
        assert [u.role for u in made] == ["admin"]
        self.admin_id = made[0].id
        self._made(made)

    @rule(emails=st.lists(spelling(), min_size=1, max_size=5))
    def sign_up(self, emails: list[str]) -> None:
        """Sign up, or have the admin make an account: one is the other at this level. Several at once."""
        taken = {normal_email(u.email) for u in self.users.values()}
        wanted: list[tuple[str, Role]] = [(email, "user") for email in emails]
        made = self._do(lambda setup: self._register_all(setup, wanted))
        assert {normal_email(u.email) for u in made} == {normal_email(e) for e in emails} - taken
        self._made(made)

    @rule(email=spelling())
    def bootstrap_again(self, email: str) -> None:
        """Whoever comes later is no admin, whatever the address."""
        assert self._do(lambda setup: self._register_all(setup, [(email, "admin")])) == []

    @rule(data=st.data(), name=st.text(max_size=90))
    def rename(self, data: st.DataObject, name: str) -> None:
        """Give somebody another name: nothing else changes."""
        user = data.draw(st.sampled_from(sorted(self.users.values(), key=lambda u: u.id)))

        async def deed(setup: AccountsSetup) -> None:
            with suppress(DomainError):
                await setup.accounts.rename(user, name, ORIGIN)

        self._do(deed)
        now = self.users[user.id]
        assert (now.email, now.slug, now.role) == (user.email, user.slug, user.role)

    @rule(data=st.data())
    def reset_password(self, data: st.DataObject) -> None:
        """Give somebody another password: the old one opens nothing, in any spelling."""
        user = data.draw(st.sampled_from(sorted(self.users.values(), key=lambda u: u.id)))
        other = PASSWORD + str(len(self.slugs))

        async def deed(setup: AccountsSetup) -> None:
            await setup.accounts.set_password(user, other, ORIGIN)
            signed = await setup.accounts.authenticate(user.email.upper(), other)
            assert signed.id == user.id
            await setup.accounts.set_password(signed, PASSWORD, ORIGIN)

        self._do(deed)

    @precondition(lambda self: len(self.users) > 1)
    @rule(data=st.data(), email=spelling())
    def delete(self, data: st.DataObject, email: str) -> None:
        """Delete somebody, while somebody else wants an address, perhaps the same one."""
        others = sorted((u for u in self.users.values() if u.role != "admin"), key=lambda u: u.id)
        user = data.draw(st.sampled_from(others))

        async def delete(setup: AccountsSetup) -> None:
            address, account = setup.accounts.email_stream(user.email), f"user:{user.id}"
            appends = [
                StreamAppend(
                    address, await setup.accounts._ends.version(address), [EmailReleased(user_id=user.id)]
                ),
                StreamAppend(account, await setup.accounts._ends.version(account), [UserDeleted(user_id=user.id)]),
            ]
            await setup.log.append(*appends, origin=ORIGIN)
            setup.vault.destroy(user.id)

        async def deed(setup: AccountsSetup) -> list[User]:
            made: list[User] = []

            async def sign_up() -> None:
                made.extend(await self._register_all(setup, [(email, "user")]))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(delete, setup)
                nursery.start_soon(sign_up)
            with suppress(EventLogError):
                await setup.accounts.open_session(user, "a device", ORIGIN)
                raise AssertionError("a deleted user has signed in")
            return made

        self._made(self._do(deed))
        assert user.id not in self.users

    # -- what always holds --------------------------------------------------------------------------------

    @precondition(lambda self: self.admin_id)
    @invariant()
    def there_is_exactly_one_admin(self) -> None:
        """And it is always the first one."""
        assert [u.id for u in self.users.values() if u.role == "admin"] == [self.admin_id]

    @invariant()
    def addresses_and_slugs_are_unique(self) -> None:
        """Addresses in their normal form; slugs also of those who are gone."""
        users = self.users.values()
        assert len({normal_email(u.email) for u in users}) == len(users)
        assert len({u.slug for u in users}) == len(users)
        assert {u.slug for u in users} <= self.slugs


async def _agrees(setup: AccountsSetup) -> None:
    """Claims and releases of each address take turns; the vault has a key for each user and for nobody else."""
    users = setup.views.users.all()
    assert setup.vault.owners == {u.id for u in users}
    claims: dict[str, list[str]] = {}
    for record in await setup.log.read(Filter(stream_prefix="email:"), limit=-1):
        claims.setdefault(record.stream, []).append(record.type)
    for types in claims.values():
        turns = ["email.claimed", "email.released"] * len(types)
        assert types == turns[: len(types)]
    assert sum(len(types) % 2 for types in claims.values()) == len(users)
    appointed = await setup.log.read(Filter(stream="admin"))
    assert [r.event.user_id for r in appointed] == [u.id for u in users if u.role == "admin"]


TestHistories = Histories.TestCase
TestHistories.settings = settings(
    max_examples=6, stateful_step_count=10, deadline=None, suppress_health_check=list(HealthCheck)
)
