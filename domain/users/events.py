"""Events of the streams `user:<id>`, `email:<hmac>`, `slug:<slug>` and `admin`."""

from typing import ClassVar, Literal, Self

from domain.event import Event

Role = Literal["admin", "user"]
NO_PASSWORD = "!"  # noqa: S105 - it is none
"""Stands where a hash would: no password fits."""


class UserRegistered(Event):
    """An account was made. The first event of `user:<id>`."""

    TOPIC = "user.registered"
    SECRET: ClassVar[frozenset[str]] = frozenset({"password_hash"})
    PRIVATE: ClassVar[frozenset[str]] = frozenset({"email", "name", "password_hash"})

    user_id: str
    email: str
    name: str
    slug: str
    role: Role
    password_hash: str

    @classmethod
    def from_envelope(cls, id_: str, owner: str) -> Self:
        """Return an account that nobody can sign in to, so that it can be seen and deleted."""
        return cls(user_id=id_, email="", name="", slug=id_, role="user", password_hash=NO_PASSWORD)


class UserRenamed(Event):
    """The user, or the admin, chose another name to show."""

    TOPIC = "user.renamed"
    PRIVATE: ClassVar[frozenset[str]] = frozenset({"name"})

    user_id: str
    name: str


class PasswordChanged(Event):
    """There is another password; with `rehashed`, the same one is hashed anew."""

    TOPIC = "user.password_changed"
    SECRET: ClassVar[frozenset[str]] = frozenset({"password_hash"})
    PRIVATE: ClassVar[frozenset[str]] = frozenset({"password_hash"})

    user_id: str
    password_hash: str
    rehashed: bool = False

    @classmethod
    def from_envelope(cls, id_: str, owner: str) -> Self:
        """Return it with a hash that no password has: the one before does not count any more."""
        return cls(user_id=id_, password_hash=NO_PASSWORD)


class UserIdleChanged(Event):
    """The user chose how long their runners of a backend may idle. Seconds; 0 means never stop."""

    TOPIC = "user.idle_changed"

    user_id: str
    backend: str
    idle_seconds: int


class BudgetSet(Event):
    """The admin set how many tokens a user may use in a month (UTC); None for any number."""

    TOPIC = "user.budget_set"

    user_id: str
    monthly_tokens: int | None

    @classmethod
    def from_envelope(cls, id_: str, owner: str) -> Self:
        """Return it with nothing to spend, until the admin says again how much it is."""
        return cls(user_id=id_, monthly_tokens=0)


class UserDeleted(Event):
    """The account is gone. With it goes the key of all that was private in the user's events."""

    TOPIC = "user.deleted"

    user_id: str

    @classmethod
    def from_envelope(cls, id_: str, owner: str) -> Self:
        """Return it from the stream's id alone."""
        return cls(user_id=id_)


class EmailClaimed(Event):
    """An address was taken: version 1 of `email:<hmac>` exists once, and after a release there is a next claim."""

    TOPIC = "email.claimed"

    user_id: str


class EmailReleased(Event):
    """The account with the address was deleted: it may be used for another one."""

    TOPIC = "email.released"

    user_id: str


class SlugClaimed(Event):
    """The only event of `slug:<slug>`: a slug is never given out twice."""

    TOPIC = "slug.claimed"

    user_id: str


class AdminAppointed(Event):
    """The only event of `admin`: there is exactly one admin."""

    TOPIC = "admin.appointed"

    user_id: str

    @classmethod
    def from_envelope(cls, id_: str, owner: str) -> Self:
        """Return it with its owner: there is exactly one admin."""
        return cls(user_id=owner)
