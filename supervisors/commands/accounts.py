"""Making accounts, signing in, and changing what an account says."""

import hashlib
import hmac
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress

import trio

from domain.errors import Conflict, Forbidden, Invalid, Unauthenticated
from domain.ids import new_id
from domain.invites.events import InviteUsed
from domain.sessions.events import RevocationReason, SessionOpened, SessionRevoked
from domain.users.events import (
    BudgetSet,
    EmailClaimed,
    PasswordChanged,
    Role,
    UserIdleChanged,
    UserRegistered,
    UserRenamed,
)
from domain.users.passwords import check_password
from domain.users.rules import display_name, normal_email, register, slug_base
from eventlog.envelope import Origin, StreamAppend
from eventlog.errors import ReadOnlyError, StreamConflictError
from eventlog.log import EventLog
from eventlog.vault import Vault
from projections.invites import Invite
from projections.sessions import Session
from projections.users import User
from projections.views import Views
from supervisors.commands.hashing import Hashing
from supervisors.commands.invites import bad_invite, hash_of
from supervisors.commands.stream_end import StreamEnds

_NUMBERED, _ATTEMPTS = 20, 40
_MOST_SESSIONS = 100


class Accounts:
    """Commands on users and their sessions. `secret` keys the hash under which an address is claimed."""

    def __init__(self, log: EventLog, views: Views, vault: Vault, secret: bytes, *, session_seconds: int) -> None:
        self._log = log
        self._views = views
        self._vault = vault
        self._secret = secret
        self._session_seconds = session_seconds
        self._hashing = Hashing()
        self._ends = StreamEnds(log)

    async def register(
        self, *, email: str, password: str, name: str | None, role: Role, origin: Origin, invite: str = ""
    ) -> User:
        """Make an account, by an invitation if its code is given.

        Raises Invalid for bad values, Conflict for a taken address or admin seat, Forbidden for a bad invitation.
        """
        self._good_invite(invite)  # Before anything else: without a good one, nothing is told.
        address = normal_email(email)
        shown = display_name(name, address)
        check_password(password, address, address.partition("@")[0], shown)
        if self._views.users.by_email(address):
            raise _taken()
        password_hash = await self._hashing.hash(password)
        user_id, is_kept = new_id(time.time()), False
        try:
            await trio.to_thread.run_sync(self._vault.create, user_id)
            email_key = self._email_key(address)
            # An address whose account was deleted has a history: the new claim goes on from there.
            claim = await self._ends.newest(f"email:{email_key}")
            if claim and claim.type == EmailClaimed.TOPIC:
                raise _taken()
            slugs = self._slugs(address)
            slug = next(slugs, "")
            while slug:
                events = register(
                    user_id=user_id,
                    email=email.strip(),
                    name=shown,
                    slug=slug,
                    role=role,
                    password_hash=password_hash,
                    email_key=email_key,
                )
                appends = [
                    StreamAppend(stream, claim.version if claim and stream == claim.stream else 0, [event], user_id)
                    for stream, event in events.items()
                ]
                used = await self._used(invite, user_id)
                if self._views.users.by_email(address):
                    raise _taken()
                try:
                    await self._log.append(*appends, *used, origin=origin)
                except StreamConflictError as conflict:
                    if conflict.stream.startswith("slug:"):
                        slug = next(slugs, "")
                    elif not conflict.stream.startswith("invite:"):  # Which may be good for one more.
                        raise _taken(conflict.stream) from None
                else:
                    is_kept = True
                    return self._views.users.get(user_id)
            raise Conflict("No free short name could be found for this address.", code="no_slug")
        finally:
            if not is_kept:
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(self._vault.destroy, user_id)

    def with_address(self, email: str) -> User | None:
        """Return the user with an address, however it is spelled, or None."""
        try:
            return self._views.users.by_email(normal_email(email))
        except Invalid:
            return None

    async def authenticate(self, email: str, password: str) -> User:
        """Return the user with these credentials. Raises Unauthenticated, which does not say what was wrong.

        An unknown address costs the same time as a wrong password.
        """
        user = self.with_address(email)
        fits = await self._hashing.fits(password, user.password_hash if user else None)
        if user is None or not fits:
            raise Unauthenticated("The email address or the password is wrong.", code="bad_credentials")
        if self._hashing.is_outdated(user.password_hash):
            with suppress(ReadOnlyError, Conflict):  # Another time; or not at all, since there is another password.
                origin = Origin("system", "rehash")
                await self._keep_password(user, password, origin, in_place_of=user.password_hash, rehashed=True)
        return user

    async def change_password(self, user: User, current: str, new: str, session: Session, origin: Origin) -> None:
        """Change one's own password, and end one's other sessions.

        Raises Forbidden when `current` is wrong, Conflict when the password was changed in the meantime.
        """
        if not await self._hashing.fits(current, user.password_hash):
            raise Forbidden("The current password is wrong.", code="wrong_password")
        await self.set_password(user, new, origin, in_place_of=user.password_hash, keep=session.id)

    def check(self, user: User, *, name: str | None, password: str | None) -> None:
        """Raise Invalid unless the name and the password, where given, are good ones for a user."""
        if name is not None:
            display_name(name, user.email)
        if password is not None:
            check_password(password, user.email, user.email.partition("@")[0], user.name)

    async def set_password(
        self, user: User, new: str, origin: Origin, *, in_place_of: str = "", keep: str = ""
    ) -> None:
        """Set a password and end all sessions of its user, but for the one to keep. Raises Invalid.

        With `in_place_of`, the hash of the password now, it raises Conflict when there is another by then.
        """
        self.check(user, name=None, password=new)
        await self._keep_password(user, new, origin, in_place_of=in_place_of, keep=keep)

    async def rename(self, user: User, name: str, origin: Origin) -> User:
        """Change the name that is shown. Raises Invalid."""
        shown = display_name(name, user.email)
        if shown != user.name:
            event = UserRenamed(user_id=user.id, name=shown)
            await self._ends.append(f"user:{user.id}", event, origin, owner=user.id)
        return self._views.users.get(user.id)

    async def set_budget(self, user: User, monthly_tokens: int | None, origin: Origin) -> None:
        """Set how many tokens a user may use in a month; None for any number."""
        if monthly_tokens != user.monthly_tokens:
            event = BudgetSet(user_id=user.id, monthly_tokens=monthly_tokens)
            await self._ends.append(f"user:{user.id}", event, origin, owner=user.id)

    async def open_session(self, user: User, device: str, origin: Origin) -> Session:
        """Sign a user in. Raises Unauthenticated when the password was changed since `user` was looked up."""
        now = time.time()
        event = SessionOpened(
            session_id=new_id(now),
            user_id=user.id,
            device=device[:200],
            expires_at=int(now) + self._session_seconds,
        )
        await self._ends.append(f"session:{user.id}", event, origin, owner=user.id)
        session = Session(event.session_id, user.id, event.device, now, event.expires_at)
        for old in self._views.sessions.of_user(user.id)[:-_MOST_SESSIONS]:
            await self.revoke_session(old, origin, reason="revoked")
        # A change either sees this sign-in and ends it, or is seen here.
        today = self._views.users.find(user.id)
        if today is None or today.password_changes != user.password_changes:
            await self.revoke_session(session, origin, reason="password_changed")
            raise Unauthenticated("The password was changed a moment ago. Sign in again.", code="bad_credentials")
        return session

    async def revoke_other_sessions(self, session: Session, origin: Origin) -> int:
        """End all sessions of a user but one, all or none; return how many that were."""
        ends = self._ends_of_sessions(session.user_id, session.id, "revoked")
        if ends:
            await self._ends.append_all(f"session:{session.user_id}", ends, origin, owner=session.user_id)
        return len(ends)

    def _ends_of_sessions(self, user_id: str, keep: str, reason: RevocationReason) -> list[SessionRevoked]:
        return [
            SessionRevoked(session_id=session.id, user_id=user_id, reason=reason)
            for session in self._views.sessions.of_user(user_id)
            if session.id != keep
        ]

    async def revoke_session(
        self, session: Session, origin: Origin, *, reason: RevocationReason = "logout"
    ) -> None:
        """End a session."""
        event = SessionRevoked(session_id=session.id, user_id=session.user_id, reason=reason)
        await self._ends.append(f"session:{session.user_id}", event, origin, owner=session.user_id)

    async def choose_idle(self, user: User, backend: str, seconds: int, origin: Origin) -> None:
        """Keep how long a user's runners of a backend may idle. 0 means for ever."""
        if seconds == self._views.users.idle_choice(user.id, backend):
            return
        event = UserIdleChanged(user_id=user.id, backend=backend, idle_seconds=seconds)
        await self._ends.append(f"user:{user.id}", event, origin, owner=user.id)

    def email_stream(self, email: str) -> str:
        """Return the stream in which an address is claimed: its name does not tell the address."""
        return f"email:{self._email_key(normal_email(email))}"

    def _email_key(self, address: str) -> str:
        return hmac.new(self._secret, f"email:{address}".encode(), hashlib.sha256).hexdigest()

    def _slugs(self, address: str) -> Iterator[str]:
        base = slug_base(address)
        for attempt in range(1, _ATTEMPTS + 1):
            # By numbers alone, whoever has many addresses would use up those of a name for good.
            number = attempt if attempt <= _NUMBERED else secrets.token_hex(4)
            slug = base if attempt == 1 else f"{base}{number}"
            if not self._views.users.slug_taken(slug):
                yield slug

    def _good_invite(self, code: str) -> Invite | None:
        """Return the invitation with a code, None without one. Raises Forbidden when it is spent by now."""
        if not code:
            return None
        invite = self._views.invites.by_hash(hash_of(code), time.time())
        if invite is None:
            raise bad_invite()
        return invite

    async def _used(self, code: str, user_id: str) -> list[StreamAppend]:
        """Return the use of an invitation, if there is one. Raises Forbidden when it is spent by now."""
        invite = self._good_invite(code)
        if invite is None:
            return []
        stream = f"invite:{invite.id}"
        version = await self._ends.version(stream)
        self._good_invite(code)  # Somebody else may have used it just now.
        return [StreamAppend(stream, version, [InviteUsed(invite_id=invite.id, user_id=user_id)])]

    async def _keep_password(
        self,
        user: User,
        password: str,
        origin: Origin,
        *,
        in_place_of: str = "",
        keep: str = "",
        rehashed: bool = False,
    ) -> None:
        """Keep a password; with it end, all or nothing, all sessions but `keep`, unless it is the same password."""
        hashed = await self._hashing.hash(password)
        event = PasswordChanged(user_id=user.id, password_hash=hashed, rehashed=rehashed)
        stream = f"user:{user.id}"
        while True:
            # What the log says, not a view: hashing took its time.
            history = await self._log.read_stream(stream)
            hashes = [
                r.event.password_hash for r in history if isinstance(r.event, UserRegistered | PasswordChanged)
            ]
            if in_place_of and in_place_of not in hashes[-1:]:
                raise Conflict("The password was changed a moment ago.", code="password_changed")
            appends = [StreamAppend(stream, history[-1].version, [event], user.id)]
            ends = [] if rehashed else self._ends_of_sessions(user.id, keep, "password_changed")
            if ends:
                version = await self._ends.version(f"session:{user.id}")
                appends.append(StreamAppend(f"session:{user.id}", version, ends, user.id))
            with suppress(StreamConflictError):
                await self._log.append(*appends, origin=origin)
                return


def _taken(stream: str = "") -> Conflict:
    if stream == "admin":
        return Conflict("There is an admin already, and there is only one.", code="admin_exists")
    return Conflict("There is an account with this email address already. Sign in instead.", code="email_taken")
