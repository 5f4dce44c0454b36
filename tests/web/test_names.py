"""web.auth.names: under which names the server is asked, and which pages are its own."""

from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from agentstack.settings import load_settings
from agentstack.web_settings import web_settings
from domain.errors import Misdirected
from web.auth.names import NO_NAME, Names, must_name_us, normal_origin

PROXY, STRANGER = "10.0.0.1", "198.51.100.7"


@pytest.fixture
def names(tmp_path: Path) -> Any:
    """Return a maker of names; the changes are settings of the web."""
    usual = web_settings(load_settings(_env_file=None), tmp_path, read_only=False)
    usual = replace(usual, trusted_proxies=(ip_network("10.0.0.0/8"),))
    return lambda **changes: Names(replace(usual, **changes))


OURS = [
    "localhost",
    "localhost:18000",
    "LOCALHOST.",
    "a.localhost",
    "127.0.0.1",
    "127.0.0.1:18000",
    "192.168.1.5:80",
]
OURS += ["[::1]", "[::1]:18000", "[2001:db8::1]", "10.0.0.1:8080", "0.0.0.0", ""]
NOT_OURS = [
    "evil.example",
    "evil.example:18000",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "evillocalhost",
]
NOT_OURS += [
    "127.0.0.2",
    "127.0.0.2:18000",
    "127.1",
    "0x7f.1",
    "2130706433",
    "localhost:x",
    "local host",
]
NOT_OURS += ["[::ffff:127.0.0.2]", "[::ffff:7f00:2]:80", ".localhost", "a..localhost", "a" * 64 + ".localhost"]
NOT_OURS += ["[::1", "::1", "[127.0.0.1]", "user@localhost", "localhost/", "localhost,evil.example", "ünsinn", "."]


@pytest.mark.parametrize("host", OURS)
def test_loopback_names_and_addresses_need_no_setting(names: Any, host: str) -> None:
    assert names().addressed({"host": host}, STRANGER).host == host.lower()


@pytest.mark.parametrize("host", NOT_OURS)
def test_any_other_name_is_refused_with_the_setting_that_would_allow_it(names: Any, host: str) -> None:
    with pytest.raises(Misdirected) as caught:
        names().addressed({"host": host}, STRANGER)
    if caught.value.reason != NO_NAME:
        wanted = (
            "127.0.0.1" if "127.0.0.2" in host or "::ffff" in host else f"ALLOWED_HOSTS={host.partition(':')[0]}"
        )
        assert wanted in caught.value.message


def test_names_that_the_admin_lists_are_ours(names: Any) -> None:
    listed = names(
        public_origin="https://chat.example.org:8443", allowed_hosts=frozenset({"other.example", "*.wild.example"})
    )
    for host in ("chat.example.org", "CHAT.example.org:1", "other.example", "a.wild.example", "a.b.wild.example:5"):
        assert listed.addressed({"host": host}, STRANGER).host == host.lower()
    for host in ("example.org", "a.chat.example.org", "a.other.example", "wild.example", "awild.example"):
        with pytest.raises(Misdirected):
            listed.addressed({"host": host}, STRANGER)


def test_a_trusted_proxy_tells_under_which_name_it_was_asked(names: Any) -> None:
    ours = names(allowed_hosts=frozenset({"chat.example.org"}))
    forwarded = {"host": "127.0.0.1:18000", "x-forwarded-host": "chat.example.org", "x-forwarded-proto": "https"}
    assert ours.addressed(forwarded, PROXY).host == "chat.example.org"
    assert "https://chat.example.org" in ours.addressed(forwarded, PROXY).origins
    with_port = {"host": "chat.example.org", "x-forwarded-host": "chat.example.org:8443", **TLS}
    assert "https://chat.example.org:8443" in ours.addressed(with_port, PROXY).origins
    without = {"host": "chat.example.org:8443", "x-forwarded-host": "chat.example.org", **TLS}
    assert "https://chat.example.org:8443" in ours.addressed(without, PROXY).origins
    assert ours.addressed(forwarded, STRANGER).host == "127.0.0.1:18000"
    assert ours.addressed(forwarded, STRANGER).origins == {"http://127.0.0.1:18000"}


@pytest.mark.parametrize(
    ("host", "forwarded"),
    [("evil.example", "localhost"), ("localhost", "evil.example"), ("localhost", "a, evil.example")],
)
def test_neither_name_may_be_a_foreign_one(names: Any, host: str, forwarded: str) -> None:
    """A page that has rebound its own name can send whatever header it likes."""
    with pytest.raises(Misdirected):
        names().addressed({"host": host, "x-forwarded-host": forwarded}, PROXY)


TLS = {"x-forwarded-proto": "https"}
ORIGINS = [
    # settings, host, more headers, origins
    ({}, "127.0.0.1:18000", {}, {"http://127.0.0.1:18000"}),
    ({}, "LocalHost", {}, {"http://localhost"}),
    ({}, "localhost:80", {}, {"http://localhost"}),
    ({}, "[::1]:18000", {}, {"http://[::1]:18000"}),
    ({}, "192.168.1.5:443", {}, {"https://192.168.1.5"}),
    ({}, "192.168.1.5", TLS, {"https://192.168.1.5"}),
    ({"cookie_secure": True}, "192.168.1.5", {}, {"https://192.168.1.5"}),
    ({"cookie_secure": True}, "localhost:1", {}, {"https://localhost:1", "http://localhost:1"}),
    ({"allowed_hosts": frozenset({"x.org"})}, "x.org", {}, {"https://x.org", "http://x.org"}),
    ({"allowed_hosts": frozenset({"x.org"})}, "X.org:443", {}, {"https://x.org"}),
    ({"allowed_hosts": frozenset({"x.org"}), "cookie_secure": True}, "x.org", {}, {"https://x.org"}),
    ({"allowed_hosts": frozenset({"x.org"})}, "x.org:8443", TLS, {"https://x.org:8443"}),
    ({"public_origin": "https://x.org"}, "x.org", {}, {"https://x.org"}),
    ({"public_origin": "https://X.org:443"}, "x.org:443", {}, {"https://x.org"}),
    ({"public_origin": "https://x.org"}, "127.0.0.1:18000", {}, {"https://x.org", "http://127.0.0.1:18000"}),
    (
        {"public_origin": "https://x.org", "allowed_hosts": frozenset({"x.org"})},
        "x.org:81",
        {},
        {"https://x.org", "https://x.org:81", "http://x.org:81"},
    ),
    ({"public_origin": "http://x.org:81"}, "x.org:81", TLS, {"http://x.org:81"}),
    ({}, "", {}, set()),
]


@pytest.mark.parametrize(("settings", "host", "headers", "origins"), ORIGINS)
def test_an_origin_is_ours_with_its_scheme_its_name_and_its_port(
    names: Any, settings: dict[str, Any], host: str, headers: dict[str, str], origins: set[str]
) -> None:
    assert names(**settings).addressed({"host": host, **headers}, PROXY).origins == origins


@pytest.mark.parametrize(
    ("origin", "normal"),
    [
        *(
            ("HTTPS://X.org:443", "https://x.org"),
            ("http://x.org:80", "http://x.org"),
            ("http://x:443", "http://x:443"),
        ),
        *(("null", ""), ("", ""), ("ftp://x", ""), ("https://", ""), ("https://a b", ""), ("https://x/y", "")),
        *(
            ("https://x?y", ""),
            ("https://u@x", ""),
            ("http://[::1]:80", "http://[::1]"),
            ("https://x.", "https://x"),
        ),
    ],
)
def test_origins_are_compared_in_one_form(origin: str, normal: str) -> None:
    assert normal_origin(origin) == normal


BEARER, COOKIE = {"authorization": "Bearer x"}, {"cookie": "a=b; session=x"}


@pytest.mark.parametrize(
    ("method", "path", "headers", "must"),
    [
        *(("GET", "/", {}, True), ("GET", "/", BEARER, True), ("GET", "/static/x.js", BEARER, True)),
        *(("GET", "/v1/models", {}, True), ("GET", "/v1/models", BEARER, False), ("POST", "/v1/x", BEARER, False)),
        *(
            ("GET", "/v1/models", BEARER | COOKIE, True),
            ("OPTIONS", "/v1/x", {}, False),
            ("OPTIONS", "/v1/x", COOKIE, True),
        ),
        *(
            ("POST", "/api/agents", BEARER, False),
            ("POST", "/api/agents", {}, True),
            ("GET", "/auth/me", BEARER, False),
        ),
        *(
            ("POST", "/auth/signup", BEARER, True),
            ("POST", "/auth/login", BEARER, True),
            ("POST", "/auth/setup", BEARER, True),
        ),
        *(("GET", "/v1/x", {"authorization": "Basic x"}, True), ("GET", "/metrics", {}, True)),
    ],
)
def test_only_who_shows_a_token_and_no_cookie_of_ours_may_use_any_name(
    method: str, path: str, headers: dict[str, str], must: bool
) -> None:
    assert must_name_us(method, path, headers, "session") is must


@pytest.mark.parametrize(
    ("host", "sources"),
    [
        ("127.0.0.1:18000", "127.0.0.1:18000/static/"),
        ("192.168.1.5", "192.168.1.5/static/"),
        ("[::1]:18000", "'self'"),  # A policy knows no such names.
        ("", "'self'"),
        ("a_b.localhost", "'self'"),
    ],
)
def test_a_policy_names_the_folder_of_the_pages_own_files(names: Any, host: str, sources: str) -> None:
    assert names().addressed({"host": host}, STRANGER).policy_sources("/static/") == sources


def test_a_policy_names_the_public_name_too(names: Any) -> None:
    behind = names(public_origin="https://x.org").addressed({"host": "127.0.0.1:1"}, STRANGER)
    assert behind.policy_sources("/s/") == "127.0.0.1:1/s/ x.org/s/"
    by_number = names(public_origin="https://x.org").addressed({"host": "[::1]:1"}, STRANGER)
    assert by_number.policy_sources("/s/") == "x.org/s/ 'self'"
