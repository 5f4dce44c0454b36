"""Which headers pass, in either direction."""

import re
from collections.abc import Iterable, Sequence
from urllib.parse import unquote_to_bytes

from domain.tokens.rules import PATTERN

HeaderList = list[tuple[bytes, bytes]]

_HOP_BY_HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te"}
    | {b"trailer", b"transfer-encoding", b"upgrade", b"expect", b"http2-settings"}
)
_NEVER_TO_RUNNER = _HOP_BY_HOP | {
    *(b"content-length", b"host", b"origin", b"referer"),
    b"accept-encoding",  # What is encoded would come late, and nobody could read how much it has used.
    b"content-encoding",  # It was taken off.
    b"x-request-id",  # Ours is sent.
    *(b"x-http-method", b"x-http-method-override", b"x-method-override"),  # Another method counts otherwise.
}
_SECRET = re.compile(
    rb"(^|[-_])(api|access|auth)?(key|token|secret|auth|bearer|dpop|otp|pwd|pass|pin|sid|session|jwt|cert)($|[-_0-9])"
    rb"|passw|credential|authori[sz]|authentic|cookie|signature|csrf|xsrf"
)
"""Names of headers that hold what only their receiver may know, whoever that is meant to be."""
_WHO = re.compile(
    rb"forwarded|client-?ip|(^|[-_])(ip|host|user|email|principal|url)($|[-_])|ipcountry|remote-|original-"
    rb"|external-address|tailscale|^via$"
)
"""Names of headers in which proxies tell who asks, from where, and by what name."""
_CREDENTIAL = re.compile(
    PATTERN.encode() + rb"|\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{20,}|^(?i:basic|digest|negotiate) "
)
"""An API token or a session token, whoever's it is, or a scheme that hides one."""
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_HARMLESS = frozenset({b"idempotency-key", b"x-idempotency-key", b"user-agent"})
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
        and (name in _HARMLESS or name == session or not (_SECRET.search(name) or _WHO.search(name)))
        and not name.startswith(b"sec-")
        and not tells(value, credentials)
    ]


def query_to_runner(query: bytes, credentials: Sequence[bytes]) -> bytes:
    """Return a query string without the parameters in which the client's credentials stand."""
    if not tells(query, credentials):
        return query
    return b"&".join(part for part in query.split(b"&") if not tells(part, credentials))


def tells(text: bytes, credentials: Sequence[bytes]) -> bool:
    """Tell whether one of these credentials, or what looks like one of ours, stands in a text."""
    plain = unquote_to_bytes(text) if b"%" in text else text
    return bool(_CREDENTIAL.search(plain)) or any(secret in plain for secret in credentials)


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
        and not _CONTROL.search(value)
    ]
    kinds = [value for name, value in passed if name == b"content-type"][:1]
    passed = [(name, value) for name, value in passed if name != b"content-type"]
    passed += [(b"content-type", kind) for kind in kinds]
    is_stream = any(map(is_event_stream, kinds))
    caching: HeaderList = [(b"cache-control", b"no-store")]
    if is_stream:
        caching = [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
    return [*passed, *caching, *isolation()]


def is_event_stream(kind: bytes) -> bool:
    """Tell whether a content type is that of server-sent events."""
    return kind.strip().lower().startswith(b"text/event-stream")


def _named_by_connection(headers: HeaderList) -> set[bytes]:
    return {
        token.strip().lower() for name, value in headers if name == b"connection" for token in value.split(b",")
    }
