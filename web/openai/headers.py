"""Which headers pass, in either direction."""

from collections.abc import Iterable

HeaderList = list[tuple[bytes, bytes]]

_HOP_BY_HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te"}
    | {b"trailer", b"transfer-encoding", b"upgrade"}
)
_NEVER_TO_RUNNER = _HOP_BY_HOP | {
    *(b"authorization", b"content-length", b"cookie", b"host", b"origin", b"referer"),
    b"accept-encoding",  # What is encoded would come late, and nobody could read how much it has used.
    b"content-encoding",  # It was taken off.
    b"x-request-id",  # Ours is sent.
}
_NEVER_TO_CLIENT = _HOP_BY_HOP | {
    *(b"date", b"server", b"set-cookie", b"x-request-id"),
    b"x-content-type-options",  # Ours is sent: browsers heed the first.
    # Orders to a reverse proxy.
    *(b"x-accel-charset", b"x-accel-expires", b"x-accel-limit-rate", b"x-accel-redirect"),
    *(b"x-lighttpd-send-file", b"x-lighttpd-send-tempfile", b"x-reproxy-url", b"x-sendfile", b"x-sendfile2"),
    # These act on the whole origin, or beyond it.
    *(b"alt-svc", b"clear-site-data", b"nel", b"refresh", b"report-to", b"reporting-endpoints"),
    *(b"service-worker-allowed", b"strict-transport-security"),
}


_OF_A_CODING = frozenset(
    {b"content-encoding", b"content-length", b"content-md5", b"digest", b"etag", b"accept-ranges"}
)
"""What an answer's head says of its body as it was encoded."""


def to_runner(headers: Iterable[tuple[bytes, bytes]]) -> HeaderList:
    """Return a client's headers without those that are between it and us. Names are lower case."""
    kept = list(headers)
    named = _named_by_connection(kept)
    return [
        (name, value)
        for name, value in kept
        if name not in _NEVER_TO_RUNNER and name not in named and not name.startswith(b"sec-fetch-")
    ]


def to_client(headers: Iterable[tuple[bytes, bytes]], *, decoded: bool = False) -> HeaderList:
    """Return an agent's headers without those that it may not set on our origin.

    Of an answer that is `decoded` on its way, without those that no longer hold either. What it sends can never run
    as a page of ours: it is sandboxed, and its type is not guessed.
    """
    kept = [(name.lower(), value) for name, value in headers]
    named = _named_by_connection(kept)
    passed = [
        (name, value)
        for name, value in kept
        if name not in _NEVER_TO_CLIENT
        and name not in named
        and not (decoded and name in _OF_A_CODING)
        and not name.startswith((b"access-control-", b"content-security-policy"))
    ]
    return [
        *passed,
        (b"x-content-type-options", b"nosniff"),
        (b"content-security-policy", b"sandbox; default-src 'none'"),
    ]


def _named_by_connection(headers: HeaderList) -> set[bytes]:
    return {
        token.strip().lower() for name, value in headers if name == b"connection" for token in value.split(b",")
    }
