"""/api/me/tokens: API tokens for programs."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import httpx
import openai
import pytest

from domain.tokens.rules import Scope
from tests.conftest import FAST_DEMO
from tests.harness.backends import MANY_MODELS
from tests.harness.contract import has_shape, is_openai_error, is_problem, new_email
from tests.harness.events import events
from tests.harness.inside import ORIGIN, inside
from tests.harness.server import Server
from tests.harness.sse import frames
from tests.harness.tokens import TOKENS, ask, bearer, new_token, sdk
from tests.harness.waiting import eventually

INFO = {
    "id": str,
    "name": str,
    "prefix": str,
    "scope": str,
    "models": list,
    "created_at": int,
    "expires_at": (int, None),
    "last_used_at": (int, None),
    "older_than_password": bool,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with two backends, one of which has several models."""
    with Server(tmp_path_factory.mktemp("tokens"), backends=[FAST_DEMO, MANY_MODELS]) as running:
        yield running


@pytest.fixture
def client(server: Server) -> httpx.Client:
    return server.sign_up(new_email())


@pytest.fixture
def nobody(server: Server) -> httpx.Client:
    return server.client()


# -- making them ------------------------------------------------------------------------------------------


def test_a_secret_is_shown_once(client: httpx.Client) -> None:
    token, secret = new_token(client, "  my script ")
    has_shape(token, INFO)
    assert set(token) == set(INFO)
    assert secret.startswith("as-")
    assert len(secret) > 40
    assert secret.startswith(token["prefix"])
    assert len(token["prefix"]) <= 10
    assert (token["name"], token["scope"], token["models"]) == ("my script", "v1", [])
    assert (token["expires_at"], token["last_used_at"]) == (None, None)
    listed = client.get(TOKENS)
    assert listed.json() == {"tokens": [token]}
    assert secret not in listed.text


def test_the_newest_is_listed_first_and_only_ones_own(server: Server, client: httpx.Client) -> None:
    for name in ("first", "second", "third"):
        new_token(client, name)
    assert [t["name"] for t in client.get(TOKENS).json()["tokens"]] == ["third", "second", "first"]
    assert server.sign_up(new_email()).get(TOKENS).json() == {"tokens": []}


def test_no_two_secrets_are_alike(client: httpx.Client) -> None:
    assert len({new_token(client)[1] for _ in range(10)}) == 10


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"name": ""}, 400, "bad_name"),
        ({"name": "   "}, 400, "bad_name"),
        ({"name": "n" * 81}, 400, "bad_name"),
        ({"name": "two\nlines"}, 400, "bad_name"),
        ({"name": "late", "expires_at": 1}, 400, "bad_expiry"),
        ({"name": "x", "expires_at": -1}, 422, "malformed"),
        ({"name": "x", "expires_at": "soon"}, 422, "malformed"),
        ({"name": "x", "scope": "admin"}, 422, "malformed"),
        ({"name": "x", "models": ["unheard-of"]}, 404, "model_not_found"),
        ({"name": "x", "models": "demo"}, 422, "malformed"),
        ({"name": "x", "scope": "all", "models": ["demo"]}, 400, "models_need_v1"),
        ({}, 422, "malformed"),
    ],
)
def test_a_token_that_cannot_be_is_refused(
    client: httpx.Client, body: dict[str, object], status: int, code: str
) -> None:
    is_problem(client.post(TOKENS, json=body), status, code)
    assert client.get(TOKENS).json() == {"tokens": []}


def test_nobody_has_more_than_a_hundred(client: httpx.Client) -> None:
    tokens = [new_token(client)[0] for _ in range(100)]
    is_problem(client.post(TOKENS, json={"name": "one more"}), 409, "too_many_tokens")
    client.delete(f"{TOKENS}/{tokens[0]['id']}")
    new_token(client)


# -- what they open ---------------------------------------------------------------------------------------


def test_a_token_is_good_for_v1_only_unless_it_is_made_for_more(client: httpx.Client, nobody: httpx.Client) -> None:
    _, narrow = new_token(client)
    _, wide = new_token(client, scope="all")
    for secret in (narrow, wide):
        assert nobody.get("/v1/models", headers=bearer(secret)).status_code == 200
    for path in ("/api/agents", "/auth/me", "/api/me/usage", "/api/backends"):
        is_problem(nobody.get(path, headers=bearer(narrow)), 403, "token_scope")
        assert nobody.get(path, headers=bearer(wide)).status_code == 200
    made = nobody.post("/api/agents", json={"backend": "demo", "name": "x"}, headers=bearer(wide))
    assert made.json()["agent"]["user_id"] == client.get("/auth/me").json()["user"]["id"]


def test_no_token_manages_the_account_that_it_belongs_to(client: httpx.Client, nobody: httpx.Client) -> None:
    token, wide = new_token(client, scope="all")
    session = client.get("/api/me/sessions").json()["sessions"][0]["id"]
    passwords = {"current_password": "a user's password", "new_password": "another password 123"}
    calls = [
        ("PATCH", "/api/me", {"name": "Taken over"}),
        ("POST", "/api/me/password", passwords),
        ("GET", "/api/me/sessions", None),
        ("DELETE", "/api/me/sessions", None),
        ("DELETE", f"/api/me/sessions/{session}", None),
        ("GET", TOKENS, None),
        ("POST", TOKENS, {"name": "another"}),
        ("DELETE", f"{TOKENS}/{token['id']}", None),
        ("GET", "/api/me/export", None),
        ("POST", "/auth/logout", None),
    ]
    before = client.get("/api/me/export").json()
    for method, path, body in calls:
        is_problem(nobody.request(method, path, json=body, headers=bearer(wide)), 403, "token_scope")
    assert client.get("/api/me/export").json() == before


def test_an_admins_token_is_the_admin_only_when_it_is_made_for_all(server: Server, nobody: httpx.Client) -> None:
    admin = server.admin()
    _, narrow = new_token(admin)
    _, wide = new_token(admin, scope="all")
    is_problem(nobody.get("/api/admin/users", headers=bearer(narrow)), 403, "token_scope")
    assert nobody.get("/api/admin/users", headers=bearer(wide)).status_code == 200


def test_a_token_for_some_models_shows_and_opens_no_others(client: httpx.Client, nobody: httpx.Client) -> None:
    token, secret = new_token(client, models=["demo", "many-large"])
    assert token["models"] == ["demo", "many-large"]
    listed = nobody.get("/v1/models", headers=bearer(secret)).json()["data"]
    assert [m["id"] for m in listed] == ["demo", "many-large"]
    for model, status in (("demo", 200), ("demo/x", 200), ("many-large", 200), ("many", 403), ("many/x", 403)):
        chat = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
        assert nobody.post("/v1/chat/completions", json=chat, headers=bearer(secret)).status_code == status, model
        assert nobody.get(f"/v1/models/{model}", headers=bearer(secret)).status_code == status, model
        by_query = nobody.get(f"/v1/files?model={model}", headers=bearer(secret))
        assert (by_query.status_code == 403) == (status == 403), model
    assert {a["backend"] for a in client.get("/api/agents").json()["agents"]} == {"demo", "many"}


async def test_a_token_for_some_models_opens_nothing_beyond_v1_even_if_it_once_said_so(tmp_path: Path) -> None:
    async with inside(tmp_path) as stack:
        client = await stack.sign_up(new_email())
        user, before = (await client.get("/auth/me")).json()["user"]["id"], (await client.get("/api/agents")).json()
        tokens, scopes = stack.stack.services.tokens, get_args(Scope)
        for scope in scopes:
            _, secret = await tokens.create(
                user, name="old", scope=scope, models=("demo",), expires_at=None, origin=ORIGIN
            )
            program = stack.client(**bearer(secret))
            assert (await program.get("/v1/models")).status_code == 200
            for path in ("/api/agents", "/auth/me", "/api/me/usage", "/api/conversations"):
                is_problem(await program.get(path), 403, "token_scope")
            is_problem(await program.post("/api/agents", json={"backend": "demo"}), 403, "token_scope")
        assert len(scopes) == 2
        assert (await client.get("/api/agents")).json() == before


def test_a_models_name_with_a_line_break_is_one_model(client: httpx.Client) -> None:
    answer = client.post(TOKENS, json={"name": "x", "models": ["demo/a\nmany"]})
    if answer.is_success:
        assert answer.json()["token"]["models"] == ["demo/a\nmany"]


def test_a_token_needs_no_cookie_and_is_none(client: httpx.Client, server: Server) -> None:
    _, secret = new_token(client, scope="all")
    chat = {"model": "nope", "messages": []}
    foreign = {**bearer(secret), "origin": "https://evil.example"}
    is_openai_error(server.client().post("/v1/chat/completions", json=chat, headers=foreign), 404)
    as_cookie = server.client(cookies={"agent_stack_session": secret})
    is_problem(as_cookie.get("/auth/me"), 401)
    is_openai_error(as_cookie.get("/v1/models"), 401)


def test_a_wrong_token_is_unauthenticated(client: httpx.Client, nobody: httpx.Client) -> None:
    token, secret = new_token(client, scope="all")
    flipped = secret[:-1] + ("a" if secret[-1] != "a" else "b")
    for wrong in (flipped, secret[:-1], secret + "x", secret.upper(), "as-", token["prefix"], token["id"]):
        is_problem(nobody.get("/auth/me", headers=bearer(wrong)), 401)
        is_openai_error(nobody.get("/v1/models", headers=bearer(wrong)), 401)
    # A wrong token is not made good by the cookie beside it.
    is_problem(client.get("/auth/me", headers=bearer(flipped)), 401, "bad_token")


# -- their end --------------------------------------------------------------------------------------------


def test_a_revoked_token_is_void_at_once(server: Server, client: httpx.Client, nobody: httpx.Client) -> None:
    token, secret = new_token(client, scope="all")
    assert nobody.get("/v1/models", headers=bearer(secret)).status_code == 200
    is_problem(server.sign_up(new_email()).delete(f"{TOKENS}/{token['id']}"), 404)
    answer = client.delete(f"{TOKENS}/{token['id']}")
    assert (answer.status_code, answer.content) == (204, b"")
    is_openai_error(nobody.get("/v1/models", headers=bearer(secret)), 401, "bad_token")
    is_problem(nobody.get("/api/agents", headers=bearer(secret)), 401, "bad_token")
    assert client.get(TOKENS).json() == {"tokens": []}
    is_problem(client.delete(f"{TOKENS}/{token['id']}"), 404)


def test_an_open_stream_shows_nothing_more_once_its_token_is_revoked(
    client: httpx.Client, nobody: httpx.Client
) -> None:
    token, secret = new_token(client, scope="all")
    opened = client.post("/api/conversations", json={"backend": "demo", "title": "named"}).json()["conversation"]
    id_ = opened["id"]

    def say(content: str) -> None:
        client.post(f"/api/conversations/{id_}/messages", json={"role": "user", "content": content})

    with nobody.stream("GET", f"/api/conversations/{id_}/stream", headers=bearer(secret)) as stream:
        shown = frames(stream)
        say("before")
        next(f for _, f in shown if f["kind"] == "message")
        client.delete(f"{TOKENS}/{token['id']}")
        say("after")
        assert list(shown) == []


def test_a_token_ends_when_it_was_to_end(client: httpx.Client, nobody: httpx.Client) -> None:
    ends = int(time.time()) + 2
    token, secret = new_token(client, scope="all", expires_at=ends)
    assert token["expires_at"] == ends
    assert nobody.get("/v1/models", headers=bearer(secret)).status_code == 200
    eventually(lambda: nobody.get("/v1/models", headers=bearer(secret)).status_code == 401, "it expires")
    is_openai_error(nobody.get("/v1/models", headers=bearer(secret)), 401, "token_expired")
    is_problem(nobody.get("/auth/me", headers=bearer(secret)), 401, "token_expired")
    assert [t["id"] for t in client.get(TOKENS).json()["tokens"]] == [token["id"]]


# -- their use --------------------------------------------------------------------------------------------


def test_the_last_use_is_told_and_no_use_is_an_event(
    server: Server, client: httpx.Client, nobody: httpx.Client
) -> None:
    used, secret = new_token(client)
    unused, _ = new_token(client)
    before = len(events(server))
    earliest = int(time.time())
    for _ in range(20):
        nobody.get("/v1/models", headers=bearer(secret))
    assert len(events(server)) == before
    last = {t["id"]: t["last_used_at"] for t in client.get(TOKENS).json()["tokens"]}
    assert earliest <= last[used["id"]] <= time.time()
    assert last[unused["id"]] is None


def test_the_openai_package_raises_what_fits(server: Server, client: httpx.Client) -> None:
    token, secret = new_token(client, models=["demo"])
    with sdk(server, secret) as openai_client:
        assert ask(openai_client)
        assert [m.id for m in openai_client.models.list()] == ["demo"]
        with pytest.raises(openai.PermissionDeniedError) as refused:
            ask(openai_client, model="many")
        assert refused.value.code == "model_not_allowed"
        client.delete(f"{TOKENS}/{token['id']}")
        with pytest.raises(openai.AuthenticationError) as void:
            ask(openai_client)
        assert void.value.code == "bad_token"


def test_tokens_survive_a_restart_and_only_their_hashes_are_kept(server: Server, client: httpx.Client) -> None:
    token, secret = new_token(client)
    assert client.get("/v1/models", headers=bearer(secret)).status_code == 200
    assert secret not in "".join(map(str, events(server)))
    server.stop()
    kept = [p for p in server.folder.rglob("*") if p.is_file() and secret.encode() in p.read_bytes()]
    server.start()
    assert kept == []
    assert client.get("/v1/models", headers=bearer(secret)).status_code == 200
    (found,) = client.get(TOKENS).json()["tokens"]
    assert found["last_used_at"] >= token["created_at"]
    assert {**found, "last_used_at": None} == token
