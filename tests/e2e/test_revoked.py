"""Streams over /v1 whose caller is shut out in the middle."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import httpx
import pytest

from tests.harness.contract import new_email
from tests.harness.faults import faults
from tests.harness.person import Person, chat_body
from tests.harness.scripted import Gates, scripted_backend
from tests.harness.server import Server
from tests.harness.tokens import TOKENS, bearer, new_token
from tests.harness.waiting import eventually

CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, gates: Gates) -> Iterator[Server]:
    """A server whose agents go on for a while when they are to end."""
    stubborn = scripted_backend(gates, {"SCRIPTED_STUBBORN": "yes"})
    with Server(tmp_path_factory.mktemp("server"), backends=[stubborn]) as running:
        yield running


@pytest.fixture
def user(server: Server) -> Iterator[Person]:
    with Person(server) as person:
        yield person


def _ends_of(server: Server, presented: str, end: Callable[[], object], gates: Gates, gate: str) -> None:
    """Shut a caller out after the first word of a stream."""
    body = chat_body(f"gates {gate} 1", stream=True)
    with server.client().stream("POST", CHAT, json=body, headers=bearer(presented)) as stream:
        assert stream.status_code == 200
        lines = stream.iter_lines()
        first = next(line for line in lines if line)
        assert f"{gate}-0" in first
        gates.await_reached(gate)
        end()
        gates.open(gate)
        told = [line.removeprefix("data: ") for line in lines if line]
    (last,) = told
    error = json.loads(last)["error"]
    assert error["code"] == "session_ended"


def test_a_stream_ends_with_an_error_when_its_token_is_revoked(user: Person, gates: Gates) -> None:
    token, secret = new_token(user.http)

    def revoke() -> None:
        assert user.http.delete(f"{TOKENS}/{token['id']}").status_code == 204

    _ends_of(user.server, secret, revoke, gates, "revoked")
    assert user.chat("say hello").is_success, "only the token has ended"


def test_a_stream_ends_with_an_error_when_its_sign_in_has_ended(user: Person, gates: Gates) -> None:
    _ends_of(user.server, user.token, partial(user.http.post, "/auth/logout"), gates, "signed-out")


def test_a_request_whose_agent_says_nothing_ends_at_once_and_is_dropped(user: Person, gates: Gates) -> None:
    with ThreadPoolExecutor() as pool:
        body = chat_body("silent hushed")
        client = user.server.client(headers=bearer(user.token))
        asked = pool.submit(client.post, CHAT, json=body)
        gates.await_reached("hushed")
        assert user.http.post("/auth/logout").is_success
        answer = asked.result(timeout=20)
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "session_ended"
        gates.await_gone("hushed")


def test_a_stream_goes_on_when_another_token_is_revoked(user: Person, gates: Gates) -> None:
    (_, secret), (other, _) = new_token(user.http), new_token(user.http)
    body = chat_body("gates other 1", stream=True)
    with user.server.client().stream("POST", CHAT, json=body, headers=bearer(secret)) as stream:
        gates.await_reached("other")
        assert user.http.delete(f"{TOKENS}/{other['id']}").status_code == 204
        gates.open("other")
        assert stream.read().endswith(b"data: [DONE]\n\n")


def test_a_stream_ends_with_an_error_when_its_user_is_deleted(server: Server, gates: Gates) -> None:
    client, admin = server.sign_up(new_email()), server.admin()
    with ThreadPoolExecutor() as pool:
        ada, token = client.get("/auth/me").json()["user"]["id"], server.token(client)
        deletions: list[Future[httpx.Response]] = []

        def delete() -> None:
            """It waits for the agent to end, which is given some time for it."""
            deletions.append(pool.submit(admin.delete, f"/api/admin/users/{ada}"))
            eventually(lambda: client.get("/auth/me").status_code == 401, "the account is gone")

        _ends_of(server, token, delete, gates, "deleted")
        assert deletions[0].result().status_code == 204
    assert faults(server) == []
