"""Which headers pass, in either direction."""

import re
from collections.abc import Iterable, Sequence
from urllib.parse import unquote_to_bytes

from domain.tokens.rules import PATTERN

HeaderList = list[tuple[bytes, bytes]]

_HOP_BY_HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te"}
    | {b"trailer", b"transfer-encoding", b"upgrade"}
)
_NEVER_TO_RUNNER = _HOP_BY_HOP | {
    *(b"content-length", b"host", b"origin", b"referer"),
    # Who asks, from where, and by what name: that is between the client and us.
    *(b"forwarded", b"x-real-ip", b"x-client-ip", b"true-client-ip", b"cf-connecting-ip", b"via"),
    b"accept-encoding",  # What is encoded would come late, and nobody could read how much it has used.
    b"content-encoding",  # It was taken off.
    b"x-request-id",  # Ours is sent.
}
_SECRET = re.compile(rb"key|token|secret|passw|credential|auth|cookie|jwt|signature")
"""Names of headers that hold what only their receiver may know, whoever that is meant to be."""
_API_TOKEN = re.compile(PATTERN.encode())
"""One of ours, whoever's it is."""
_NO_SECRETS = frozenset({b"idempotency-key", b"x-idempotency-key"})
_TO_CLIENT = frozenset(
    {
        *(b"content-type", b"content-length", b"content-disposition", b"content-language"),
        *(b"content-range", b"accept-ranges", b"etag", b"last-modified"),
        *(b"retry-after", b"retry-after-ms", b"x-should-retry"),
    }
)
_TO_CLIENT_BEGIN = (b"openai-", b"x-ratelimit-")
_OF_A_CODING = frozenset({b"content-length", b"etag", b"accept-ranges", b"content-range"})
"""What an answer's head says of its body as it was encoded."""
_EVENT_STREAM = b"text/event-stream"

SANDBOX = b"sandbox; default-src 'none'"


def isolation(policy: bytes = SANDBOX) -> HeaderList:
    """Return what makes an answer data and nothing else: no page of ours, no part of one, of no guessed type."""
    return [
        (b"x-content-type-options", b"nosniff"),
        (b"content-security-policy", policy),
        (b"cross-origin-resource-policy", b"same-origin"),
        (b"referrer-policy", b"no-referrer"),
    ]


def to_runner(
    headers: Iterable[tuple[bytes, bytes]], credentials: Sequence[bytes], *, session: bytes = b""
) -> HeaderList:
    """Return a client's headers without those that are between it and us. Names are lower case.

    None of the `credentials` that the client has shown passes, in whatever header it stands, nor any other that may
    hold one. `session` is the name of the header in which the agent takes a session, which passes.
    """
    kept = list(headers)
    named = _named_by_connection(kept)
    return [
        (name, value)
        for name, value in kept
        if name not in _NEVER_TO_RUNNER
        and name not in named
        and (name in _NO_SECRETS or name == session or not _SECRET.search(name))
        and not name.startswith((b"sec-", b"x-forwarded-"))
        and not _API_TOKEN.search(value)
        and not any(secret in value for secret in credentials)
    ]


def query_to_runner(query: bytes, credentials: Sequence[bytes]) -> bytes:
    """Return a query string without the parameters in which the client's credentials stand."""

    def tells(part: bytes) -> bool:
        plain = unquote_to_bytes(part)
        return bool(_API_TOKEN.search(plain)) or any(secret in plain for secret in credentials)

    return b"&".join(p for p in query.split(b"&") if not tells(p)) if tells(query) else query


def to_client(headers: Iterable[tuple[bytes, bytes]], *, decoded: bool = False, session: bytes = b"") -> HeaderList:
    """Return those of an agent's headers that say something of its answer, and ours.

    All others it would set on our origin: where to go, whom to ask for a password, what to keep, what to load.
    Of an answer that is `decoded` on its way, those that no longer hold are left out too. `session` is the name
    of the header in which the agent tells its session, which passes.
    """
    kept = [(name.lower(), value) for name, value in headers]
    named = _named_by_connection(kept)
    passed = [
        (name, value)
        for name, value in kept
        if (name in _TO_CLIENT or name.startswith(_TO_CLIENT_BEGIN) or (session and name == session))
        and name not in named
        and not (decoded and name in _OF_A_CODING)
    ]
    is_stream = any(name == b"content-type" and value.startswith(_EVENT_STREAM) for name, value in passed)
    caching: HeaderList = [(b"cache-control", b"no-store")]
    if is_stream:
        caching = [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
    return [*passed, *caching, *isolation()]


def _named_by_connection(headers: HeaderList) -> set[bytes]:
    return {
        token.strip().lower() for name, value in headers if name == b"connection" for token in value.split(b",")
    }
