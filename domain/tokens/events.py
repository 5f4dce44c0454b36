"""Events of the stream `token:<id>`."""

from typing import ClassVar, Self

from domain.event import Event
from domain.tokens.rules import Scope


class TokenCreated(Event):
    """A user made a token. Only its hash is kept; `prefix` is how it begins, for people to tell it from others.

    `models` are those it may be used for, () for all; `expires_at` is in unix seconds, None for never.
    """

    TOPIC = "token.created"
    SECRET: ClassVar[frozenset[str]] = frozenset({"hash"})
    PRIVATE: ClassVar[frozenset[str]] = frozenset({"name"})

    token_id: str
    user_id: str
    name: str
    hash: str
    prefix: str
    scope: Scope
    models: tuple[str, ...] = ()
    expires_at: int | None = None


class TokenRevoked(Event):
    """The token is void from here on."""

    TOPIC = "token.revoked"

    token_id: str
    user_id: str

    @classmethod
    def from_envelope(cls, id_: str, owner: str) -> Self:
        """Return it from the stream's id and its owner."""
        return cls(token_id=id_, user_id=owner)
