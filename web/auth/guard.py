"""Who is calling."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from werkzeug.http import parse_cookie

from domain.errors import Forbidden, Unauthenticated
from eventlog.envelope import Origin
from projections.sessions import Session
from projections.users import User
from projections.views import Views
from web.auth import tokens
from web.services import WebSettings

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who is signed in, and the request they are making."""

    user: User
    session: Session
    correlation: str

    @property
    def origin(self) -> Origin:
        """The origin of the events that this request brings about."""
        return Origin(f"user:{self.user.id}", self.correlation)


class Guard:
    """Identifies callers, from memory alone. Header names are lower case."""

    def __init__(self, settings: WebSettings, views: Views) -> None:
        self._settings = settings
        self._views = views

    def identify(self, method: str, headers: Mapping[str, str], correlation: str) -> Caller:
        """Return the caller: by bearer token, else by cookie.

        Raises Unauthenticated for neither or a bad one, Forbidden for a change that a foreign page asks for with
        nothing but the cookie that the browser added.
        """
        presented = bearer(headers)
        token = presented or self._cookie(headers)
        if not token:
            raise Unauthenticated("Sign in first, or send `Authorization: Bearer <token>`.")
        caller = self._caller(token, correlation)
        if not presented and method not in SAFE_METHODS:
            refuse_foreign_origin(headers)
        return caller

    def _cookie(self, headers: Mapping[str, str]) -> str:
        try:
            return parse_cookie(headers.get("cookie", "")).get(self._settings.cookie_name, "")
        except UnicodeError:  # Another program's cookie, in another encoding.
            return ""

    def is_operator(self, headers: Mapping[str, str]) -> bool:
        """Tell whether the command line of this installation is calling."""
        claims = tokens.read(bearer(headers), self._settings.operator_key)
        return claims is not None and claims["sub"] == tokens.OPERATOR

    def _caller(self, token: str, correlation: str) -> Caller:
        claims = tokens.read(token, self._settings.jwt_secret)
        session = self._views.sessions.live(str(claims.get("sid")), time.time()) if claims else None
        user = self._views.users.find(session.user_id) if session else None
        if session is None or user is None:
            raise Unauthenticated("This sign-in has ended. Sign in again.", code="session_ended")
        return Caller(user, session, correlation)


def refuse_foreign_origin(headers: Mapping[str, str]) -> None:
    """Raise Forbidden when a browser says that another site's page makes this request."""
    origin = headers.get("origin")
    if origin is not None and origin.partition("://")[2] != headers.get("host"):
        raise Forbidden("This request came from another site's page and was refused.", code="foreign_origin")


def bearer(headers: Mapping[str, str]) -> str:
    """Return the token of an `Authorization: Bearer` header, "" when there is none."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
