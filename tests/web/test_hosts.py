"""A server that is asked under a foreign name, and foreign pages that ask with a cookie alone."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.conftest import FAST_DEMO
from tests.harness.contract import is_openai_error, is_problem, new_email, operations
from tests.harness.person import chat_body
from tests.harness.server import ADMIN, PASSWORD, Server
from tests.harness.tokens import bearer, new_token

EVIL = {"host": "evil.example:18000"}
PUBLIC, LISTED = "https://chat.example.org", "other.example.org"
CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with names, behind a proxy with TLS on this machine."""
    env = {"PUBLIC_ORIGIN": PUBLIC, "ALLOWED_HOSTS": LISTED, "TRUSTED_PROXIES": "127.0.0.1"}
    with Server(tmp_path_factory.mktemp("named"), backends=[FAST_DEMO], env=env) as server:
        yield server


def test_no_route_answers_under_a_foreign_name(server: Server) -> None:
    client = server.sign_up(new_email())
    for operation in operations(server):
        answer = operation.call(client, headers=EVIL)
        assert "evil.example" in is_problem(answer, 421, "misdirected")["detail"], operation
    for path in ("/", "/static/js/main.js", "/healthz", "/metrics", "/openapi.json", "/favicon.ico", "/nope"):
        assert client.get(path, headers=EVIL).status_code == 421, path
    is_openai_error(client.get("/v1/models", headers=EVIL), 421)
    is_openai_error(client.post(CHAT, json=chat_body("hi", "demo"), headers=EVIL), 421)


def test_a_page_that_has_rebound_its_name_signs_nobody_up(server: Server) -> None:
    email = new_email()
    same = {"origin": "http://evil.example:18000", "sec-fetch-site": "same-origin", **EVIL}
    for more in ({}, bearer("as-whatever"), {"x-forwarded-host": "localhost"}):
        answer = server.client().post(
            "/auth/signup", json={"email": email, "password": PASSWORD}, headers={**same, **more}
        )
        is_problem(answer, 421, "misdirected")
    users = server.admin().get("/api/admin/users").json()["users"]
    assert email not in [u["email"] for u in users]


def test_the_page_says_which_setting_is_missing(server: Server) -> None:
    answer = server.client().get("/", headers={"host": "chat.example.org"})
    assert answer.status_code == 421
    assert answer.headers["content-type"].startswith("text/html")
    assert "PUBLIC_ORIGIN" in answer.text
    assert "ALLOWED_HOSTS=chat.example.org" in answer.text
    hurt = server.client().get("/", headers={"host": "<script>alert(1)</script>"})
    assert hurt.status_code == 421
    assert "<script>" not in hurt.text


def test_a_program_with_a_token_may_use_any_name(server: Server) -> None:
    client = server.sign_up(new_email())
    _, secret = new_token(client, scope="all")
    for shown in (secret, server.token(client)):
        program = server.client(headers={**EVIL, **bearer(shown)})
        assert program.get("/v1/models").is_success
        assert program.post(CHAT, json=chat_body("hi", "demo")).is_success
        assert program.get("/api/agents").is_success
        assert program.get("/auth/me" if shown != secret else "/api/backends").is_success
        assert program.get("/v1/models", headers={"cookie": "__cf_bm=b"}).is_success
        ours = {"cookie": f"a=b; agent_stack_session={server.token(client)}"}
        assert program.get("/v1/models", headers=ours).status_code == 421
        odd = {b"cookie": "agent_stack_session=\u4e2d".encode()}  # No session's, and no character of Latin.
        assert server.client(headers=bearer(shown)).post(CHAT, json=chat_body("hi", "demo"), headers=odd).is_success
        for malformed in (".localhost", "a..localhost", "x" * 70 + ".localhost", "[::1", "a b"):
            assert program.get("/v1/models", headers={"host": malformed}).status_code in {400, 421}
            assert program.get("/api/agents", headers={"host": malformed}).status_code in {400, 421}
    is_openai_error(server.client(headers={**EVIL, **bearer("as-wrong")}).get("/v1/models"), 401)


def test_addresses_and_loopback_names_need_no_setting(server: Server) -> None:
    for host in ("localhost", f"localhost:{server.port}", "192.168.7.7:18000", "[::1]:18000", "x.localhost"):
        assert server.client().get("/auth/state", headers={"host": host}).is_success, host
    answer = server.client().get("/", headers={"host": f"127.0.0.2:{server.port}"})
    assert answer.status_code == 421
    assert "where agents listen" in answer.text


def login(server: Server, **headers: str) -> httpx.Response:
    return server.client().post(
        "/auth/login", json=dict(zip(("email", "password"), ADMIN, strict=True)), headers=headers
    )


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "chat.example.org", "origin": PUBLIC},
        {"host": "chat.example.org:443", "origin": PUBLIC},
        {"host": "CHAT.example.org", "origin": f"{PUBLIC.upper()}:443"},
        {"host": "127.0.0.1:18000", "origin": PUBLIC},  # A proxy that does not pass the name on.
        {"host": LISTED, "origin": f"https://{LISTED}"},
        {"host": f"{LISTED}:443", "origin": f"https://{LISTED}"},
        {
            "host": "127.0.0.1",
            "x-forwarded-host": LISTED,
            "x-forwarded-proto": "https",
            "origin": f"https://{LISTED}",
        },
    ],
)
def test_signing_in_works_behind_proxies(named: Server, headers: dict[str, str]) -> None:
    assert login(named, **headers).is_success


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "chat.example.org", "origin": "http://chat.example.org"},
        {"host": "chat.example.org", "origin": f"{PUBLIC}:8443"},
        {"host": "chat.example.org", "origin": f"https://{LISTED}"},
        {
            "host": "127.0.0.1",
            "x-forwarded-host": LISTED,
            "x-forwarded-proto": "https",
            "origin": f"http://{LISTED}",
        },
        {"host": "chat.example.org", "sec-fetch-site": "cross-site"},
        {"host": "chat.example.org", "sec-fetch-site": "same-site"},
    ],
)
def test_a_page_of_another_scheme_port_or_site_is_foreign(named: Server, headers: dict[str, str]) -> None:
    assert "PUBLIC_ORIGIN" in is_problem(login(named, **headers), 403, "foreign_origin")["detail"]


def test_the_page_behind_a_proxy_may_load_its_files(named: Server) -> None:
    policy = named.client().get("/", headers={"host": "127.0.0.1:18000"}).headers["content-security-policy"]
    assert "script-src 127.0.0.1:18000/static/ chat.example.org/static/ 'sha256-" in policy


BROWSER = {"user-agent": "Mozilla/5.0 (X11; Linux x86_64) Chrome/140.0"}
FOREIGN: dict[str, dict[str, str]] = {
    "a link": {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"},
    "a link in a chat": {
        "sec-fetch-site": "same-origin",
        "sec-fetch-mode": "navigate",
        "sec-fetch-dest": "document",
    },
    "an address that was typed": {
        "sec-fetch-site": "none",
        "sec-fetch-mode": "navigate",
        "sec-fetch-dest": "document",
    },
    "an image": {"sec-fetch-site": "same-origin", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"},
    "a script": {"sec-fetch-site": "same-origin", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "script"},
    "a page on another port": {"sec-fetch-site": "same-site", "sec-fetch-mode": "cors", "sec-fetch-dest": "empty"},
    "its image over plain HTTP": BROWSER,
    "its script over plain HTTP": {**BROWSER, "referer": "http://127.0.0.1:1/"},
    "its script with an origin": {"origin": "http://127.0.0.1:1"},
}


def events(admin: httpx.Client) -> int:
    found: int = admin.get("/api/admin/events?limit=1").json()["events"][0]["position"]
    return found


@pytest.mark.parametrize("way", FOREIGN)
def test_nothing_is_changed_or_started_by_what_a_browser_asks_for_by_itself(server: Server, way: str) -> None:
    client, admin = server.sign_up(new_email()), server.admin()
    before = events(admin)
    for operation in operations(server):
        if operation.method == "get" and not operation.endless:
            operation.call(client, headers=FOREIGN[way])
    for path in ("/v1/x?model=demo", "/v1/models?model=demo", "/v1/models", "/v1/x?model=unheard-of"):
        for method in ("GET", "HEAD", "OPTIONS"):
            answer = client.request(method, path, headers=FOREIGN[way])
            assert answer.status_code == 403, (method, path)
    is_problem(client.get("/api/runners/demo/progress", headers=FOREIGN[way]), 403)
    assert events(admin) == before
    assert client.get("/api/agents").json()["agents"] == []
    assert client.get("/api/runners").json()["runners"] == []


@pytest.mark.parametrize(
    "headers",
    [
        {},  # A program.
        {"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors", "sec-fetch-dest": "empty"},
        {**BROWSER, "referer": "{url}/"},
        {**BROWSER, "origin": "{url}"},
    ],
)
def test_our_own_page_and_programs_may_still_start_agents_by_cookie(
    server: Server, headers: dict[str, Any]
) -> None:
    client = server.sign_up(new_email())
    headers = {name: value.format(url=server.url) for name, value in headers.items()}
    assert client.get("/v1/models", headers=headers).is_success
    assert client.post(CHAT, json=chat_body("hi", "demo"), headers=headers).is_success
    with client.stream("GET", "/api/runners/demo/progress", headers=headers) as answer:
        assert answer.status_code == 200


def test_with_a_token_it_does_not_matter_how_a_browser_asks(server: Server) -> None:
    client = server.sign_up(new_email())
    _, secret = new_token(client)
    for way in FOREIGN.values():
        assert server.client(headers=bearer(secret)).get("/v1/models", headers=way).is_success
