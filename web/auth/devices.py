"""Devices on which somebody has signed in before, told by a cookie of their own.

Whoever guesses passwords locks out no such device: its attempts are counted by themselves. The cookie opens
nothing, and outlives sign-ins and passwords. One device may be several people's.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass

from quart import Response
from werkzeug.http import parse_cookie

from web.auth import jwts
from web.auth.guard import cookie_name
from web.services import WebSettings

_SECONDS = 365 * 24 * 3600
_MOST_USERS = 5


@dataclass(frozen=True, slots=True)
class Device:
    """A device, and the users who have signed in on it, the last one last."""

    id: str
    users: tuple[str, ...]

    @property
    def place(self) -> str:
        """What its attempts are counted under, as others' are under their address."""
        return f"device:{self.id}"


class Devices:
    """Issues and reads the cookies."""

    def __init__(self, settings: WebSettings) -> None:
        # What one kind of token is signed with must be good for no other.
        self._key = hmac.new(settings.jwt_secret.encode(), b"device", hashlib.sha256).hexdigest()
        self._cookie = f"{cookie_name(settings)}_device"
        self._secure = settings.cookie_secure

    def of(self, headers: Mapping[str, str]) -> Device | None:
        """Return the device that a request comes from, None for one that nobody has signed in on."""
        try:
            token = parse_cookie(headers.get("cookie", "")).get(self._cookie, "")
        except UnicodeError:
            return None
        claims = jwts.read(token, self._key)
        return Device(str(claims["sub"]), tuple(claims.get("users", ()))) if claims else None

    def remember(self, answer: Response, device: Device | None, user_id: str) -> None:
        """Have the device of a request keep that a user has signed in on it."""
        id_, known = (device.id, device.users) if device else (secrets.token_urlsafe(16), ())
        now = int(time.time())
        users = [*(u for u in known if u != user_id), user_id][-_MOST_USERS:]
        claims = {"sub": id_, "users": users, "iat": now, "exp": now + _SECONDS}
        answer.set_cookie(
            self._cookie,
            jwts.sign(claims, self._key),
            max_age=_SECONDS,
            path="/",
            httponly=True,
            samesite="Lax",
            secure=self._secure,
        )
