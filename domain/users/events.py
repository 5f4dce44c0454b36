"""Events of the streams `user:<id>`, `email:<hmac>`, `slug:<slug>` and `admin`."""

from typing import ClassVar, Literal

from domain.event import Event

Role = Literal["admin", "user"]


class UserRegistered(Event):
    """An account was made. The first event of `user:<id>`."""

    TOPIC = "user.registered"
    SECRET: ClassVar[frozenset[str]] = frozenset({"password_hash"})

    user_id: str
    email: str
    name: str
    slug: str
    role: Role
    password_hash: str


class UserIdleChanged(Event):
    """The user chose how long their runners of a backend may idle. Seconds; 0 means never stop."""

    TOPIC = "user.idle_changed"

    user_id: str
    backend: str
    idle_seconds: int


class EmailClaimed(Event):
    """The only event of `email:<hmac>`: its version 1 exists once, so an address is taken once."""

    TOPIC = "email.claimed"

    user_id: str


class SlugClaimed(Event):
    """The only event of `slug:<slug>`: a slug is never given out twice."""

    TOPIC = "slug.claimed"

    user_id: str


class AdminAppointed(Event):
    """The only event of `admin`: there is exactly one admin."""

    TOPIC = "admin.appointed"

    user_id: str
