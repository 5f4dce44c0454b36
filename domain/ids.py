"""Identifiers: 26 characters that sort by creation time (the ULID layout: 48 bits of ms, 80 random bits)."""

import secrets

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_RANDOM_BITS = 80


def new_id(now: float) -> str:
    """Return a fresh identifier for a thing created at `now` (unix seconds)."""
    value = (int(now * 1000) << _RANDOM_BITS) | secrets.randbits(_RANDOM_BITS)
    return "".join(_ALPHABET[(value >> shift) & 31] for shift in range(125, -5, -5))
