"""How much a user may ask for: requests in a minute, answers at a time, tokens in a month."""

import json
import time
from collections.abc import Iterator

import openai
import pytest

from tests.harness.contract import is_openai_error, is_problem
from tests.harness.faults import faults
from tests.harness.person import Person, chat_body
from tests.harness.raw import RawClient
from tests.harness.scripted import Gates, scripted_backend
from tests.harness.server import Server
from tests.harness.sse import frames
from tests.harness.tokens import ask, new_token, sdk
from tests.harness.waiting import eventually

PER_MINUTE, AT_ONCE = 5, 2
CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def gates(tmp_path_factory: pytest.TempPathFactory) -> Gates:
    return Gates(tmp_path_factory.mktemp("gates"))


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory, gates: Gates) -> Iterator[Server]:
    """A server that takes five requests a minute from each user."""
    env = {"REQUESTS_PER_MINUTE": str(PER_MINUTE)}
    with Server(tmp_path_factory.mktemp("hasty"), backends=[scripted_backend(gates)], env=env) as server:
        yield server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, gates: Gates) -> Iterator[Server]:
    """A server that writes two answers at a time for each user."""
    env = {"ANSWERS_AT_ONCE": str(AT_ONCE)}
    with Server(tmp_path_factory.mktemp("server"), backends=[scripted_backend(gates)], env=env) as running:
        yield running


@pytest.fixture
def user(server: Server) -> Iterator[Person]:
    with Person(server) as person:
        yield person


@pytest.fixture
def hurried(hasty: Server) -> Iterator[Person]:
    with Person(hasty) as person:
        yield person


# -- requests in a minute ---------------------------------------------------------------------------------


def test_one_request_too_many_is_a_rate_limit_error_that_says_when_to_come_again(hurried: Person) -> None:
    for number in range(PER_MINUTE):
        assert ask(hurried.openai, f"say {number}", "scripted") == f"{number} "
    with pytest.raises(openai.RateLimitError) as refused:
        ask(hurried.openai, "say more", "scripted")
    assert refused.value.code == "rate_limit_exceeded"
    assert refused.value.type == "rate_limit_error"
    headers = refused.value.response.headers
    assert 1 <= int(headers["retry-after"]) <= 60 // PER_MINUTE
    assert f"{headers['retry-after']} s" in refused.value.message
    assert headers["x-ratelimit-limit-requests"] == str(PER_MINUTE)
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert 1 <= float(headers["x-ratelimit-reset-requests"].removesuffix("s")) <= 60
    assert "x-should-retry" not in headers
    assert hurried.http.get("/api/me/usage").json()["totals"]["requests"] == PER_MINUTE


def test_the_requests_of_one_user_are_nobody_elses_with_whatever_credential(hasty: Server, hurried: Person) -> None:
    _, secret = new_token(hurried.http)
    with sdk(hasty, secret) as program:
        for number in range(PER_MINUTE):
            ask(program if number % 2 else hurried.openai, "say one", "scripted")
        for client in (program, hurried.openai):
            with pytest.raises(openai.RateLimitError):
                ask(client, "say more", "scripted")
    with Person(hasty) as other:
        assert ask(other.openai, "say yes", "scripted") == "yes "


def test_looking_at_models_and_refused_credentials_count_nothing(hurried: Person) -> None:
    for _ in range(PER_MINUTE + 2):
        hurried.openai.models.list()
        hurried.http.get("/api/conversations")
    assert ask(hurried.openai, "say yes", "scripted") == "yes "


def test_turns_count_as_requests_and_a_refused_one_leaves_nothing_behind(hurried: Person) -> None:
    conversation = hurried.conversation()
    for _ in range(PER_MINUTE):
        turn = hurried.ask(conversation, "say hello")
        assert hurried.await_turn(conversation, turn) == "finished"
    before = hurried.read(conversation)
    refused = [
        hurried.http.post(f"/api/conversations/{conversation}/turns", json={"content": "say more"}),
        hurried.act(conversation, turn, "regenerate"),
    ]
    for answer in refused:
        problem = is_problem(answer, 429, "rate_limit_exceeded")
        assert answer.headers["retry-after"] == str(problem["retry_after"])
        assert 1 <= problem["retry_after"] <= 60 // PER_MINUTE
    assert hurried.read(conversation) == before
    is_openai_error(hurried.chat("say more"), 429, "rate_limit_exceeded")


# -- answers at a time ------------------------------------------------------------------------------------


def test_one_answer_too_many_at_a_time_is_a_rate_limit_error_until_one_is_done(user: Person, gates: Gates) -> None:
    conversation = user.conversation()
    body = chat_body("gates both1 1", stream=True)
    with user.http.stream("POST", CHAT, json=body, headers=user.bearer) as stream:
        turn = user.ask(conversation, "gates both2 1")
        gates.await_reached("both1")
        gates.await_reached("both2")
        with pytest.raises(openai.RateLimitError) as refused:
            ask(user.openai, "say more", "scripted")
        assert refused.value.code == "too_many_running"
        assert refused.value.response.headers["retry-after"] == "1"
        other = user.conversation()
        answer = user.http.post(f"/api/conversations/{other}/turns", json={"content": "say more"})
        assert is_problem(answer, 429, "too_many_running")["retry_after"] == 1
        assert user.messages(other) == []
        with Person(user.server) as somebody:
            assert somebody.chat("say else").is_success
        gates.open("both2")
        assert user.await_turn(conversation, turn) == "finished"
        eventually(lambda: user.chat("say again").is_success, "there is a place again")
        gates.open("both1")
        assert stream.read().endswith(b"data: [DONE]\n\n")


def test_clients_that_vanish_and_answers_that_fail_give_their_place_back(user: Person, gates: Gates) -> None:
    for number in range(AT_ONCE):
        with RawClient(user.server) as client:
            client.post(CHAT, user.token, chat_body(f"gates left{number} 1", stream=True))
            gates.await_reached(f"left{number}")
        gates.await_gone(f"left{number}")
    for text in ("status 500", "cut", "status 429"):
        for _ in range(AT_ONCE):
            eventually(lambda text=text: user.chat(text, stream=True).text.find("too_many") < 0)  # type: ignore[misc]
    conversation = user.conversation()
    for _ in range(AT_ONCE + 1):
        assert user.await_turn(conversation, user.ask(conversation, "status 500")) == "failed"
    eventually(lambda: user.chat("say again").is_success, "there is a place again")


# -- tokens in a month ------------------------------------------------------------------------------------


def _budget(user: Person, tokens: int | None) -> None:
    me = user.http.get("/auth/me").json()["user"]["id"]
    body = {"monthly_tokens": tokens}
    assert user.server.admin().put(f"/api/admin/users/{me}/budget", json=body).json() == body


def _used(user: Person) -> int:
    used: int = user.http.get("/api/me/usage").json()["budget"]["used"]
    return used


def test_who_has_spent_a_months_tokens_is_told_so_and_not_to_try_again(user: Person) -> None:
    _budget(user, 10)
    for _ in range(2):  # Eight tokens each: the first is within the budget, and the second begins within it.
        assert user.chat("say hello").is_success
    eventually(lambda: user.http.get("/api/me/usage").json()["budget"]["used"] == 16, "both are counted")
    with pytest.raises(openai.RateLimitError) as refused:
        ask(user.openai.with_options(max_retries=5), "say more", "scripted")
    assert refused.value.code == "budget_spent"
    assert refused.value.response.headers["x-should-retry"] == "false"
    resets = user.http.get("/api/me/usage").json()["budget"]["resets_at"]
    assert time.time() + int(refused.value.response.headers["retry-after"]) == pytest.approx(resets, abs=30)
    embeddings = user.http.post("/v1/embeddings", json={"model": "scripted"}, headers=user.bearer)
    is_openai_error(embeddings, 429, "budget_spent")
    assert user.openai.models.list().data


def test_streams_count_too_and_who_did_not_ask_for_the_usage_is_not_told_it(user: Person) -> None:
    _budget(user, 16)
    for number in (1, 2):
        answer = user.chat("say hello", stream=True)
        told = list(frames(answer))
        assert told[-1] == ("", "[DONE]")
        assert "".join(c["delta"].get("content", "") for _, t in told[:-1] for c in t["choices"]) == "hello "
        assert not [t for _, t in told[:-1] if not t["choices"] or "usage" in t]
        eventually(lambda n=number: _used(user) == 8 * n, "it is counted")  # type: ignore[misc]
    is_openai_error(user.chat("say more", stream=True), 429, "budget_spent")


def test_who_asks_for_the_usage_is_told_it_with_a_budget_and_without(user: Person) -> None:
    for budget in (None, 100):
        _budget(user, budget)
        answer = user.chat("say hello", stream=True, stream_options={"include_usage": True})
        (usage,) = [t for _, t in frames(answer) if t != "[DONE]" and not t["choices"]]
        assert usage["usage"] == {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}


def test_what_a_user_without_a_budget_sends_arrives_byte_for_byte(user: Person) -> None:
    sent = b'{ "stream":true,\n"model": "scripted", "messages": [{"role": "user", "content": "echo"}] }'
    headers = {**user.bearer, "content-type": "application/json"}
    assert user.http.post(CHAT, content=sent, headers=headers).json()["body"].encode() == sent
    _budget(user, 100)
    seen = json.loads(user.http.post(CHAT, content=sent, headers=headers).json()["body"])
    assert seen == {**json.loads(sent), "stream_options": {"include_usage": True}}


def test_turns_have_the_same_budget_and_go_on_when_the_admin_lifts_it(user: Person) -> None:
    conversation = user.conversation()
    _budget(user, 8)
    assert user.await_turn(conversation, user.ask(conversation, "say hello")) == "finished"
    eventually(lambda: user.http.get("/api/me/usage").json()["budget"]["used"] == 8, "it is counted")
    answer = user.http.post(f"/api/conversations/{conversation}/turns", json={"content": "say more"})
    problem = is_problem(answer, 429, "budget_spent")
    assert "admin" in problem["detail"]
    assert answer.headers["retry-after"] == str(problem["retry_after"])
    for lifted in (9, None):
        _budget(user, lifted)
        assert user.await_turn(conversation, user.ask(conversation, "say more")) == "finished"


def test_a_budget_of_nothing_is_nothing(user: Person) -> None:
    _budget(user, 0)
    is_openai_error(user.chat("say hello"), 429, "budget_spent")
    assert user.runners() == []


def test_the_servers_met_all_this_without_an_error_of_their_own(server: Server, hasty: Server) -> None:
    assert faults(server) == []
    assert faults(hasty) == []
