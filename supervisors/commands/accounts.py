"""Making accounts and signing in."""

import hashlib
import hmac
import time

import trio
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError

from domain.errors import Conflict, Invalid, Unauthenticated
from domain.ids import new_id
from domain.sessions.events import SessionOpened, SessionRevoked
from domain.users.events import Role, UserIdleChanged
from domain.users.rules import check_password, display_name, normal_email, register, slug_base
from eventlog.envelope import Origin, StreamAppend
from eventlog.errors import StreamConflictError
from eventlog.log import EventLog
from eventlog.reader import Filter
from projections.sessions import Session
from projections.users import User
from projections.views import Views

_SLUG_ATTEMPTS = 1000


class Accounts:
    """Commands on users and their sessions. `secret` keys the hash under which an address is claimed."""

    def __init__(self, log: EventLog, views: Views, secret: bytes, *, session_seconds: int) -> None:
        self._log = log
        self._views = views
        self._secret = secret
        self._session_seconds = session_seconds
        self._hasher = PasswordHasher()
        self._nobody = self._hasher.hash("nobody's password")
        # Each hash takes 64 MiB and a core: more at once would starve everything else.
        self._hashing = trio.CapacityLimiter(2)
        self._streams: dict[str, trio.Lock] = {}

    async def register(self, *, email: str, password: str, name: str | None, role: Role, origin: Origin) -> User:
        """Make an account. Raises Invalid for bad values, Conflict for a taken address or admin seat."""
        address = normal_email(email)
        check_password(password)
        shown = display_name(name, address)
        if self._views.users.by_email(address):
            raise _taken()
        password_hash = await trio.to_thread.run_sync(self._hasher.hash, password, limiter=self._hashing)
        user_id = new_id(time.time())
        base = slug_base(address)
        for attempt in range(_SLUG_ATTEMPTS):
            slug = base if attempt == 0 else f"{base}{attempt + 1}"
            if self._views.users.slug_taken(slug):
                continue
            events = register(
                user_id=user_id,
                email=email.strip(),
                name=shown,
                slug=slug,
                role=role,
                password_hash=password_hash,
                email_key=self._email_key(address),
            )
            try:
                await self._log.append(*(StreamAppend(s, 0, [e]) for s, e in events.items()), origin=origin)
            except StreamConflictError as conflict:
                if conflict.stream.startswith("slug:"):
                    continue
                if conflict.stream == "admin":
                    raise Conflict(
                        "There is an admin already, and there is only one.", code="admin_exists"
                    ) from None
                raise _taken() from None
            return self._views.users.get(user_id)
        raise Conflict("No free short name could be found for this address.", code="no_slug")

    async def authenticate(self, email: str, password: str) -> User:
        """Return the user with these credentials. Raises Unauthenticated, which does not say what was wrong.

        An unknown address costs the same time as a wrong password.
        """
        try:
            user = self._views.users.by_email(normal_email(email))
        except Invalid:
            user = None
        expected = user.password_hash if user else self._nobody
        try:
            await trio.to_thread.run_sync(self._hasher.verify, expected, password, limiter=self._hashing)
        except (VerifyMismatchError, InvalidHashError):
            user = None
        if user is None:
            raise Unauthenticated("The email address or the password is wrong.", code="bad_credentials")
        return user

    async def open_session(self, user: User, device: str, origin: Origin) -> Session:
        """Sign a user in."""
        now = time.time()
        event = SessionOpened(
            session_id=new_id(now),
            user_id=user.id,
            device=device[:200],
            expires_at=int(now) + self._session_seconds,
        )
        await self._on_stream(f"session:{user.id}", event, origin)
        return Session(event.session_id, user.id, event.device, now, event.expires_at)

    async def revoke_session(self, session: Session, origin: Origin) -> None:
        """Sign a session out."""
        event = SessionRevoked(session_id=session.id, user_id=session.user_id, reason="logout")
        await self._on_stream(f"session:{session.user_id}", event, origin)

    async def choose_idle(self, user: User, backend: str, seconds: int, origin: Origin) -> None:
        """Keep how long a user's runners of a backend may idle. 0 means for ever."""
        event = UserIdleChanged(user_id=user.id, backend=backend, idle_seconds=seconds)
        await self._on_stream(f"user:{user.id}", event, origin)

    async def _on_stream(
        self, stream: str, event: SessionOpened | SessionRevoked | UserIdleChanged, origin: Origin
    ) -> None:
        """Append to the end of a stream, wherever that is: the event is right in every state."""
        async with self._streams.setdefault(stream, trio.Lock()):
            newest = await self._log.read(Filter(stream=stream, newest_first=True), limit=1)
            version = newest[0].version if newest else 0
            await self._log.append(StreamAppend(stream, version, [event]), origin=origin)

    def _email_key(self, address: str) -> str:
        return hmac.new(self._secret, f"email:{address}".encode(), hashlib.sha256).hexdigest()


def _taken() -> Conflict:
    return Conflict("There is an account with this email address already. Sign in instead.", code="email_taken")
