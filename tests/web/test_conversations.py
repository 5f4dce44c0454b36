"""Conversations, their messages and the turns in them."""

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.harness.backends import ALL
from tests.harness.contract import has_shape, is_problem, new_email
from tests.harness.server import Server
from tests.harness.sse import frames, until
from tests.harness.waiting import eventually

CONVERSATION = {
    "id": str,
    "backend": str,
    "model": str,
    "agent_id": str,
    "title": str,
    "created_at": int,
    "updated_at": int,
    "message_count": int,
    "seq": int,
}
MESSAGE = {"id": str, "role": str, "content": str, "created_at": int}
TURN = {"id": str, "status": str, "user_message": dict}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with backends that work and backends that do not."""
    with Server(tmp_path_factory.mktemp("conversations"), backends=ALL) as running:
        yield running


@pytest.fixture
def client(server: Server) -> httpx.Client:
    return server.sign_up(new_email())


def open_one(client: httpx.Client, backend: str = "demo", **more: Any) -> dict[str, Any]:
    answer = client.post("/api/conversations", json={"backend": backend, **more})
    assert answer.status_code == 200, answer.text
    conversation: dict[str, Any] = answer.json()["conversation"]
    return conversation


def post(client: httpx.Client, id_: str, content: str, role: str = "user") -> dict[str, Any]:
    answer = client.post(f"/api/conversations/{id_}/messages", json={"role": role, "content": content})
    assert answer.status_code == 200, answer.text
    message: dict[str, Any] = answer.json()["message"]
    return message


def read(client: httpx.Client, id_: str) -> dict[str, Any]:
    answer = client.get(f"/api/conversations/{id_}")
    assert answer.status_code == 200, answer.text
    whole: dict[str, Any] = answer.json()
    return whole


def ask(client: httpx.Client, id_: str, content: str, **more: Any) -> dict[str, Any]:
    answer = client.post(f"/api/conversations/{id_}/turns", json={"content": content, **more})
    assert answer.status_code == 202, answer.text
    turn: dict[str, Any] = answer.json()["turn"]
    return turn


def ended(client: httpx.Client, id_: str) -> str:
    """Wait for the end of the last turn, and return how it ended."""

    def look() -> str | None:
        last = read(client, id_)["last_turn"]
        return None if last is None or last["status"] == "running" else str(last["status"])

    return eventually(look, "the turn ends")


# -- conversations ----------------------------------------------------------------------------------------


def test_a_new_conversation_has_the_shape_of_the_contract(client: httpx.Client) -> None:
    before = int(time.time())
    conversation = open_one(client, model="large", title="  About ships  ")
    has_shape(conversation, CONVERSATION)
    assert (conversation["backend"], conversation["model"], conversation["title"]) == (
        "demo",
        "large",
        "About ships",
    )
    assert (conversation["message_count"], conversation["seq"]) == (0, 1)
    assert conversation["created_at"] >= before
    (agent,) = client.get("/api/agents").json()["agents"]
    assert conversation["agent_id"] == agent["id"]


def test_a_conversation_is_opened_with_an_agent_or_a_backend_and_not_with_neither(client: httpx.Client) -> None:
    agents = [client.post("/api/agents", json={"backend": "demo", "name": n}).json()["agent"] for n in "ab"]
    second = client.post("/api/conversations", json={"agent_id": agents[1]["id"]}).json()["conversation"]
    assert (second["agent_id"], second["backend"]) == (agents[1]["id"], "demo")
    assert open_one(client)["agent_id"] == agents[0]["id"]
    is_problem(client.post("/api/conversations", json={}), 400, "no_agent")
    is_problem(client.post("/api/conversations", json={"agent_id": "", "backend": ""}), 400, "no_agent")
    is_problem(client.post("/api/conversations", json={"agent_id": "01h"}), 404)
    is_problem(client.post("/api/conversations", json={"backend": "nope"}), 404, "unknown_backend")
    is_problem(client.post("/api/conversations", json={"backend": "off"}), 503, "backend_disabled")


def test_conversations_are_listed_with_the_newest_activity_first(client: httpx.Client) -> None:
    ids = [open_one(client)["id"] for _ in range(3)]
    post(client, ids[1], "hello")
    found = client.get("/api/conversations").json()["conversations"]
    assert [c["id"] for c in found] == [ids[1], ids[2], ids[0]]
    for conversation in found:
        has_shape(conversation, CONVERSATION)
    assert found[0]["message_count"] == 1


def test_seq_is_the_rank_by_creation_within_a_backend(client: httpx.Client) -> None:
    demo = [open_one(client)["id"] for _ in range(3)]
    many = open_one(client, "many")
    assert many["seq"] == 1
    assert [read(client, id_)["conversation"]["seq"] for id_ in demo] == [1, 2, 3]
    client.delete(f"/api/conversations/{demo[0]}")
    assert [read(client, id_)["conversation"]["seq"] for id_ in demo[1:]] == [1, 2]
    listed = {c["id"]: c["seq"] for c in client.get("/api/conversations").json()["conversations"]}
    assert listed == {demo[1]: 1, demo[2]: 2, many["id"]: 1}


def test_a_conversation_is_found_by_backend_and_rank(client: httpx.Client) -> None:
    first, second = open_one(client), open_one(client)
    post(client, second["id"], "hello")
    assert client.get("/api/conversations/by-slug/demo/2").json() == read(client, second["id"])
    assert client.get("/api/conversations/by-slug/demo/1").json() == read(client, first["id"])
    for wrong in ("demo/3", "demo/0", "many/1", "nope/1", "demo/-1", "demo/x", "demo/99999999999999999999"):
        is_problem(client.get(f"/api/conversations/by-slug/{wrong}"), 404)


def test_a_title_is_cut_at_two_hundred_characters(client: httpx.Client) -> None:
    conversation = open_one(client, title="ä" * 300)
    assert conversation["title"] == "ä" * 200
    url = f"/api/conversations/{conversation['id']}"
    answer = client.patch(url, json={"title": "ö" * 201})
    assert answer.status_code == 200
    has_shape(answer.json()["conversation"], CONVERSATION)
    assert answer.json()["conversation"]["title"] == "ö" * 200
    is_problem(client.patch(url, json={}), 422)
    is_problem(client.patch(url, json={"title": None}), 422)


def test_the_first_user_message_names_an_untitled_conversation(client: httpx.Client) -> None:
    id_ = open_one(client)["id"]
    post(client, id_, "You are a poet.", role="system")
    assert read(client, id_)["conversation"]["title"] == ""
    post(client, id_, "Write  a\nlong " + "x" * 100)
    assert read(client, id_)["conversation"]["title"] == ("Write a long " + "x" * 100)[:60]
    post(client, id_, "another")
    assert read(client, id_)["conversation"]["title"].startswith("Write a long")


def test_a_given_title_stays_when_the_first_message_comes(client: httpx.Client) -> None:
    id_ = open_one(client, title="Mine")["id"]
    post(client, id_, "hello")
    assert read(client, id_)["conversation"]["title"] == "Mine"


def test_deleting_a_conversation_answers_with_nothing_and_leaves_nothing(client: httpx.Client) -> None:
    id_ = open_one(client)["id"]
    answer = client.delete(f"/api/conversations/{id_}")
    assert (answer.status_code, answer.content) == (204, b"")
    is_problem(client.get(f"/api/conversations/{id_}"), 404)
    is_problem(client.delete(f"/api/conversations/{id_}"), 404)
    assert client.get("/api/conversations").json() == {"conversations": []}


# -- messages ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["user", "assistant", "system", "error"])
def test_a_posted_message_comes_back_as_it_was_sent(client: httpx.Client, role: str) -> None:
    id_ = open_one(client)["id"]
    text = "  Zeile 1\n\tline 2 \x00 \N{PILE OF POO} \u200b\u202e "
    message = post(client, id_, text, role)
    has_shape(message, MESSAGE)
    assert (message["role"], message["content"]) == (role, text)
    whole = read(client, id_)
    assert whole["messages"] == [message]
    assert whole["conversation"]["message_count"] == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"role": "user", "content": ""}, 400),
        ({"role": "user", "content": " \n "}, 400),
        ({"role": "robot", "content": "x"}, 422),
        ({"content": "x"}, 422),
        ({"role": "user", "content": "x" * 1_000_001}, 422),
        ({"role": "user", "content": ["x"]}, 422),
    ],
)
def test_a_message_without_proper_role_or_content_is_refused(
    client: httpx.Client, body: dict[str, object], status: int
) -> None:
    id_ = open_one(client)["id"]
    is_problem(client.post(f"/api/conversations/{id_}/messages", json=body), status)


def test_dropping_after_a_message_keeps_it_and_all_before(client: httpx.Client) -> None:
    id_ = open_one(client)["id"]
    messages = [post(client, id_, str(n)) for n in range(5)]
    url = f"/api/conversations/{id_}/messages/after"
    answer = client.delete(f"{url}/{messages[2]['id']}")
    assert (answer.status_code, answer.content) == (204, b"")
    whole = read(client, id_)
    assert whole["messages"] == messages[:3]
    assert whole["conversation"]["message_count"] == 3
    assert client.delete(f"{url}/{messages[2]['id']}").status_code == 204
    is_problem(client.delete(f"{url}/{messages[4]['id']}"), 404)
    is_problem(client.delete(f"{url}/nope"), 404)


# -- other users ------------------------------------------------------------------------------------------


def test_somebody_elses_conversation_looks_like_none_at_all(server: Server, client: httpx.Client) -> None:
    id_ = open_one(client)["id"]
    message = post(client, id_, "secret words")
    turn = ask(client, id_, "hello")["id"]
    ended(client, id_)
    own = open_one(server.sign_up(new_email()))["id"]
    stranger = server.sign_up(new_email())
    calls: list[tuple[str, str, dict[str, str] | None]] = [
        ("GET", "", None),
        ("PATCH", "", {"title": "mine"}),
        ("DELETE", "", None),
        ("POST", "/messages", {"role": "user", "content": "x"}),
        ("DELETE", f"/messages/after/{message['id']}", None),
        ("GET", "/stream", None),
        ("POST", "/turns", {"content": "x"}),
        ("POST", f"/turns/{turn}/cancel", None),
        ("POST", f"/turns/{turn}/regenerate", None),
    ]
    for method, path, body in calls:
        foreign = is_problem(stranger.request(method, f"/api/conversations/{id_}{path}", json=body), 404)
        none = is_problem(stranger.request(method, f"/api/conversations/01h{path}", json=body), 404)
        assert foreign == none, (method, path)
    is_problem(server.admin().get(f"/api/conversations/{id_}"), 404)
    assert own != id_
    assert read(client, id_)["conversation"]["title"] == "secret words"


def test_a_message_or_turn_of_another_conversation_is_not_found_in_this_one(client: httpx.Client) -> None:
    one, other = open_one(client)["id"], open_one(client)["id"]
    message = post(client, other, "x")["id"]
    turn = ask(client, other, "hello")["id"]
    ended(client, other)
    is_problem(client.delete(f"/api/conversations/{one}/messages/after/{message}"), 404)
    is_problem(client.post(f"/api/conversations/{one}/turns/{turn}/cancel"), 404)
    is_problem(client.post(f"/api/conversations/{one}/turns/{turn}/regenerate"), 404)


def test_conversations_are_listed_for_their_owner_only(server: Server, client: httpx.Client) -> None:
    open_one(client)
    stranger = server.sign_up(new_email())
    assert stranger.get("/api/conversations").json() == {"conversations": []}
    is_problem(stranger.get("/api/conversations/by-slug/demo/1"), 404)


# -- turns ------------------------------------------------------------------------------------------------


def test_a_turn_is_accepted_and_answered_by_the_server(client: httpx.Client) -> None:
    id_ = open_one(client)["id"]
    turn = ask(client, id_, "Show me a table")
    has_shape(turn, TURN)
    assert turn["status"] == "running"
    has_shape(turn["user_message"], MESSAGE)
    assert (turn["user_message"]["role"], turn["user_message"]["content"]) == ("user", "Show me a table")
    assert ended(client, id_) == "finished"
    question, answer = read(client, id_)["messages"]
    assert question["id"] == turn["user_message"]["id"]
    assert answer["role"] == "assistant"
    assert "| what | value |" in answer["content"]


def test_the_stream_tells_a_turn_from_its_start_to_its_end(client: httpx.Client) -> None:
    id_ = open_one(client)["id"]
    with client.stream("GET", f"/api/conversations/{id_}/stream") as stream:
        found = frames(stream)
        assert next(found)[1]["kind"] == "hello"
        turn = ask(client, id_, "hello")
        shown = []
        for _, event in found:
            assert set(event) == {"kind", "payload"}
            shown.append(event)
            if event["kind"] == "turn_finished":
                break
    kinds = [e["kind"] for e in shown]
    assert {"runner_status", "message", "turn_started", "turn_progress", "turn_finished"} <= set(kinds)
    assert kinds.index("message") < kinds.index("turn_started") < kinds.index("turn_finished")
    assert shown[-1]["payload"]["turn_id"] == turn["id"]
    has_shape(shown[-1]["payload"], {"turn_id": str, "message": dict, "finish_reason": str, "usage": (dict, None)})
    has_shape(shown[-1]["payload"]["message"], MESSAGE)
    assert shown[-1]["payload"]["message"] | read(client, id_)["messages"][-1] == shown[-1]["payload"]["message"]
    text = ""
    for event in shown:
        if event["kind"] == "turn_snapshot":
            text = event["payload"]["text"]
        elif event["kind"] == "turn_delta":
            assert event["payload"]["offset"] == len(text)
            text += event["payload"]["text"]
    assert shown[-1]["payload"]["message"]["content"].startswith(text)


def test_a_second_turn_waits_its_turn(client: httpx.Client) -> None:
    id_ = open_one(client, "slow")["id"]
    turn = ask(client, id_, "something long")
    problem = is_problem(client.post(f"/api/conversations/{id_}/turns", json={"content": "x"}), 409, "turn_running")
    assert problem["turn_id"] == turn["id"]
    message = turn["user_message"]["id"]
    is_problem(client.delete(f"/api/conversations/{id_}/messages/after/{message}"), 409)
    is_problem(client.post(f"/api/conversations/{id_}/turns/{turn['id']}/regenerate"), 409)
    client.post(f"/api/conversations/{id_}/turns/{turn['id']}/cancel")


def test_cancelling_keeps_what_was_written(client: httpx.Client) -> None:
    id_ = open_one(client, "slow")["id"]
    turn = ask(client, id_, "something long")
    with client.stream("GET", f"/api/conversations/{id_}/stream") as stream:
        seen = until(stream, "turn_delta")
    answer = client.post(f"/api/conversations/{id_}/turns/{turn['id']}/cancel")
    assert answer.status_code == 200
    assert (answer.json()["turn"]["id"], answer.json()["turn"]["status"]) == (turn["id"], "cancelled")
    written = read(client, id_)["messages"][-1]
    assert written["role"] == "assistant"
    start = "".join(e["payload"]["text"] for e in seen if e["kind"] in {"turn_snapshot", "turn_delta"})
    assert start
    assert written["content"].startswith(start)
    is_problem(client.post(f"/api/conversations/{id_}/turns/{turn['id']}/cancel"), 409, "turn_ended")
    is_problem(client.post(f"/api/conversations/{id_}/turns/nope/cancel"), 404)


def test_regenerating_drops_the_answer_and_asks_again(client: httpx.Client) -> None:
    id_ = open_one(client)["id"]
    turn = ask(client, id_, "hello")
    ended(client, id_)
    first = read(client, id_)["messages"]
    answer = client.post(f"/api/conversations/{id_}/turns/{turn['id']}/regenerate")
    assert answer.status_code == 202
    assert answer.json()["turn"]["user_message"] == first[0]
    assert answer.json()["turn"]["id"] != turn["id"]
    assert ended(client, id_) == "finished"
    second = read(client, id_)["messages"]
    assert len(second) == 2
    assert second[0] == first[0]
    assert second[1]["id"] != first[1]["id"]
    is_problem(client.post(f"/api/conversations/{id_}/turns/nope/regenerate"), 404)


def test_a_turn_whose_agent_does_not_start_fails_with_its_words(client: httpx.Client) -> None:
    id_ = open_one(client, "dying")["id"]
    with client.stream("GET", f"/api/conversations/{id_}/stream") as stream:
        ask(client, id_, "hello")
        failed = until(stream, "turn_failed")[-1]["payload"]
    assert failed["message"]["role"] == "error"
    assert "my last words" in failed["message"]["content"]
    whole = read(client, id_)
    assert whole["last_turn"]["status"] == "failed"
    assert [m["role"] for m in whole["messages"]] == ["user", "error"]


def test_whoever_comes_in_the_middle_gets_all_the_text_so_far(client: httpx.Client) -> None:
    id_ = open_one(client, "slow")["id"]
    turn = ask(client, id_, "something long")
    with client.stream("GET", f"/api/conversations/{id_}/stream") as stream:
        until(stream, "turn_delta")
    with client.stream("GET", f"/api/conversations/{id_}/stream") as stream:
        late = until(stream, "turn_delta")
    assert [e["kind"] for e in late][-2:] == ["turn_snapshot", "turn_delta"]
    snapshot, delta = late[-2]["payload"], late[-1]["payload"]
    assert snapshot["turn_id"] == turn["id"]
    assert "You asked for something".startswith(snapshot["text"][:20])
    assert delta["offset"] == len(snapshot["text"])
    client.post(f"/api/conversations/{id_}/turns/{turn['id']}/cancel")


def test_with_the_last_event_id_a_client_gets_what_it_missed_and_nothing_twice(client: httpx.Client) -> None:
    id_ = open_one(client)["id"]
    url = f"/api/conversations/{id_}/stream"
    with client.stream("GET", url) as stream:
        found = frames(stream)
        next(found)
        post(client, id_, "one")
        last = next(event_id for event_id, e in found if e["kind"] == "message")
    post(client, id_, "two")
    post(client, id_, "three")
    with client.stream("GET", url, headers={"Last-Event-ID": last}) as stream:
        missed: list[str] = []
        for _, event in frames(stream):
            if event["kind"] == "message":
                missed.append(event["payload"]["content"])
            if len(missed) == 2:
                break
    assert missed == ["two", "three"]


@pytest.mark.parametrize("event_id", ["nonsense", "-1", "9" * 30, "1.x", "1..", "0.turn.99999999", "٣", "1.t.-5"])
def test_a_last_event_id_that_is_not_ours_is_passed_over(client: httpx.Client, event_id: str) -> None:
    id_ = open_one(client)["id"]
    headers = [(b"last-event-id", event_id.encode())]
    with client.stream("GET", f"/api/conversations/{id_}/stream", headers=headers) as stream:
        assert next(frames(stream))[1]["kind"] == "hello"


@pytest.mark.parametrize("body", [{}, {"content": ""}, {"content": 5}, {"content": "x", "model": "m" * 201}])
def test_a_turn_without_a_proper_question_is_refused(client: httpx.Client, body: dict[str, object]) -> None:
    id_ = open_one(client)["id"]
    answer = client.post(f"/api/conversations/{id_}/turns", json=body)
    is_problem(answer, 400 if body == {"content": ""} else 422)
    assert read(client, id_)["messages"] == []


def test_deleting_a_conversation_ends_its_turn_and_its_stream(client: httpx.Client) -> None:
    id_ = open_one(client, "slow")["id"]
    with client.stream("GET", f"/api/conversations/{id_}/stream") as stream:
        ask(client, id_, "something long")
        found = frames(stream)
        next(e for _, e in found if e["kind"] == "turn_started")
        assert client.delete(f"/api/conversations/{id_}").status_code == 204
        assert [e["kind"] for _, e in found][-1] == "conversation_deleted"
