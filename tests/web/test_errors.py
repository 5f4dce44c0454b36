"""One error shape on every route, whatever is sent."""

import json
from collections.abc import Iterator

import httpx
import pytest

from tests.conftest import FAST_DEMO
from tests.harness.contract import Operation, is_openai_error, is_problem, new_email, operations
from tests.harness.server import Server
from tests.harness.sockets import connect, exchange, head, http2_request

JSON = {"content-type": "application/json"}
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that takes bodies of at most one MiB."""
    env = {"MAX_BODY_MIB": "1"}
    with Server(tmp_path_factory.mktemp("errors"), backends=[FAST_DEMO], env=env) as running:
        yield running


@pytest.fixture
def client(server: Server) -> httpx.Client:
    return server.sign_up(new_email())


@pytest.fixture(scope="module")
def routes(server: Server) -> list[Operation]:
    return operations(server)


def is_alive(server: Server) -> None:
    assert server.client().get("/healthz").status_code == 200


WRONG: list[object] = [{"a": 1}, [], None]

# -- every route ------------------------------------------------------------------------------------------


def test_every_route_tells_a_stranger_to_sign_in(server: Server, routes: list[Operation]) -> None:
    assert len(routes) > 25
    for route in routes:
        if not route.public:
            problem = is_problem(route.call(server.client()), 401, "unauthenticated")
            assert "Sign in" in problem["detail"] or route.path.startswith("/api/internal/"), route


@pytest.mark.parametrize("path", ["/api/agents", "/api/conversations", "/api/admin/users"])
def test_a_stranger_is_turned_away_before_the_body_is_looked_at(server: Server, path: str) -> None:
    is_problem(server.client().post(path, content=b"nonsense", headers=JSON), 401)


def test_no_route_takes_a_body_that_is_no_json_object(client: httpx.Client, routes: list[Operation]) -> None:
    for route in routes:
        if route.body is None or "/admin/" in route.path:
            continue
        for body in (b"", b"{", b"[]", b"null", b'"x"', b"1", b"{'a': 1}", b'{"a": 1,}'):
            answer = client.request(route.method, route.url, content=body, headers=JSON)
            assert is_problem(answer, 422)["code"] == "malformed", (route, body)
        is_problem(client.request(route.method, route.url), 422, "malformed")
        is_problem(client.request(route.method, route.url, content=b"a=1"), 422, "malformed")


def test_every_route_names_the_member_that_has_the_wrong_type(
    client: httpx.Client, routes: list[Operation]
) -> None:
    for route in routes:
        if not route.body or "/admin/" in route.path:
            continue
        for name in route.body:
            for wrong in WRONG:
                answer = client.request(route.method, route.url, json={**route.body, name: wrong})
                assert name in is_problem(answer, 422, "malformed")["detail"], route


def test_every_route_refuses_other_methods(client: httpx.Client, routes: list[Operation]) -> None:
    for path in {r.url for r in routes}:
        problem = client.request("PROPFIND", path)
        is_problem(problem, 405, "method_not_allowed")
        allowed = {r.method.upper() for r in routes if r.url == path}
        assert allowed <= set(problem.headers["allow"].replace(" ", "").split(","))


@pytest.mark.parametrize("path", ["/nope", "/api", "/api/nope", "/auth/", "/api/agents/", "/metrics/x"])
def test_an_unknown_path_is_not_found(server: Server, path: str) -> None:
    answer = exchange(server, head(server, f"GET {path} HTTP/1.1", "Connection: close"))
    assert answer.startswith(b"HTTP/1.1 404")
    assert b"content-type: application/problem+json" in answer


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/nope", "/v1/models/", "/v1/chat/completions"])
def test_an_unknown_path_below_v1_is_told_in_openais_shape(client: httpx.Client, path: str) -> None:
    assert set(client.get(path).json()) == {"error"}
    assert client.get(path).status_code in {400, 404}


# -- strange bodies ---------------------------------------------------------------------------------------

STRANGE: dict[str, bytes] = {
    "deep list": b"[" * 100_000,
    "deep object": b'{"a":' * 100_000,
    "deep but closed": b'{"backend":' * 50_000 + b"1" + b"}" * 50_000,
    "no UTF-8": b'{"backend": "\xff\xfe", "name": "x"}',
    "UTF-16": '{"backend": "demo", "name": "x"}'.encode("utf-16"),
    "Latin-1": '{"backend": "demo", "name": "é"}'.encode("latin-1"),
    "byte order mark": b'\xef\xbb\xbf{"backend": "nope", "name": "x"}',
    "NUL": b'{"backend": "demo\\u0000", "name": "x"}',
    "raw NUL": b'{"backend": "de\x00mo", "name": "x"}',
    "lone surrogate": b'{"backend": "demo", "name": "\\ud800"}',
    "lone surrogate for a backend": b'{"backend": "\\udfff", "name": "x"}',
    "NaN": b'{"backend": NaN, "name": "x"}',
    "a huge number": b'{"backend": ' + b"9" * 10_000 + b', "name": "x"}',
    "a huge exponent": b'{"backend": 1e99999, "name": "x"}',
    "two in one": b'{"backend": "nope", "name": "x"}{}',
    "an integer of 65 bits": b'{"backend": 18446744073709551616, "name": "x"}',
    "64 levels": b'{"backend": "demo", "name": "x", "more": ' + b"[" * 64 + b"]" * 64 + b"}",
    "260 levels": b'{"backend": "demo", "name": "x", "more": ' + b"[" * 260 + b"]" * 260 + b"}",
    "many members": json.dumps({"backend": "demo", "name": "x", **{str(n): n for n in range(10_001)}}).encode(),
    "a lone surrogate that nobody reads": b'{"backend": "demo", "name": "x", "more": ["\\ud800"]}',
    "a lone surrogate for a name": b'{"backend": "demo", "name": "x", "\\ud800": 1}',
}
BEYOND = ("an integer", "64 levels", "260 levels", "many members", "a lone surrogate")


UNREAD = ("deep list", "deep object", "deep but closed", "no UTF-8", "UTF-16", "Latin-1")


@pytest.mark.parametrize("name", [n for n in STRANGE if n.startswith(BEYOND)])
def test_what_could_not_be_kept_is_refused_in_words_whoever_reads_it(client: httpx.Client, name: str) -> None:
    is_problem(client.post("/api/agents", content=STRANGE[name], headers=JSON), 422, "unkeepable")


NASTY = [
    *("18446744073709551616", "-9223372036854775809", "9" * 400, "1e400", "-0", "1e-400"),
    *('"\\ud800"', '["\\udfff"]', '{"\\ud800": 1}', '"\\u0000"', "NaN"),
    *("[" * n + "]" * n for n in (60, 64, 200, 252, 260, 1000)),
    *('{"a":' * n + "1" + "}" * n for n in (60, 64, 200, 252, 260, 1000)),
    *("[" + ",".join(["0"] * n) + "]" for n in (9_990, 10_001)),
]


@pytest.mark.parametrize("value", NASTY, ids=lambda value: f"{value[:12]}-{len(value)}")
def test_no_value_of_any_member_of_any_route_is_an_error_of_ours(
    client: httpx.Client, routes: list[Operation], value: str
) -> None:
    for route in routes:
        for name in [n for n in route.body or {} if "/admin/" not in route.path]:
            body = json.dumps({**(route.body or {}), name: "_"}).replace(f'"{name}": "_"', f'"{name}": {value}')
            answer = client.request(route.method, route.url, content=body, headers=JSON)
            assert answer.status_code < 500, (route, name, answer.text)
            if answer.status_code >= 400:
                is_problem(answer, answer.status_code)


@pytest.mark.parametrize("body", STRANGE.values(), ids=STRANGE)
def test_a_strange_body_is_the_senders_mistake(client: httpx.Client, body: bytes) -> None:
    answer = client.post("/api/agents", content=body, headers=JSON)
    assert 400 <= answer.status_code < 500, answer.text
    is_problem(answer, answer.status_code)


@pytest.mark.parametrize("body", STRANGE.values(), ids=STRANGE)
def test_a_strange_body_is_the_senders_mistake_below_v1_too(client: httpx.Client, body: bytes) -> None:
    body = body.replace(b'"backend"', b'"model"')
    answer = client.post("/v1/chat/completions", content=body, headers=JSON)
    assert 400 <= answer.status_code < 500, answer.text
    is_openai_error(answer, answer.status_code)


@pytest.mark.parametrize("field", ["email", "password", "name", "invite_code"])
@pytest.mark.parametrize("value", ["\\u0000", "\\ud800", "\\udc00\\ud800", "x\\u0000y"])
def test_nul_and_lone_surrogates_harm_no_sign_up(server: Server, field: str, value: str) -> None:
    body = {"email": new_email(), "password": "a user's password", "name": "x", "invite_code": "x"}
    text = json.dumps(body).replace(json.dumps(body[field]), f'"{value}long enough"', 1)
    answer = server.client().post("/auth/signup", content=text, headers=JSON)
    assert answer.status_code in {200, 400, 422}, answer.text
    login = server.client().post("/auth/login", content=text, headers=JSON)
    assert login.status_code in {200, 401, 422}, login.text


@pytest.mark.parametrize("name", ["a\x00b", "\u202etxt.exe", "\N{PILE OF POO}" * 80, "\ufffe", "\x7f\x1b[31m"])
def test_an_agents_name_comes_back_as_it_was_given(client: httpx.Client, name: str) -> None:
    answer = client.post("/api/agents", json={"backend": "demo", "name": name})
    assert answer.status_code in {200, 422}
    if answer.is_success:
        assert answer.json()["agent"]["name"] == name
        assert client.post(f"/api/agents/{answer.json()['agent']['id']}/start").status_code == 200


@pytest.mark.parametrize("path", ["/api/agents", "/v1/chat/completions"])
def test_a_body_that_is_too_large_is_told_so_before_it_is_sent(
    server: Server, client: httpx.Client, path: str
) -> None:
    bearer = f"Authorization: Bearer {server.token(client)}"
    length = f"Content-Length: {2 * MIB}"
    answer = exchange(
        server, head(server, f"POST {path} HTTP/1.1", bearer, "Content-Type: application/json", length)
    )
    assert answer.startswith(b"HTTP/1.1 413")
    assert (b"application/problem+json" in answer) == path.startswith("/api")


@pytest.mark.parametrize("path", ["/api/agents", "/v1/chat/completions"])
def test_a_body_that_is_too_large_is_told_so_also_when_its_length_is_not(
    server: Server, client: httpx.Client, path: str
) -> None:
    bearer = f"Authorization: Bearer {server.token(client)}"
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    request = head(
        server, f"POST {path} HTTP/1.1", bearer, "Content-Type: application/json", "Transfer-Encoding: chunked"
    )
    assert exchange(server, request, chunk * 16, b"1\r\nx\r\n").startswith(b"HTTP/1.1 413")


def test_the_largest_body_that_is_allowed_is_read(client: httpx.Client) -> None:
    body = json.dumps({"backend": "nope", "name": "x", "more": "y" * (MIB - 100)})
    assert MIB - 100 < len(body) <= MIB
    is_problem(client.post("/api/agents", content=body, headers=JSON), 404, "unknown_backend")


# -- strange heads ----------------------------------------------------------------------------------------


MANY_HEADERS = {f"x-{n}": "y" * 1000 for n in range(40)}


def test_headers_of_forty_kilobytes_are_refused(client: httpx.Client) -> None:
    is_problem(client.get("/api/agents", headers=MANY_HEADERS), 431)


def test_headers_of_forty_kilobytes_are_refused_below_v1_too(client: httpx.Client) -> None:
    is_openai_error(client.get("/v1/models", headers=MANY_HEADERS), 431)


def test_one_header_of_a_hundred_kilobytes_is_refused(server: Server) -> None:
    answer = exchange(server, head(server, "GET /healthz HTTP/1.1", "X: " + "y" * 100_000))
    assert answer.startswith((b"HTTP/1.1 431", b"HTTP/1.1 400"))
    is_alive(server)


TWO_IDEAS = ("Content-Length: 5", "Transfer-Encoding: chunked")


@pytest.mark.parametrize("path", ["/auth/login", "/v1/chat/completions"])
def test_a_request_with_two_ideas_of_its_length_is_refused(server: Server, path: str) -> None:
    answer = exchange(server, head(server, f"POST {path} HTTP/1.1", *TWO_IDEAS) + b"0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("path", ["/auth/login", "/v1/chat/completions"])
def test_nothing_that_follows_two_ideas_of_a_length_is_taken_for_a_request(server: Server, path: str) -> None:
    smuggled = b"0\r\n\r\n" + head(server, "GET /healthz HTTP/1.1")
    assert b"200" not in exchange(server, head(server, f"POST {path} HTTP/1.1", *TWO_IDEAS) + smuggled)


def test_the_refusal_of_two_ideas_is_a_problem_outside_of_v1(server: Server) -> None:
    answer = exchange(server, head(server, "POST /auth/login HTTP/1.1", *TWO_IDEAS) + b"0\r\n\r\n")
    assert b"application/problem+json" in answer


@pytest.mark.parametrize("length", ["-1", "abc", "1, 2", "9" * 30, "+5", "0x5"])
def test_a_length_that_is_no_number_is_refused(server: Server, length: str) -> None:
    for path in ("/auth/login", "/v1/chat/completions"):
        answer = exchange(server, head(server, f"POST {path} HTTP/1.1", f"Content-Length: {length}"))
        assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 413", b"HTTP/1.1 401")), answer
    is_alive(server)


@pytest.mark.parametrize(
    "origin",
    [
        *("http://[", "http://[::1", "http://a]b"),
        "http://\u2100.example",
    ],
)
def test_an_origin_that_is_no_url_is_a_foreign_one(client: httpx.Client, origin: str) -> None:
    headers = [(b"origin", origin.encode())]
    is_problem(client.post("/api/agents", json={"backend": "demo", "name": "x"}, headers=headers), 403)
    is_problem(client.post("/auth/login", json={"email": "x", "password": "y"}, headers=headers), 403)
    is_openai_error(client.post("/v1/chat/completions", json={"model": "demo"}, headers=headers), 403)


@pytest.mark.parametrize(
    "target",
    [
        *("?x", "http://[", "http://[/healthz"),
        "*",
        "http://evil.example/nope",
        "//[/x",
    ],
)
def test_a_strange_request_target_is_the_senders_mistake(server: Server, target: str) -> None:
    answer = exchange(server, head(server, f"GET {target} HTTP/1.1", "Connection: close"))
    assert answer.startswith(b"HTTP/1.1 4"), answer[:100]
    is_alive(server)


@pytest.mark.parametrize(
    "cookie",
    [
        "=",
        ";;;",
        'agent_stack_session="',
        "a" * 4000,
        "agent_stack_session=\xff",
    ],
)
def test_a_strange_cookie_is_no_session(server: Server, cookie: str) -> None:
    headers = [(b"cookie", cookie.encode("latin-1"))]
    is_problem(server.client().get("/auth/me", headers=headers), 401)
    is_openai_error(server.client().get("/v1/models", headers=headers), 401)


# -- strange paths ----------------------------------------------------------------------------------------

OUTSIDE = [
    "/static/..%2f..%2fapp.py",
    "/static/%2e%2e/app.py",
    "/static/../app.py",
    "/static/..%5c..%5capp.py",
    "/static/%2fetc%2fpasswd",
    "/static//etc/passwd",
    "/static/%00",
    "/static/index.html%00.css",
    "/static/%ff",
    "/static/",
    "/static/.",
    "/..%2f..%2fpyproject.toml",
]


LONG = ["/static/" + "a" * 300, "/static/" + "a/" * 3000]
TOO_LONG = "the file system refuses the name"


@pytest.mark.parametrize("path", [*OUTSIDE, *LONG], ids=lambda p: p[:40])
def test_nothing_outside_the_static_folder_is_served(server: Server, path: str) -> None:
    answer = exchange(server, head(server, f"GET {path} HTTP/1.1", "Connection: close"))
    assert answer.startswith(b"HTTP/1.1 404"), answer[:100]
    assert b"application/problem+json" in answer


@pytest.mark.parametrize(
    "header",
    [
        "If-Modified-Since: Thu, 01 Jan 99999999999 00:00:00 GMT",
        "If-Modified-Since: nonsense",
        'If-None-Match: W/"',
        "Range: bytes=5-1,a",
        "Range: bytes=-",
        "If-Range: Thu, 01 Jan 99999999999 00:00:00 GMT",
        "If-Unmodified-Since: Thu, 32 Foo 0000 99:99:99",
    ],
)
def test_a_strange_condition_on_a_file_is_no_error_of_ours(server: Server, header: str) -> None:
    answer = exchange(server, head(server, "GET /static/index.html HTTP/1.1", header, "Connection: close"))
    assert not answer.startswith(b"HTTP/1.1 5"), answer[:100]


@pytest.mark.parametrize(
    "id_", ["%00", "%ff", "..%2f..%2fx", "..", "%2e%2e", "a" * 5000, "%0d%0aX:y", "'%22;--", "*"]
)
def test_a_strange_id_is_not_found(server: Server, client: httpx.Client, id_: str) -> None:
    bearer = f"Authorization: Bearer {server.token(client)}"
    for path in (
        f"/api/conversations/{id_}",
        f"/api/conversations/{id_}/stream",
        f"/api/conversations/by-slug/{id_}/1",
        f"/api/runners/{id_}/progress",
    ):
        answer = exchange(server, head(server, f"GET {path} HTTP/1.1", bearer, "Connection: close"))
        assert answer.startswith(b"HTTP/1.1 404"), (path, answer[:100])
        assert b"application/problem+json" in answer


# -- below HTTP -------------------------------------------------------------------------------------------


@pytest.fixture
def hardy(server: Server) -> Server:
    """The server, started again if the test before was too much for it."""
    try:
        is_alive(server)
    except httpx.HTTPError:
        server.stop()
        server.start()
    return server


UPGRADES = {
    "settings that are no base64": "HTTP2-Settings: !!!",
    "settings that are no frame": "HTTP2-Settings: AAAA",
    "no settings": "X: y",
}


DEADLY = "an error on one connection ends the server"


@pytest.mark.parametrize("settings", UPGRADES.values(), ids=UPGRADES)
def test_a_malformed_upgrade_to_http2_harms_nobody_else(hardy: Server, settings: str) -> None:
    before = hardy.pid
    request = head(
        hardy, "GET /nope HTTP/1.1", "Connection: Upgrade, HTTP2-Settings, close", "Upgrade: h2c", settings
    )
    exchange_and_hang_up(hardy, request)
    is_alive(hardy)
    assert hardy.pid == before


PSEUDO: dict[str, dict[bytes, bytes]] = {
    "path": {b":path": b"/\xff"},
    "empty path": {b":path": b""},
    "method": {b":method": b"\xff"},
    "scheme": {b":scheme": b"\xff"},
    "authority": {b":authority": b"\xff"},
    "header": {b"x-\xff": b"\xff"},
    "length": {b"content-length": b"abc"},
    "websocket": {b":method": b"CONNECT", b":protocol": b"websocket"},
}


@pytest.mark.parametrize("changes", PSEUDO.values(), ids=PSEUDO)
def test_a_malformed_http2_request_harms_nobody_else(hardy: Server, changes: dict[bytes, bytes]) -> None:
    usual = {b":method": b"GET", b":scheme": b"http", b":authority": b"x", b":path": b"/healthz"}
    exchange_and_hang_up(hardy, http2_request({**usual, **changes}.items()))
    is_alive(hardy)


@pytest.mark.parametrize(
    "garbage", [b"\x00" * 1000, b"\x16\x03\x01" * 100, b"GET\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nx" * 9]
)
def test_what_is_no_http_at_all_harms_nobody_else(hardy: Server, garbage: bytes) -> None:
    exchange_and_hang_up(hardy, garbage)
    is_alive(hardy)


def test_a_wish_for_a_websocket_is_answered_as_the_plain_request_that_it_is(hardy: Server) -> None:
    key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
    request = head(hardy, "GET /healthz HTTP/1.1", "Connection: Upgrade, close", "Upgrade: websocket", key)
    assert exchange(hardy, request).startswith(b"HTTP/1.1 200")


def exchange_and_hang_up(server: Server, data: bytes) -> None:
    """Send something, look at the first of what comes back, and go; then wait until the server has noticed."""
    with connect(server) as connection:
        connection.sendall(data)
        connection.settimeout(0.3)
        try:
            while connection.recv(65536):
                pass
        except (TimeoutError, ConnectionResetError):
            pass
