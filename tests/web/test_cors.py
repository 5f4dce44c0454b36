"""Pages of other origins on /v1, where the admin allows them."""

from collections.abc import Iterator

import httpx
import pytest

from tests.conftest import FAST_DEMO
from tests.harness.contract import is_openai_error, is_problem, new_email, operations
from tests.harness.person import chat_body
from tests.harness.scripted import Gates, scripted_backend
from tests.harness.server import Server
from tests.harness.tokens import bearer, new_token

PAGE, SECOND = "https://chat.example.org", "http://localhost:5173"
FOREIGN = ["https://evil.example", "null", "https://chat.example.org.evil.example", "http://chat.example.org", "*"]
CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def open_(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that allows two origins."""
    gates = Gates(tmp_path_factory.mktemp("gates"))
    backends = [scripted_backend(gates), FAST_DEMO]
    env = {"CORS_ORIGINS": f"{PAGE}, {SECOND}", "MAX_BODY_MIB": "1"}
    with Server(tmp_path_factory.mktemp("open"), backends=backends, env=env) as server:
        yield server


@pytest.fixture(scope="module")
def secret(open_: Server) -> str:
    return new_token(open_.sign_up(new_email()))[1]


@pytest.fixture
def page(open_: Server, secret: str) -> httpx.Client:
    """A page of an origin that is allowed, with a token of its own."""
    return open_.client(headers={**bearer(secret), "origin": PAGE})


def of_cors(answer: httpx.Response) -> dict[str, str]:
    return {n: v for n, v in answer.headers.items() if n.startswith("access-control-")}


def is_readable(answer: httpx.Response, origin: str = PAGE) -> None:
    assert answer.headers.get_list("access-control-allow-origin") == [origin]
    assert "origin" in answer.headers["vary"].lower()
    assert "retry-after" in answer.headers["access-control-expose-headers"]
    assert "access-control-allow-credentials" not in answer.headers


def preflight(client: httpx.Client, path: str, origin: str, method: str = "POST") -> httpx.Response:
    wanted = {
        "access-control-request-method": method,
        "access-control-request-headers": "authorization,x-stainless-os",
    }
    return client.options(path, headers={"origin": origin, **wanted})


def test_nothing_is_allowed_unless_the_settings_say_so(server: Server) -> None:
    client = server.client()
    _, secret = new_token(server.sign_up(new_email()))
    for origin in (PAGE, server.url, "null"):
        is_openai_error(preflight(client, CHAT, origin), 401)
        assert of_cors(preflight(client, CHAT, origin)) == {}
        answer = client.get("/v1/models", headers={**bearer(secret), "origin": origin})
        assert answer.status_code == 200
        assert of_cors(answer) == {}


@pytest.mark.parametrize("origin", [PAGE, SECOND])
@pytest.mark.parametrize(("path", "method"), [(CHAT, "POST"), ("/v1/models", "GET"), ("/v1/files/x", "DELETE")])
def test_a_preflight_needs_no_credentials_and_allows_what_is_asked_for(
    open_: Server, origin: str, path: str, method: str
) -> None:
    answer = preflight(open_.client(), path, origin, method)
    assert (answer.status_code, answer.content) == (204, b"")
    is_readable(answer, origin)
    assert method in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-allow-headers"] == "authorization,x-stainless-os"
    assert int(answer.headers["access-control-max-age"]) > 0


def test_a_page_reads_answers_streams_and_errors(open_: Server, page: httpx.Client) -> None:
    is_readable(page.get("/v1/models"))
    is_readable(page.post(CHAT, json=chat_body("say hello")))
    is_readable(page.post(CHAT, json=chat_body("status 500")))
    with page.stream("POST", CHAT, json=chat_body("chunks 5", stream=True)) as stream:
        is_readable(stream)
        assert stream.read().endswith(b"data: [DONE]\n\n")
    refused = [
        (page.post(CHAT, json=chat_body("hi", "unheard-of")), 404),
        (page.post(CHAT, content=b"{"), 400),
        (page.post(CHAT, content=b"x" * 1_100_000), 413),
        (page.get("/v1/models", headers=bearer("as-wrong")), 401),
        (open_.client(headers={"origin": PAGE}).get("/v1/models"), 401),
    ]
    for answer, status in refused:
        is_openai_error(answer, status)
        is_readable(answer)


def test_an_agents_own_permissions_are_not_added_to_ours(page: httpx.Client) -> None:
    answer = page.post(CHAT, json=chat_body("hostile"))
    is_readable(answer)


@pytest.mark.parametrize("origin", FOREIGN)
def test_no_other_origin_is_allowed(open_: Server, secret: str, origin: str) -> None:
    client = open_.client()
    assert of_cors(preflight(client, CHAT, origin)) == {}
    assert preflight(client, CHAT, origin).status_code == 401
    answer = client.get("/v1/models", headers={**bearer(secret), "origin": origin})
    assert of_cors(answer) == {}


def test_a_page_that_is_allowed_does_nothing_with_a_cookie(open_: Server) -> None:
    client = open_.sign_up(new_email())
    answer = client.post(CHAT, json=chat_body("say hello"), headers={"origin": PAGE})
    is_openai_error(answer, 403, "foreign_origin")
    assert "access-control-allow-credentials" not in answer.headers


def test_nothing_but_v1_is_opened(open_: Server) -> None:
    client = open_.sign_up(new_email())
    _, secret = new_token(client, scope="all")
    body = {"backend": "demo", "name": "x"}
    is_problem(client.post("/api/agents", json=body, headers={"origin": PAGE}), 403, "foreign_origin")
    program = open_.client(headers={**bearer(secret), "origin": PAGE})
    for path in {o.url for o in operations(open_) if not o.endless}:
        assert of_cors(preflight(open_.client(), path, PAGE)) == {}, path
        assert of_cors(program.get(path)) == {}, path
    for path in ("/", "/static/index.html", "/healthz", "/openapi.json", "/v10", "/v1x/models"):
        assert of_cors(program.get(path)) == {}, path
