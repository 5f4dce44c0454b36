"""Agents that fail: a turn ends as failed with what was written kept, a client of /v1 is told."""

import json

import httpx
import pytest

from tests.agents.scripted import blob
from tests.harness.faults import faults
from tests.harness.person import Person, chat_body
from tests.harness.scripted import Gates
from tests.harness.server import Server


def _last_frame(text: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(text.rstrip().rpartition("data: ")[2])
    return found


def test_a_client_is_told_when_the_agent_dies_in_the_middle_of_a_stream(user: Person, gates: Gates) -> None:
    pid = user.pid()
    body = chat_body("die v1", stream=True)
    with user.http.stream("POST", "/v1/chat/completions", json=body, headers=user.bearer) as stream:
        gates.await_reached("v1")
        gates.open("v1")
        text = "".join(stream.iter_text())
    assert '"one "' in text
    assert '"two "' in text
    (error,) = _last_frame(text).values()
    assert isinstance(error, dict)
    assert "exited with code 3" in error["message"]
    # Whoever was told of the death and asks again at once is not sent to the dying one.
    assert user.pid() != pid


def test_a_turn_fails_with_its_text_kept_when_the_agent_dies_in_the_middle(user: Person, gates: Gates) -> None:
    conversation = user.conversation()
    turn = user.ask(conversation, "die turn")
    gates.await_reached("turn")
    pid = user.pid()
    gates.open("turn")
    assert user.await_turn(conversation, turn) == "failed"
    asked, answer, (role, error) = user.messages(conversation)
    assert (asked, answer) == (("user", "die turn"), ("assistant", "one two "))
    assert role == "error"
    assert "exited with code 3" in error
    assert user.pid() != pid
    assert user.await_turn(conversation, user.ask(conversation, "say fresh")) == "finished"
    assert user.messages(conversation)[-1] == ("assistant", "fresh ")


@pytest.mark.parametrize(
    ("text", "kept", "words"),
    [
        ("status 500", "", "status 500: scripted 500"),
        ("status 429", "", "status 429: scripted 429"),
        ("redirect", "", "status 307"),
        ("garbage html", "", "broke off"),
        ("garbage frames", "", "not JSON"),
        ("garbage json", "", "not JSON"),
        ("cut", "one two ", "broke"),
        ("cut_between", "one two ", "broke"),
        ("cut_json", "", "broke"),
        ("line 3", "", "without an end"),
        ("error_frame", "one two ", "scripted error"),
    ],
)
def test_a_turn_fails_in_words_when_the_agent_answers_nonsense(
    user: Person, text: str, kept: str, words: str
) -> None:
    conversation = user.conversation()
    assert user.await_turn(conversation, user.ask(conversation, text)) == "failed"
    messages = user.messages(conversation)
    assert messages[1:-1] == ([("assistant", kept)] if kept else [])
    assert messages[-1][0] == "error"
    assert words in messages[-1][1]


def test_a_turn_accepts_an_answer_in_one_piece(user: Person) -> None:
    conversation = user.conversation()
    assert user.await_turn(conversation, user.ask(conversation, "whole")) == "finished"
    assert user.messages(conversation)[-1] == ("assistant", "in one piece")


def test_a_turn_cuts_an_answer_that_never_ends(user: Person) -> None:
    conversation = user.conversation()
    turn = user.ask(conversation, "flood turn-flood")
    assert user.await_turn(conversation, turn) == "finished"
    assert len(user.messages(conversation)[-1][1]) == 4_000_000
    user.await_idle()


def test_a_turn_ends_although_the_agent_does_not_hang_up(user: Person) -> None:
    conversation = user.conversation()
    assert user.await_turn(conversation, user.ask(conversation, "babble")) == "finished"
    assert user.messages(conversation)[-1] == ("assistant", "said ")


@pytest.mark.parametrize("text", ["cut", "cut_between"])
def test_a_stream_that_stops_in_the_middle_ends_with_an_error_frame(user: Person, text: str) -> None:
    answer = user.chat(text, stream=True)
    assert answer.status_code == 200
    error = _last_frame(answer.text)["error"]
    assert isinstance(error, dict)
    assert set(error) == {"message", "type", "param", "code"}


def test_a_body_of_a_promised_length_that_stops_in_the_middle_is_cut(user: Person) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        user.chat("cut_json")
    assert user.chat("say hello").is_success


def test_a_long_line_without_an_end_passes_through_v1(user: Person) -> None:
    assert len(user.chat("line 5", stream=True).content) == len(b"data: ") + 5_000_000


def test_large_downloads_arrive_intact(user: Person) -> None:
    size = 30_000_001
    answer = user.http.get(f"/v1/blob?model=scripted&size={size}", headers=user.bearer)
    assert answer.content == blob(size)


def test_the_server_met_all_this_without_an_error_of_its_own(server: Server) -> None:
    assert faults(server) == []
