"""web.openai.headers: what passes between clients and agents."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.tokens.rules import new_secret
from web.openai.headers import isolation, query_to_runner, to_client, to_runner

SECRET = b"as-" + b"s" * 43
SOMEBODYS = b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0." + b"s" * 43
PASSING = {
    *(
        "content-type",
        "content-length",
        "content-disposition",
        "content-language",
        "content-range",
        "accept-ranges",
    ),
    *("etag", "last-modified", "retry-after", "retry-after-ms", "x-should-retry"),
    *("openai-processing-ms", "openai-version", "x-ratelimit-limit-requests", "x-ratelimit-reset-tokens"),
}
STOPPED = {
    *("location", "content-location", "www-authenticate", "proxy-authenticate", "authentication-info", "link"),
    *(
        "speculation-rules",
        "cache-control",
        "expires",
        "pragma",
        "age",
        "vary",
        "set-cookie",
        "set-cookie2",
        "refresh",
    ),
    *("clear-site-data", "service-worker-allowed", "sourcemap", "x-sourcemap", "content-security-policy", "nel"),
    *("content-security-policy-report-only", "permissions-policy", "document-policy", "origin-agent-cluster"),
    *(
        "cross-origin-opener-policy",
        "cross-origin-embedder-policy",
        "cross-origin-resource-policy",
        "referrer-policy",
    ),
    *(
        "access-control-allow-origin",
        "access-control-allow-credentials",
        "timing-allow-origin",
        "supports-loading-mode",
    ),
    *(
        "strict-transport-security",
        "alt-svc",
        "accept-ch",
        "critical-ch",
        "report-to",
        "reporting-endpoints",
        "expect-ct",
    ),
    *("public-key-pins", "x-accel-redirect", "x-accel-buffering", "x-sendfile", "x-reproxy-url", "x-frame-options"),
    *(
        "x-dns-prefetch-control",
        "x-content-type-options",
        "x-permitted-cross-domain-policies",
        "activate-storage-access",
    ),
    *(
        "sec-websocket-accept",
        "upgrade",
        "connection",
        "keep-alive",
        "trailer",
        "transfer-encoding",
        "te",
        "server",
    ),
    *(
        "date",
        "via",
        "x-powered-by",
        "x-request-id",
        "x-anything",
        "no-vary-search",
        "use-as-dictionary",
        "set-login",
    ),
    *("integrity-policy", "attribution-reporting-register-source", "observe-browsing-topics", "x-robots-tag", ""),
}
"""Some of what servers may tell a browser, a proxy or a cache."""


def names_of(headers: list[tuple[bytes, bytes]]) -> list[str]:
    return [name.decode() for name, _ in headers]


OURS = [*names_of(isolation()), "cache-control"]


@pytest.mark.parametrize("name", sorted(PASSING))
def test_what_describes_an_answer_passes(name: str) -> None:
    assert (name.encode(), b"1") in to_client([(name.title().encode(), b"1")])


@given(name=st.one_of(st.sampled_from(sorted(STOPPED)), st.from_regex(r"[A-Za-z0-9-]{1,30}", fullmatch=True)))
def test_nothing_else_passes(name: str) -> None:
    if name.lower() in PASSING or name.lower().startswith(("openai-", "x-ratelimit-")):
        return
    sent = [(name.encode(), b"evil"), (b"content-type", b"text/html")]
    passed = to_client(sent)
    assert b"evil" not in [value for _, value in passed]
    assert sorted(names_of(passed)) == sorted(["content-type", *OURS])


def test_the_session_of_an_agent_passes_where_its_backend_declares_it() -> None:
    sent = [(b"X-Agent-Session", b"s1")]
    assert (b"x-agent-session", b"s1") in to_client(sent, session=b"x-agent-session")
    assert b"x-agent-session" not in [n for n, _ in to_client(sent)]
    asked = [(b"x-agent-session-key", b"mine")]
    assert to_runner(asked, [], session=b"x-agent-session-key") == asked
    assert to_runner(asked, []) == []


def test_an_answer_is_kept_by_nobody_and_a_stream_is_not_held_back() -> None:
    assert (b"cache-control", b"no-store") in to_client([(b"content-type", b"application/json")])
    stream = to_client([(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"public")])
    assert [v for n, v in stream if n == b"cache-control"] == [b"no-cache"]
    assert (b"x-accel-buffering", b"no") in stream


def test_a_type_is_one_type_and_a_value_has_no_control_characters() -> None:
    sent = [(b"Content-Type", b"TEXT/EVENT-STREAM"), (b"content-type", b"text/html"), (b"openai-a", b"\x01b")]
    passed = to_client(sent)
    assert [v for n, v in passed if n == b"content-type"] == [b"TEXT/EVENT-STREAM"]
    assert (b"x-accel-buffering", b"no") in passed
    assert "openai-a" not in names_of(passed)


def test_what_a_decoded_answer_no_longer_is_does_not_pass() -> None:
    sent = [
        (b"content-length", b"5"),
        (b"etag", b"x"),
        (b"content-type", b"text/plain"),
        (b"accept-ranges", b"bytes"),
    ]
    assert sorted(names_of(to_client(sent, decoded=True))) == sorted(["content-type", *OURS])


HOLDS_A_SECRET = [
    *(
        "authorization",
        "proxy-authorization",
        "cookie",
        "cookie2",
        "api-key",
        "x-api-key",
        "x-goog-api-key",
        "apikey",
    ),
    *(
        "x-auth-token",
        "x-access-token",
        "x-csrf-token",
        "x-amz-security-token",
        "ocp-apim-subscription-key",
        "x-secret",
    ),
    *("x-bearer", "dpop", "x-otp", "x-pwd", "x-pass", "x-pin", "x-sid", "x-session-id", "x-csrf", "x-client-cert"),
    *("x-openai-key", "x-authentication", "x-jwt-assertion", "private-token", "x-password", "x-gitlab-token"),
]
TELLS_WHO_ASKS = [
    *(
        "host",
        "origin",
        "referer",
        "sec-fetch-site",
        "sec-ch-ua",
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-host",
    ),
    *("x-original-forwarded-for", "x-cluster-client-ip", "fastly-client-ip", "x-azure-clientip", "x-forwarded"),
    *("cf-ipcountry", "x-original-host", "x-host", "x-real-host", "x-original-url", "x-rewrite-url", "remote-user"),
    *("x-remote-user", "x-email", "tailscale-user-login", "x-sso-user", "x-ms-client-principal-name", "expect"),
    *("x-real-ip", "via", "cf-connecting-ip", "true-client-ip", "x-request-id", "connection", "te", "upgrade"),
]


@pytest.mark.parametrize("name", [*HOLDS_A_SECRET, *TELLS_WHO_ASKS])
def test_what_is_between_the_client_and_us_stays_there(name: str) -> None:
    assert to_runner([(name.encode(), b"x")], []) == []


@pytest.mark.parametrize(
    "name",
    [
        "accept",
        "content-type",
        "user-agent",
        "openai-beta",
        "x-stainless-lang",
        "idempotency-key",
        "x-anything",
        "x-author",
        "x-keyword",
        "x-max-tokens",
        "traceparent",
    ],
)
def test_all_else_reaches_the_agent(name: str) -> None:
    assert to_runner([(name.encode(), b"x")], [SECRET]) == [(name.encode(), b"x")]


@given(
    name=st.from_regex(r"x-[a-z0-9-]{1,20}", fullmatch=True),
    before=st.sampled_from([b"", b"Bearer ", b"Key=", b"x;"]),
    secret=st.sampled_from([SECRET, b"a.session.jwt", new_secret().encode(), SOMEBODYS, b"a%2Esession.jwt"]),
)
def test_no_header_carries_a_credential_of_the_caller(name: str, before: bytes, secret: bytes) -> None:
    assert to_runner([(name.encode(), before + secret + b" ")], [SECRET, b"a.session.jwt"]) == []


@pytest.mark.parametrize("value", [b"Basic dXNlcjphcy1zZWNyZXQ=", b"basic x", b"Digest x", b"Negotiate x"])
def test_no_header_carries_a_credential_in_disguise(value: bytes) -> None:
    assert to_runner([(b"x-anything", value)], []) == []


@pytest.mark.parametrize("value", [b"software-as-a-service-agreement-of-two-thousand", b"as-short", b"eyJhbGciOi"])
def test_what_only_resembles_one_passes(value: bytes) -> None:
    assert to_runner([(b"x-anything", value)], [SECRET]) == [(b"x-anything", value)]
    assert query_to_runner(b"q=" + value, [SECRET]) == b"q=" + value


@pytest.mark.parametrize(
    ("query", "passed"),
    [
        (b"", b""),
        (b"model=x&limit=2&a=%26", b"model=x&limit=2&a=%26"),
        (b"key=" + SECRET, b""),
        (b"a=1&key=" + SECRET + b"&b=2", b"a=1&b=2"),
        (b"key=" + SECRET.replace(b"s-", b"%73%2d") + b"&b=2", b"b=2"),
        (b"a=session.jwt&b=2", b"b=2"),
        (b"a=" + SOMEBODYS + b"&b=2", b"b=2"),
    ],
)
def test_no_query_carries_one_either(query: bytes, passed: bytes) -> None:
    assert query_to_runner(query, [b"session.jwt"]) == passed
