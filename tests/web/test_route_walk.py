"""Every route there is, tried by everybody who may not use it. A new one that is not protected fails here."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import FAST_DEMO
from tests.harness.contract import PUBLIC, Operation, is_openai_error, is_problem, new_email, operations
from tests.harness.faults import faults
from tests.harness.inside import inside
from tests.harness.person import Person, chat_body
from tests.harness.server import Server
from tests.harness.tokens import bearer, new_token
from tests.harness.walk import OTHER, OWNED, Belongings, parameters
from web.pages import blueprint as pages

KEYED = {**FAST_DEMO, "name": "keyed", "user_overridable_env": ["LLM_API_KEY"]}
CALLBACK = "/api/internal/"
V1 = [
    *(("GET", "/v1/models"), ("GET", "/v1/models/keyed"), ("GET", "/v1/files?model=keyed")),
    *(("POST", "/v1/chat/completions"), ("POST", "/v1/responses"), ("POST", "/v1/embeddings")),
    *(("PUT", "/v1/x"), ("PATCH", "/v1/x"), ("DELETE", "/v1/files/x?model=keyed"), ("GET", "/v1")),
    *(("OPTIONS", "/v1/chat/completions"), ("HEAD", "/v1/models")),
]
UNLISTED = {"/openapi.json"}
"""What the document of the routes does not list: itself. It is for everybody."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose agent has a variable."""
    with Server(tmp_path_factory.mktemp("walk"), backends=[KEYED]) as running:
        yield running


@pytest.fixture(scope="module")
def routes(server: Server) -> list[Operation]:
    return operations(server)


@pytest.fixture(scope="module")
def first(server: Server) -> Iterator[Belongings]:
    """A user who has one of each thing."""
    with Person(server, "first") as person:
        yield Belongings.of(person, "keyed", "LLM_API_KEY")


@pytest.fixture(scope="module")
def second(server: Server) -> httpx.Client:
    """A user who has nothing."""
    return server.sign_up(new_email("second"))


def call(client: httpx.Client, first: Belongings, route: Operation) -> httpx.Response:
    """Call a route with the first user's ids; of a stream, only the head is awaited."""
    with client.stream(route.method, first.path(route), json=route.body) as answer:
        if "event-stream" not in answer.headers.get("content-type", ""):
            answer.read()
        return answer


async def test_every_route_of_the_application_is_in_its_document(tmp_path: Path) -> None:
    async with inside(tmp_path) as stack:
        quart = stack.front._quart
        document = (await stack.client().get("/openapi.json")).json()["paths"]
        listed = {(m.upper(), path) for path, methods in document.items() for m in methods}
        rules = [r for r in quart.url_map.iter_rules() if not r.endpoint.startswith(f"{pages.name}.")]
    assert len(rules) > 50
    for rule in rules:
        path = "".join(f"{{{part}}}" if is_variable else part for is_variable, part in rule._trace[1:])
        path = path.removeprefix("|") or rule.rule
        if path not in UNLISTED:
            assert {(m, path) for m in rule.methods - {"HEAD", "OPTIONS"}} <= listed, rule


def test_this_test_knows_every_parameter_of_every_route(routes: list[Operation]) -> None:
    known = OWNED | OTHER
    assert {p for r in routes for p in parameters(r)} == known
    assert {(r.method, r.path) for r in routes if r.public} == PUBLIC


def test_nobody_gets_past_the_door(server: Server, first: Belongings, routes: list[Operation]) -> None:
    before = first.snapshot()
    strangers = (
        server.client(),
        server.client(headers=bearer("nonsense")),
        server.client(headers=bearer("as-nonsense")),
        server.client(cookies={"agent_stack_session": "nonsense"}),
    )
    for stranger in strangers:
        for route in routes:
            if route.public and route.method == "get":
                assert first.told(call(stranger, first, route)) == [], route
            elif not route.public:
                answer = call(stranger, first, route)
                if route.path.startswith(CALLBACK) and "authorization" in stranger.headers:
                    assert answer.status_code in {403, 404}, route
                else:
                    is_problem(answer, 401)
                assert first.told(answer) == [], route
        for method, path in V1:
            answer = stranger.request(method, path, json=chat_body("hi", "keyed"))
            assert answer.status_code == 401, (method, path)
            if method != "HEAD":
                is_openai_error(answer, 401)
    assert first.snapshot() == before


def test_to_another_user_the_first_ones_things_do_not_exist(
    second: httpx.Client, first: Belongings, routes: list[Operation]
) -> None:
    before = first.snapshot()
    tried = 0
    for route in routes:
        if route.public or "/admin/" in route.path or route.path == "/auth/logout":
            continue
        tried += 1
        answer = call(second, first, route)
        if route.path.startswith(CALLBACK):
            assert answer.status_code == 401, route  # It takes no cookie.
        elif parameters(route) & OWNED:
            is_problem(answer, 404)
        else:
            assert answer.status_code < 500, route
        if "event-stream" not in answer.headers.get("content-type", ""):
            assert first.told(answer, first.path(route)) == [], route
    assert tried > 35
    assert first.snapshot() == before


def test_another_users_session_opens_no_agents_own_door(
    server: Server, second: httpx.Client, first: Belongings, routes: list[Operation]
) -> None:
    before = first.snapshot()
    for secret in (server.token(second), new_token(second, scope="all")[1]):
        for route in routes:
            if route.path.startswith(CALLBACK):
                answer = call(server.client(headers=bearer(secret)), first, route)
                assert answer.status_code in {403, 404}, route
    assert first.snapshot() == before


def test_another_user_reaches_nothing_of_the_first_one_over_v1(second: httpx.Client, first: Belongings) -> None:
    set_up = second.put("/api/me/env-overrides/LLM_API_KEY", json={"value": "of the second"})
    assert set_up.is_success
    before = first.snapshot()
    body = chat_body("hi", "keyed", user=f"agstack-{first.ids['conversation_id']}")
    for method, path in V1:
        answer = second.request(method, path, json=body)
        assert answer.status_code < 500, (method, path)
        assert first.told(answer) == [], (method, path)
    assert first.snapshot() == before


def test_an_ordinary_user_gets_nothing_of_the_admins(
    server: Server, second: httpx.Client, first: Belongings, routes: list[Operation]
) -> None:
    before = first.snapshot()
    programs = [server.client(headers=bearer(new_token(second, scope="all")[1])), second, first.person.http]
    admins = [r for r in routes if r.path.startswith("/api/admin/")]
    assert len(admins) > 12
    for client in programs:
        for route in admins:
            answer = call(client, first, route)
            is_problem(answer, 403, "admin_only")
            assert first.told(answer) == [], route
    assert first.snapshot() == before


def test_a_token_that_is_good_for_v1_only_is_good_for_nothing_else(
    server: Server, first: Belongings, routes: list[Operation]
) -> None:
    admin = server.admin()
    secrets = [new_token(first.person.http)[1], new_token(admin)[1]]
    before = first.snapshot()
    for secret in secrets:
        program = server.client(headers=bearer(secret))
        for route in routes:
            if route.public:
                continue
            answer = call(program, first, route)
            if route.path.startswith(CALLBACK):
                assert answer.status_code in {403, 404}, route
            else:
                is_problem(answer, 403, "token_scope")
            assert first.told(answer) == [], route
        assert program.get("/v1/models").status_code == 200
    after = first.snapshot()
    for found in (before, after):
        found.pop("/api/me/tokens")  # It tells when the token was used last.
    assert after == before


def test_the_server_met_all_this_without_an_error_of_its_own(server: Server) -> None:
    assert faults(server) == []
