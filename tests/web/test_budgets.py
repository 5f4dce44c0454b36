"""Budgets of tokens: they hold with many requests at once, and however a request is spelled."""

import itertools
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from supervisors.budgets import LEAST_HELD
from tests.harness.contract import is_openai_error
from tests.harness.person import Person, chat_body
from tests.harness.scripted import Gates, scripted_backend
from tests.harness.server import Server
from tests.harness.waiting import eventually

BUDGET, COST, AT_ONCE = 3000, 1000, 16
TOLD = 8
"""Tokens that the scripted agent tells unless it is asked for others."""
CHAT = "/v1/chat/completions"
SPELLINGS = (
    CHAT,
    f"{CHAT}/",
    "/v1//chat/completions",
    "/v1/chat//completions",
    "/v1/chat/%63ompletions",
    "/v1/chat%2Fcompletions",
    "/v1/chat%5Ccompletions",
    "/v1/Chat/COMPLETIONS",
    "/v1/./chat/completions",
    "/v1/x/../chat/completions",
    "/v1/chat/completions/.",
    "/v1/chat/completions?stream=1",
)
_names = itertools.count()


@pytest.fixture(scope="module")
def gates(tmp_path_factory: pytest.TempPathFactory) -> Gates:
    return Gates(tmp_path_factory.mktemp("gates"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, gates: Gates) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("budgets"), backends=[scripted_backend(gates)]) as running:
        yield running


@pytest.fixture
def user(server: Server) -> Iterator[Person]:
    with Person(server) as person:
        yield person


@pytest.fixture
def name() -> str:
    """A gate that nobody has opened."""
    return f"gate{next(_names)}"


def give(server: Server, user: Person, tokens: int) -> None:
    """Give somebody a budget."""
    id_ = user.http.get("/auth/me").json()["user"]["id"]
    answer = server.admin().put(f"/api/admin/users/{id_}/budget", json={"monthly_tokens": tokens})
    assert answer.is_success, answer.text


def used(user: Person) -> int:
    found: int = user.http.get("/api/me/usage").json()["budget"]["used"]
    return found


def totals(user: Person) -> dict[str, int]:
    found: dict[str, int] = user.http.get("/api/me/usage").json()["totals"]
    return found


def send(user: Person, path: str, body: dict[str, Any], method: str = "POST") -> httpx.Response:
    """Ask with a path as it is written here: clients mend them."""
    url = httpx.URL(user.server.url)
    target = url.copy_with(raw_path=path.encode())
    return user.http.request(method, target, json=body, headers=user.bearer)


def at_once(user: Person, gates: Gates, name: str, number: int, cost: int, **more: Any) -> list[httpx.Response]:
    """Ask so many times at once, and let all that come to the agent be answered."""
    with ThreadPoolExecutor(number) as threads:
        asked = [threads.submit(user.chat, f"costly {name} {cost}", **more) for _ in range(number)]
        gates.await_reached(name)
        gates.open(name)
        return [one.result() for one in asked]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("cheap", [0, 3], ids=["at first", "after cheap ones"])
def test_who_asks_for_many_answers_at_once_uses_no_more_than_the_budget_and_one_answer(
    server: Server, user: Person, gates: Gates, name: str, stream: bool, cheap: int
) -> None:
    give(server, user, BUDGET)
    for _ in range(cheap):
        assert user.chat("say hello").is_success
    answers = at_once(user, gates, name, AT_ONCE, COST, stream=stream)
    good = [a for a in answers if a.is_success]
    eventually(lambda: used(user) == TOLD * cheap + COST * len(good), "all are counted")
    assert len(good) == 3, "each has waited for the one before"
    for refused in (a for a in answers if not a.is_success):
        is_openai_error(refused, 429, "budget_spent")
    is_openai_error(user.chat("say hello"), 429, "budget_spent")


def test_a_turn_that_waits_can_be_stopped_and_costs_nothing(
    server: Server, user: Person, gates: Gates, name: str
) -> None:
    give(server, user, BUDGET)
    first, second = user.conversation(), user.conversation()
    asked = user.ask(first, f"costly {name} {COST}")
    gates.await_reached(name)
    waiting = user.ask(second, "say hello")
    assert user.act(second, waiting, "cancel").is_success
    gates.open(name)
    assert user.await_turn(first, asked) == "finished"
    eventually(lambda: used(user) == COST, "the first alone is counted")


def test_whoever_has_given_up_waiting_is_charged_nothing(
    server: Server, user: Person, gates: Gates, name: str
) -> None:
    give(server, user, BUDGET)
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(user.chat, f"costly {name} {COST}")
        gates.await_reached(name)
        for _ in range(3):
            with pytest.raises(httpx.ReadTimeout):
                user.again().post(CHAT, json=chat_body("gates waiting 1", stream=True), timeout=0.3)
        gates.open(name)
        assert first.result().is_success
    assert user.chat("say hello").is_success
    eventually(lambda: used(user) == COST + TOLD, "what was answered is counted")
    assert totals(user)["estimated"] == 0


def test_with_a_large_budget_many_answers_are_written_at_once(
    server: Server, user: Person, gates: Gates, name: str
) -> None:
    give(server, user, AT_ONCE * LEAST_HELD)
    with ThreadPoolExecutor(AT_ONCE) as threads:
        asked = [threads.submit(user.chat, f"gates {name}-{n} 1", stream=True) for n in range(AT_ONCE)]
        for number in range(AT_ONCE):
            gates.await_reached(f"{name}-{number}")
        for number in range(AT_ONCE):
            gates.open(f"{name}-{number}")
        assert all(one.result().is_success for one in asked)


def test_turns_and_requests_share_a_budget(server: Server, user: Person, gates: Gates, name: str) -> None:
    give(server, user, BUDGET)
    first, second = user.conversation(), user.conversation()
    user.ask(first, f"costly {name} {COST}")
    gates.await_reached(name)
    with ThreadPoolExecutor(2) as threads:
        request = threads.submit(user.chat, "say hello")
        turn = user.ask(second, "say hello")  # It is in the log, whoever closes the tab now.
        time.sleep(0.5)
        assert not request.done()
        gates.open(name)
        assert request.result().is_success
        assert user.await_turn(second, turn) == "finished"
    eventually(lambda: used(user) == COST + 2 * TOLD, "all are counted")


def test_whoever_has_an_answer_may_ask_for_the_next_at_once(server: Server, user: Person) -> None:
    give(server, user, BUDGET)
    for number in range(100):
        answer = user.chat("say hello", stream=bool(number % 2))
        assert answer.is_success, answer.text
        assert used(user) == TOLD * (number + 1)


def test_without_a_budget_nothing_is_held_back(user: Person, gates: Gates, name: str) -> None:
    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(user.chat, f"costly {name} {COST}") for _ in range(4)]
        gates.await_reached(name)
        gates.open(name)
        assert all(one.result().is_success for one in asked)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_chat_is_counted_however_it_is_spelled(server: Server, user: Person, stream: bool) -> None:
    give(server, user, 10**6)
    for number, (path, method) in enumerate(itertools.product(SPELLINGS, ("POST", "PUT", "PATCH")), start=1):
        answer = send(user, path, chat_body("say hello", "scripted", stream=stream), method)
        assert answer.is_success, answer.text
        assert "usage" not in answer.text or not stream  # Which the client did not ask for.
        eventually(lambda: used(user) == TOLD * number, f"{method} {path} is counted")  # noqa: B023 - called at once
    give(server, user, 5)
    for path in SPELLINGS:
        is_openai_error(send(user, path, chat_body("say hello", "scripted"), "PUT"), 429, "budget_spent")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_the_responses_api_is_counted_also_when_the_usage_comes_before_a_long_text(
    server: Server, user: Person, stream: bool
) -> None:
    give(server, user, 10**6)
    paths = ("/v1/responses", "/v1/responses/", "/v1//responses", "/v1/Responses")
    for number, path in enumerate(paths, start=1):
        answer = send(user, path, {"model": "scripted", "input": "hello", "stream": stream})
        assert answer.is_success
        assert len(answer.content) > 200_000
        eventually(lambda: used(user) == TOLD * number, f"{path} is counted")  # noqa: B023 - called at once


def test_who_hangs_up_before_the_tokens_are_told_pays_what_answers_take(
    server: Server, user: Person, gates: Gates, name: str
) -> None:
    give(server, user, 10**6)
    gates.open(name)
    assert user.chat(f"costly {name} {COST}").is_success
    with user.http.stream("POST", CHAT, json=chat_body(f"gates {name}-cut 2", stream=True)) as answer:
        assert next(answer.iter_bytes())
    eventually(lambda: totals(user)["estimated"] == COST, "it is estimated")
    assert used(user) == 2 * COST
    assert (totals(user)["unknown"], totals(user)["requests"]) == (1, 2)
    conversation = user.conversation()
    turn = user.ask(conversation, f"gates {name}-turn 2")
    gates.await_reached(f"{name}-turn")
    assert user.http.post(f"/api/conversations/{conversation}/turns/{turn}/cancel").is_success
    eventually(lambda: used(user) == 3 * COST, "the turn is estimated")


def test_much_that_was_sent_before_somebody_hung_up_is_not_cheap_because_others_were(
    server: Server, user: Person, name: str
) -> None:
    give(server, user, BUDGET)
    assert user.chat("say hello").is_success
    with user.http.stream("POST", CHAT, json=chat_body(f"flood {name}", stream=True)) as answer:
        got = 0
        for data in answer.iter_bytes():
            got += len(data)
            if got > 3_000_000:
                break
    eventually(lambda: used(user) > BUDGET, "it is estimated by its size")


def test_to_stop_first_questions_costs_little(server: Server, user: Person, gates: Gates, name: str) -> None:
    give(server, user, BUDGET)
    for number in range(AT_ONCE):
        body = chat_body(f"gates {name}-{number} 1", stream=True)
        with user.http.stream("POST", CHAT, json=body) as answer:
            assert answer.is_success
            assert next(answer.iter_bytes())
        eventually(lambda: totals(user)["requests"] == number + 1, "it is counted")  # noqa: B023 - called at once
    assert 0 < used(user) < BUDGET / 2


def test_an_answer_of_which_all_has_come_is_not_estimated_whenever_its_reader_leaves(
    server: Server, user: Person
) -> None:
    give(server, user, BUDGET)
    body = {**chat_body("babble", stream=True), "stream_options": {"include_usage": True}}
    with user.http.stream("POST", CHAT, json=body) as answer:
        for line in answer.iter_lines():
            if line == "data: [DONE]":
                break
        # The agent goes on for ever, and the answer is over all the same.
        assert user.chat("say hello").is_success
    eventually(lambda: totals(user)["requests"] == 2, "both are counted")
    assert (totals(user)["estimated"], used(user)) == (0, TOLD)


@pytest.mark.parametrize("method", ["GET", "OPTIONS", "DELETE", "QUERY"])
def test_what_is_asked_with_a_body_is_counted_by_whatever_method(server: Server, user: Person, method: str) -> None:
    give(server, user, BUDGET)
    assert send(user, CHAT, chat_body("say hello"), method).is_success
    eventually(lambda: used(user) == TOLD, f"{method} is counted")


def test_an_agent_that_fails_or_never_tells_costs_nothing(server: Server, user: Person) -> None:
    give(server, user, BUDGET)
    assert user.chat("status 500").status_code == 500
    assert send(user, "/v1/embeddings", {"model": "scripted", "input": "x"}).is_success
    assert user.chat("say hello", stream=True).is_success
    eventually(lambda: used(user) == TOLD, "the last one alone is counted")
    assert totals(user)["estimated"] == 0


def test_what_nobody_would_count_is_refused_to_whoever_has_a_budget(server: Server, user: Person) -> None:
    body = {"model": "scripted", "input": "hello", "background": True}
    assert send(user, "/v1/responses", body).is_success
    give(server, user, 10**6)
    is_openai_error(send(user, "/v1/responses", body), 400, "background_not_counted")
    for name in ("x-http-method-override", "X-HTTP-Method", "x-method-override"):
        seen = user.http.get("/v1/x?model=scripted", headers={**user.bearer, name: "POST"}).json()
        assert name.lower() not in seen["headers"]
