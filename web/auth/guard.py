"""Who is calling."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from werkzeug.http import parse_cookie

from domain.errors import Forbidden, Unauthenticated
from domain.sessions.events import SessionRevoked
from domain.tokens.events import TokenRevoked
from domain.tokens.rules import PREFIX, hash_of
from domain.users.events import UserDeleted
from eventlog.envelope import Origin, Recorded, Unreadable
from projections.sessions import Session
from projections.tokens import Token
from projections.users import User
from projections.views import Views
from supervisors.usage import UsageMeter
from web.auth import jwts
from web.auth.pages import Asking, refuse_all_but_our_scripts, refuse_foreign_page
from web.services import WebSettings

_ENDS = frozenset({SessionRevoked, TokenRevoked, UserDeleted, Unreadable})
"""Events after which somebody may not be let in any more."""


@dataclass(frozen=True, slots=True, eq=False)
class Caller:
    """Somebody who is signed in, or a program with an API token, and the request they are making."""

    user: User
    credential: Session | Token
    correlation: str

    @property
    def origin(self) -> Origin:
        """The origin of the events that this request brings about."""
        return Origin(f"user:{self.user.id}", self.correlation)

    @property
    def session(self) -> Session:
        """The sign-in. Raises Forbidden for an API token, which may not manage the account that it belongs to."""
        if isinstance(self.credential, Token):
            raise Forbidden("An API token may not do this. Sign in for it.", code="token_scope")
        return self.credential

    def may_use(self, model: str) -> bool:
        """Tell whether the credential is good for a model."""
        return not isinstance(self.credential, Token) or self.credential.allows(model)

    def check_model(self, model: str) -> None:
        """Raise Forbidden when the API token was made for other models only."""
        if not self.may_use(model):
            raise Forbidden(
                f"This API token may not be used for the model {model[:200]!r}. GET /v1/models lists those that it "
                "is good for.",
                code="model_not_allowed",
            )


class Guard:
    """Identifies callers, from memory alone; nobody of those who are `leaving`."""

    def __init__(self, settings: WebSettings, views: Views, usage: UsageMeter, leaving: AbstractSet[str]) -> None:
        self._settings = settings
        self._views = views
        self._usage = usage
        self._leaving = leaving
        self._watching: dict[str, dict[Caller, Callable[[], None]]] = {}

    def identify(self, asking: Asking) -> Caller:
        """Return the caller of /v1: by API token, by the bearer token of a sign-in, or by cookie.

        Raises Unauthenticated for neither or a bad one, Forbidden for what has nothing but the cookie that a
        browser adds by itself, unless a script of our own page asks for it: every request here reaches an agent.
        """
        return self._identify(asking, refuse_all_but_our_scripts)

    def identify_beyond_v1(self, asking: Asking) -> Caller:
        """Return the caller of anything but /v1.

        Raises Forbidden for a foreign page, and for a token that is good for /v1 only. That is also one for some
        models: beyond /v1, a model is only one of many things that start an agent.
        """
        caller = self._identify(asking, refuse_foreign_page)
        token = caller.credential
        if isinstance(token, Token) and (token.scope != "all" or token.models):
            raise Forbidden("This API token is good for /v1 only.", code="token_scope")
        return caller

    def _identify(self, asking: Asking, check_page: Callable[[Asking], None]) -> Caller:
        presented = bearer(asking.headers)
        token = presented or self._cookie(asking.headers)
        if not token:
            raise Unauthenticated("Sign in first, or send `Authorization: Bearer <token>`.")
        if presented.startswith(PREFIX):
            return self._program(presented, asking.correlation)
        caller = self._person(token, asking.correlation)
        if not presented:
            check_page(asking)
        return caller

    def is_good(self, caller: Caller) -> bool:
        """Tell whether a caller of a while ago would still be let in."""
        now = time.time()
        if self._user(caller.user.id) is None:
            return False
        if isinstance(caller.credential, Session):
            return self._views.sessions.live(caller.credential.id, now) is not None
        return self._views.tokens.find(caller.credential.id) is not None and not _is_over(caller.credential, now)

    def refuse_unless_good(self, caller: Caller) -> None:
        """Raise Unauthenticated when a caller of a while ago would not be let in any more."""
        if not self.is_good(caller):
            raise ended()

    @contextmanager
    def watching(self, caller: Caller, on_end: Callable[[], None]) -> Iterator[None]:
        """Have `on_end` called as soon as the log says that a caller would not be let in any more."""
        of_user = self._watching.setdefault(caller.user.id, {})
        of_user[caller] = on_end
        try:
            yield
        finally:
            del of_user[caller]
            if not of_user and self._watching.get(caller.user.id) is of_user:
                del self._watching[caller.user.id]

    def look_again(self, records: Iterable[Recorded[Any]]) -> None:
        """Call those who watch a caller whom one of these events shuts out."""
        for record in records:
            if type(record.event) in _ENDS:
                for caller, on_end in list(self._watching.get(record.owner, {}).items()):
                    if not self.is_good(caller):
                        on_end()

    def credentials(self, raw: Iterable[tuple[bytes, bytes]], headers: Mapping[str, str]) -> list[bytes]:
        """Return what a caller has shown, in however many headers, which is for nobody else to see."""
        shown = [part for name, value in raw if name == b"authorization" for part in value.split()[-1:]]
        cookie = self._cookie(headers).encode()
        return [*shown, cookie] if cookie else shown

    def is_operator(self, headers: Mapping[str, str]) -> bool:
        """Tell whether the command line of this installation is calling."""
        claims = jwts.read(bearer(headers), self._settings.operator_key)
        return claims is not None and claims["sub"] == jwts.OPERATOR

    def _user(self, user_id: str) -> User | None:
        return None if user_id in self._leaving else self._views.users.find(user_id)

    def _cookie(self, headers: Mapping[str, str]) -> str:
        try:
            return parse_cookie(headers.get("cookie", "")).get(cookie_name(self._settings), "")
        except UnicodeError:  # Another program's cookie, in another encoding.
            return ""

    def _program(self, secret: str, correlation: str) -> Caller:
        token = self._views.tokens.by_hash(hash_of(secret))
        user = self._user(token.user_id) if token else None
        if token is None or user is None:
            raise Unauthenticated("This API token is wrong or was revoked. Make another one.", code="bad_token")
        if _is_over(token, time.time()):
            raise Unauthenticated("This API token has expired. Make another one.", code="token_expired")
        self._usage.note_token(user.id, token.id)
        return Caller(user, token, correlation)

    def _person(self, token: str, correlation: str) -> Caller:
        claims = jwts.read(token, self._settings.jwt_secret)
        session = self._views.sessions.live(str(claims.get("sid")), time.time()) if claims else None
        user = self._user(session.user_id) if session else None
        if session is None or user is None:
            raise ended()
        return Caller(user, session, correlation)


def ended() -> Unauthenticated:
    """Return the refusal of what was good once."""
    return Unauthenticated("This sign-in, or API token, has ended. Sign in again.", code="session_ended")


def _is_over(token: Token, now: float) -> bool:
    return token.expires_at is not None and token.expires_at <= now


def cookie_name(settings: WebSettings) -> str:
    """Return the name of the session cookie.

    Over HTTPS it begins so that browsers take it from this very host only, and never over plain HTTP.
    """
    return f"__Host-{settings.cookie_name}" if settings.cookie_secure else settings.cookie_name


def bearer(headers: Mapping[str, str]) -> str:
    """Return the token of an `Authorization: Bearer` header, "" when there is none."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
