"""Accounts, and what their owners prefer."""

from dataclasses import dataclass

from domain.errors import NotFound
from domain.users.events import UserIdleChanged, UserRegistered
from domain.users.rules import normal_email
from eventlog.envelope import Recorded
from projections.projection import Projection
from projections.table import Table


@dataclass(frozen=True, slots=True)
class User:
    """An account. `created_at` is in unix seconds."""

    id: str
    email: str
    name: str
    slug: str
    role: str
    password_hash: str
    created_at: float


@dataclass(frozen=True, slots=True)
class IdleChoice:
    """How long a user's runners of one backend may idle; `key` is `<user id>/<backend>`."""

    key: str
    idle_seconds: int


class Users(Projection):
    """Who there is."""

    name = "users"

    def __init__(self) -> None:
        super().__init__()
        self._users: Table[User] = Table("users", User)
        self._idle: Table[IdleChoice] = Table("idle_choices", IdleChoice)
        self._by_email = self._users.index(lambda u: normal_email(u.email))
        self._by_slug = self._users.index(lambda u: u.slug)
        self._by_role = self._users.index(lambda u: u.role)
        self.tables = (self._users, self._idle)
        self.on = {UserRegistered: self._registered, UserIdleChanged: self._idle_changed}

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

    def _idle_changed(self, event: UserIdleChanged, _: Recorded[UserIdleChanged]) -> None:
        self._idle.put(IdleChoice(f"{event.user_id}/{event.backend}", event.idle_seconds))
