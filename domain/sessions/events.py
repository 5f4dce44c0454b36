"""Events of the stream `session:<user id>`."""

from typing import ClassVar, Literal

from domain.event import Event

RevocationReason = Literal["logout", "password_changed", "revoked"]


class SessionOpened(Event):
    """Somebody signed in. `expires_at` is in unix seconds; `device` is what the client says it is."""

    TOPIC = "session.opened"
    PRIVATE: ClassVar[frozenset[str]] = frozenset({"device"})

    session_id: str
    user_id: str
    device: str
    expires_at: int


class SessionRevoked(Event):
    """A session ended before its time; tokens that name it are void from here on."""

    TOPIC = "session.revoked"

    session_id: str
    user_id: str
    reason: RevocationReason
