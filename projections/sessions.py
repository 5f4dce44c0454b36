"""Sign-ins that are still good."""

from dataclasses import dataclass

from domain.sessions.events import SessionOpened, SessionRevoked
from domain.users.events import UserDeleted
from eventlog.envelope import Recorded, Unreadable
from projections.projection import Projection
from projections.table import Table


@dataclass(frozen=True, slots=True)
class Session:
    """One sign-in; times in unix seconds."""

    id: str
    user_id: str
    device: str
    created_at: float
    expires_at: int


class Sessions(Projection):
    """Who is signed in where. Expired sessions fall out when their user signs in again."""

    name = "sessions"
    version = 2

    def __init__(self) -> None:
        super().__init__()
        self._sessions: Table[Session] = Table("sessions", Session, sealed=("device",))
        self._by_user = self._sessions.index(lambda s: s.user_id)
        self.tables = (self._sessions,)
        self.on = {
            SessionOpened: self._opened,
            SessionRevoked: self._revoked,
            UserDeleted: self._user_deleted,
            Unreadable: self._unreadable,
        }

    def live(self, session_id: str, now: float) -> Session | None:
        """Return a session that is neither revoked nor expired, or None."""
        session = self._sessions.get(session_id)
        return session if session and session.expires_at > now else None

    def of_user(self, user_id: str) -> list[Session]:
        """Return a user's sessions, oldest first."""
        return self._by_user.all(user_id)

    def _opened(self, event: SessionOpened, record: Recorded[SessionOpened]) -> None:
        for old in self._by_user.all(event.user_id):
            if old.expires_at <= record.time:
                self._sessions.remove(old.id)
        self._sessions.put(Session(event.session_id, event.user_id, event.device, record.time, event.expires_at))

    def _revoked(self, event: SessionRevoked, _: Recorded[SessionRevoked]) -> None:
        self._sessions.remove(event.session_id)

    def _user_deleted(self, event: UserDeleted, _: Recorded[UserDeleted]) -> None:
        self._end_all(event.user_id)

    def _unreadable(self, _: Unreadable, record: Recorded[Unreadable]) -> None:
        """End all sign-ins of a user when it cannot be read which of them was ended."""
        if record.type == SessionRevoked.TOPIC:
            self._end_all(record.stream.partition(":")[2])

    def _end_all(self, user_id: str) -> None:
        for session in self._by_user.all(user_id):
            self._sessions.remove(session.id)
