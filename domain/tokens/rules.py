"""How a token looks, and what one may be made with."""

import hashlib
import secrets
from typing import Literal

from domain.errors import Invalid

Scope = Literal["all", "v1"]
"""`all`: whatever its user may do but manage the account itself. `v1`: only the OpenAI surface."""
PREFIX = "as-"
PATTERN = rf"\b{PREFIX}[A-Za-z0-9_-]{{43}}(?![A-Za-z0-9_-])"
"""A regular expression for tokens, to find one that somebody has put where it does not belong."""
MAX_NAME = 80
_SHOWN = 10


def new_secret() -> str:
    """Return a fresh token: 256 random bits after `as-`."""
    return PREFIX + secrets.token_urlsafe(32)


def hash_of(secret: str) -> str:
    """Return what is kept of a token. It is as random as a key, so a fast hash is enough."""
    return hashlib.sha256(secret.encode()).hexdigest()


def shown(secret: str) -> str:
    """Return how a token begins."""
    return secret[:_SHOWN]


def check_token(name: str, expires_at: int | None, now: float) -> str:
    """Return the name, trimmed. Raises Invalid for a bad name or an end that has passed."""
    trimmed = name.strip()
    if not 1 <= len(trimmed) <= MAX_NAME or not trimmed.isprintable():
        raise Invalid(f"Give the token a name of 1 to {MAX_NAME} printable characters.", code="bad_name")
    if expires_at is not None and expires_at <= now:
        raise Invalid("The token would have expired already: `expires_at` is in unix seconds.", code="bad_expiry")
    return trimmed
