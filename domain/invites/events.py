"""Events of the stream `invite:<id>`."""

from typing import ClassVar, Self

from domain.event import Event


class InviteCreated(Event):
    """The admin made a link for `uses` accounts, good until `expires_at` (unix seconds). Only its hash is kept."""

    TOPIC = "invite.created"
    SECRET: ClassVar[frozenset[str]] = frozenset({"hash"})
    PRIVATE: ClassVar[frozenset[str]] = frozenset({"note"})

    invite_id: str
    user_id: str
    note: str
    hash: str
    prefix: str
    uses: int
    expires_at: int


class InviteUsed(Event):
    """An account was made with it."""

    TOPIC = "invite.used"

    invite_id: str
    user_id: str

    @classmethod
    def from_envelope(cls, id_: str, owner: str) -> Self:
        """Return it from the stream's id; who used it is not known."""
        return cls(invite_id=id_, user_id="")


class InviteRevoked(Event):
    """It is void from here on."""

    TOPIC = "invite.revoked"

    invite_id: str

    @classmethod
    def from_envelope(cls, id_: str, owner: str) -> Self:
        """Return it from the stream's id alone."""
        return cls(invite_id=id_)
