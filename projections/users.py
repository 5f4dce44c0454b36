"""Accounts, and what their owners prefer."""

from dataclasses import dataclass, replace
from typing import Any

from domain.errors import Invalid, NotFound
from domain.users.events import (
    AdminAppointed,
    BudgetSet,
    PasswordChanged,
    UserDeleted,
    UserIdleChanged,
    UserRegistered,
    UserRenamed,
)
from domain.users.rules import normal_email
from eventlog.envelope import Recorded
from projections.projection import Projection
from projections.table import Table


@dataclass(frozen=True, slots=True)
class User:
    """An account. Times are in unix seconds; `monthly_tokens` is the budget, None for none.

    `password_changed_at` is 0.0 while the password is the first one.
    """

    id: str
    email: str
    name: str
    slug: str
    role: str
    password_hash: str
    created_at: float
    monthly_tokens: int | None = None
    password_changes: int = 0
    password_changed_at: float = 0.0


@dataclass(frozen=True, slots=True)
class IdleChoice:
    """How long a user's runners of one backend may idle; `key` is `<user id>/<backend>`."""

    key: str
    user_id: str
    idle_seconds: int


def _address(user: User) -> str:
    """Return the address of a user in its normal form; the id of one who has none that can be read."""
    try:
        return normal_email(user.email)
    except Invalid:
        return user.id


class Users(Projection):
    """Who there is."""

    name = "users"
    version = 3

    def __init__(self) -> None:
        super().__init__()
        self._users: Table[User] = Table("users", User, sealed=("email", "name", "password_hash"), owner="id")
        self._idle: Table[IdleChoice] = Table("idle_choices", IdleChoice)
        self._by_email = self._users.index(_address)
        self._idle_by_user = self._idle.index(lambda c: c.user_id)
        self._by_slug = self._users.index(lambda u: u.slug)
        self._by_role = self._users.index(lambda u: u.role)
        self.tables = (self._users, self._idle)
        self.on = {
            UserRegistered: self._registered,
            AdminAppointed: lambda e, _: self._change(e.user_id, role="admin"),
            UserRenamed: lambda e, _: self._change(e.user_id, name=e.name),
            PasswordChanged: self._password_changed,
            BudgetSet: lambda e, _: self._change(e.user_id, monthly_tokens=e.monthly_tokens),
            UserIdleChanged: self._idle_changed,
            UserDeleted: self._deleted,
        }

    def all(self) -> list[User]:
        """Return every user, oldest first."""
        return list(self._users)

    def find(self, user_id: str) -> User | None:
        """Return a user by id, or None."""
        return self._users.get(user_id)

    def get(self, user_id: str) -> User:
        """Return a user by id. Raises NotFound."""
        user = self._users.get(user_id)
        if user is None:
            raise NotFound("There is no such user.")
        return user

    def by_email(self, email: str) -> User | None:
        """Return the user with this address in its normal form, or None."""
        return self._by_email.one(email)

    def slug_taken(self, slug: str) -> bool:
        """Tell whether a slug belongs to somebody."""
        return self._by_slug.one(slug) is not None

    def admin(self) -> User | None:
        """Return the admin, or None before there is one."""
        return self._by_role.one("admin")

    def idle_choice(self, user_id: str, backend: str) -> int | None:
        """Return the idle seconds that a user chose for a backend, or None."""
        choice = self._idle.get(f"{user_id}/{backend}")
        return choice.idle_seconds if choice else None

    def _registered(self, event: UserRegistered, record: Recorded[UserRegistered]) -> None:
        self._users.put(
            User(
                id=event.user_id,
                email=event.email,
                name=event.name,
                slug=event.slug,
                role=event.role,
                password_hash=event.password_hash,
                created_at=record.time,
            )
        )

    def _password_changed(self, event: PasswordChanged, record: Recorded[PasswordChanged]) -> None:
        self._change(event.user_id, password_hash=event.password_hash)
        user = self._users.get(event.user_id)
        if user and not event.rehashed:
            changes = user.password_changes + 1
            self._users.put(replace(user, password_changes=changes, password_changed_at=record.time))

    def _change(self, user_id: str, **fields: Any) -> None:
        user = self._users.get(user_id)
        if user:
            self._users.put(replace(user, **fields))

    def _idle_changed(self, event: UserIdleChanged, _: Recorded[UserIdleChanged]) -> None:
        if self._users.get(event.user_id):  # Else the choice came too late.
            self._idle.put(IdleChoice(f"{event.user_id}/{event.backend}", event.user_id, event.idle_seconds))

    def _deleted(self, event: UserDeleted, _: Recorded[UserDeleted]) -> None:
        self._users.remove(event.user_id)
        for choice in self._idle_by_user.all(event.user_id):
            self._idle.remove(choice.key)
