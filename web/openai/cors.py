"""Pages of other origins that the admin allows to use /v1, with an API token of their own; never with cookies."""

from collections.abc import Mapping

from web.openai.headers import HeaderList

_PREFLIGHT: HeaderList = [
    (b"access-control-allow-methods", b"GET, POST, PUT, PATCH, DELETE"),
    (b"access-control-allow-headers", b"authorization, content-type, x-request-id, x-stainless-*"),
    (b"access-control-max-age", b"600"),
]
_EXPOSED = b"x-request-id, retry-after, x-ratelimit-limit-requests, x-ratelimit-reset-requests"


def cors_headers(headers: Mapping[str, str], allowed: frozenset[str]) -> HeaderList:
    """Return the headers that let a page read the answer; none when its origin is not allowed."""
    origin = headers.get("origin", "")
    if origin not in allowed:
        return []
    return [
        (b"access-control-allow-origin", origin.encode()),
        (b"access-control-expose-headers", _EXPOSED),
        (b"vary", b"origin"),
    ]


def preflight(headers: Mapping[str, str]) -> HeaderList:
    """Return what a browser asks for before it sends a page's request: the headers that it wants to send."""
    wanted = headers.get("access-control-request-headers", "")
    echoed = [(b"access-control-allow-headers", wanted.encode("latin-1"))] if wanted else []
    return [h for h in _PREFLIGHT if not (echoed and h[0] == echoed[0][0])] + echoed
