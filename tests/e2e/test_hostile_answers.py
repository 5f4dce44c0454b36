"""Agents whose answers hold what cannot be kept: their turns end, and the log can be replayed afterwards."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.contract import is_openai_error, is_problem
from tests.harness.events import events
from tests.harness.faults import faults
from tests.harness.keys import environment
from tests.harness.person import Person
from tests.harness.scripted import Gates, scripted_backend
from tests.harness.server import Server
from tests.harness.tokens import bearer

Json = dict[str, Any]
HEAD = "HTTP/1.1 200 OK\r\ncontent-type: {}\r\nconnection: close\r\n\r\n"
DEEP = "[" * 230 + "1" + "]" * 230
ODD = {
    "text": '"text"',
    "an integer of 100 bits": str(2**100),
    "below zero": "-1",
    "half a number": "1.5",
    "a huge number": "1e308",
    "no number": "NaN",
    "without end": "1e999",
    "half a character": '"\\ud83d"',
    "NUL": '"\\u0000"',
    "a list": "[1, 2]",
    "an object": '{"a": {"b": 1}}',
    "230 levels": DEEP,
    "nothing": "null",
    "true": "true",
    "a long text": json.dumps("x" * 100_000),
}
"""Values, as JSON, for which nobody is prepared."""
WHOLE = {
    "content": '{{"choices": [{{"message": {{"content": {0}}}, "finish_reason": "stop"}}]}}',
    "finish_reason": '{{"choices": [{{"message": {{"content": "well"}}, "finish_reason": {0}}}]}}',
    "usage": '{{"choices": [{{"message": {{"content": "well"}}}}], "usage": {0}}}',
    "prompt_tokens": '{{"choices": [{{"message": {{"content": "well"}}}}], "usage": {{"prompt_tokens": {0}}}}}',
    "error": '{{"error": {0}}}',
    "error message": '{{"error": {{"message": {0}}}}}',
    "choices": '{{"choices": {0}}}',
}
"""Answers, in each of which one value is odd."""
FRAME = {
    "content": '{{"choices": [{{"delta": {{"content": {0}}}}}]}}',
    "finish_reason": '{{"choices": [{{"delta": {{"content": "well"}}, "finish_reason": {0}}}]}}',
    "usage": '{{"choices": [], "usage": {0}}}',
    "completion_tokens": '{{"choices": [], "usage": {{"completion_tokens": {0}}}}}',
    "error": '{{"error": {0}}}',
    "choices": '{{"choices": {0}}}',
}
DONE = 'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, gates: Gates) -> Iterator[Server]:
    """Return a server whose agents may answer as often as they like."""
    folder: Path = tmp_path_factory.mktemp("server")
    limits = {"ANSWERS_AT_ONCE": "0"}
    changing = scripted_backend(gates, name="changing", session={"place": "body", "name": "session_id"})
    with Server(folder, backends=[scripted_backend(gates), changing], env=limits) as running:
        yield running


def _answers() -> dict[str, str]:
    """Return every odd answer, whole and streamed, by what is odd in it."""
    found = {}
    for value, odd in ODD.items():
        for place, form in WHOLE.items():
            found[f"{value} for {place}"] = HEAD.format("application/json") + form.format(odd)
        for place, form in FRAME.items():
            frame = f"data: {form.format(odd)}\n\n"
            found[f"{value} for {place}, streamed"] = HEAD.format("text/event-stream") + frame + DONE
    return found


def _used(user: Person) -> Json:
    """Return what was counted of a user's answers."""
    totals: Json = user.http.get("/api/me/usage").json()["totals"]
    return {name: count for name, count in totals.items() if name != "runner_seconds"}


def test_every_turn_ends_and_everything_is_replayed_and_read_afterwards(server: Server, gates: Gates) -> None:
    answers = _answers()
    with Person(server) as user:
        conversations: dict[str, str] = {}
        for number, (name, answer) in enumerate(answers.items()):
            gates.folder.joinpath(f"odd{number}").write_text(answer)
            conversations[name] = user.conversation()
            turn = user.ask(conversations[name], f"raw odd{number}")
            assert user.await_turn(conversations[name], turn) in {"finished", "failed"}, name
        before = {name: user.messages(conversation) for name, conversation in conversations.items()}
        assert all(len(messages) >= 1 for messages in before.values())
        used = _used(user)
        assert used["requests"] == len(answers)
        assert server.stop() == 0
        (server.data / "views.db").unlink()
        server.start()
        assert {name: user.messages(conversation) for name, conversation in conversations.items()} == before
        assert _used(user) == used
        assert user.http.get("/api/me/export").is_success
        assert server.client().get("/readyz").json()["degraded"] == []
        admin, me = server.admin(), user.http.get("/auth/me").json()["user"]["id"]
        assert admin.delete(f"/api/admin/users/{me}").status_code == 204
    assert not [e for e in events(server) if e["problem"]]
    assert faults(server) == []


@pytest.mark.parametrize("levels", [64, 240, 254, 260, 900, 100_000])
def test_a_body_that_has_to_be_changed_for_its_agent_and_is_too_deep_is_the_clients_mistake(
    server: Server, levels: int
) -> None:
    chat = '{{"model": "changing", "messages": [{{"role": "user", "content": "say hello"}}], "deep": {0}}}'
    body = chat.format("[" * levels + "]" * levels)
    with Person(server) as user:
        headers = {**user.bearer, "Content-Type": "application/json"}
        answer = user.http.post("/v1/chat/completions", content=body, headers=headers)
    if levels < 250:
        assert answer.is_success
    else:
        is_openai_error(answer, 400)


def test_what_an_agent_posts_cannot_keep_the_next_start_from_coming_up(server: Server) -> None:
    with Person(server) as user:
        user.pid()
        (runner,) = user.runners()
        agent, key = runner["agent_id"], environment(server, runner["host_port"])["AGENT_STACK_RUNNER_API_KEY"]
        conversation = user.conversation()
        client = server.client(headers={**bearer(key), "Content-Type": "application/json"})
        for odd in ODD.values():
            for body in (f'{{"content": "x", "payload": {{"a": {odd}}}}}', f'{{"content": {odd}}}'):
                answer = client.post(f"/api/internal/agents/{agent}/event", content=body)
                if not answer.is_success:
                    is_problem(answer, 422)
        before = user.messages(conversation)
        server.kill()
        (server.data / "views.db").unlink()
        server.start()
        assert user.messages(conversation) == before
        assert user.http.delete(f"/api/conversations/{conversation}").status_code == 204
    assert server.client().get("/readyz").json()["degraded"] == []
    assert faults(server) == []
