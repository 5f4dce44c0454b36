"""Session tokens: signed JWTs that name a session in the log, so that they can be revoked."""

import time
from collections.abc import Mapping
from typing import Any

import jwt

from projections.sessions import Session

_ALGORITHM = "HS256"
OPERATOR = "operator"
_OPERATOR_SECONDS = 60


def sign(claims: Mapping[str, Any], key: str) -> str:
    """Return a token that holds claims."""
    return jwt.encode(dict(claims), key, _ALGORITHM)


def issue(session: Session, secret: str) -> str:
    """Return the token of a session; it expires with it."""
    claims = {
        "sub": session.user_id,
        "sid": session.id,
        "iat": int(session.created_at),
        "exp": session.expires_at,
    }
    return sign(claims, secret)


def issue_operator(secret: str) -> str:
    """Return a token, good for a minute, with which the command line speaks to its own server."""
    now = int(time.time())
    return sign({"sub": OPERATOR, "iat": now, "exp": now + _OPERATOR_SECONDS}, secret)


def read(token: str, secret: str) -> dict[str, Any] | None:
    """Return the claims of a token, or None when it is not ours, was altered or has expired."""
    try:
        return jwt.decode(token, secret, [_ALGORITHM], options={"require": ["sub", "exp", "iat"]})
    except jwt.InvalidTokenError:
        return None
