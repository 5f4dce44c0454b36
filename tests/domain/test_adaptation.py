"""domain.backends.adaptation."""

from copy import deepcopy
from typing import Any

import pytest

from domain.backends.adaptation import Adapted, adapt, conversation_session, one_message, text_of, user_session
from domain.backends.definition import Backend
from domain.errors import Invalid

QUESTION = {"role": "user", "content": "And now?"}
HISTORY = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hi!"},
    QUESTION,
]
FOLDED = (
    "The conversation so far:\n\n"
    "system: Be kind.\n\nuser: Hello\n\nassistant: Hi!\n\n"
    "Now answer this message of the user:\n\n"
)


def _adapt(body: dict[str, Any], *, override: str = "", first: bool = False, **fields: Any) -> Adapted:
    backend = Backend.model_validate({"name": "demo", "display_name": "Demo", "image": "demo", **fields})
    before = deepcopy(body)
    adapted = adapt(backend, body, session="agstack-c1", model_override=override, first=first)
    assert body == before, "the client's body is not changed in place"
    return adapted


def test_sessions_of_conversations_and_of_users_never_meet() -> None:
    assert conversation_session("c1") == "agstack-c1"
    assert user_session("c1") == "agstack-uc1"
    assert conversation_session("c1") != user_session("c1")


def test_a_plain_backend_gets_the_clients_own_bytes() -> None:
    assert _adapt({"model": "demo", "messages": HISTORY}, override="other") == Adapted({}, None)


def test_a_session_in_a_header_leaves_the_body_alone() -> None:
    adapted = _adapt({"model": "demo", "messages": HISTORY}, session={"place": "header", "name": "X-Session"})
    assert adapted == Adapted({"X-Session": "agstack-c1"}, None)


@pytest.mark.parametrize("given", [{}, {"session_id": "somebody else's"}])
def test_a_session_in_the_body_is_set_whatever_the_client_sent(given: dict[str, Any]) -> None:
    body = {"model": "demo", "messages": HISTORY, **given}
    adapted = _adapt(body, session={"place": "body", "name": "session_id"})
    assert adapted == Adapted({}, {"model": "demo", "messages": HISTORY, "session_id": "agstack-c1"})


def test_a_kept_model_is_sent_as_it_is() -> None:
    adapted = _adapt(
        {"model": "demo/x"}, model_handling="keep", override="o", session={"place": "body", "name": "s"}
    )
    assert adapted.body == {"model": "demo/x", "s": "agstack-c1"}


def test_a_dropped_model_is_left_out() -> None:
    assert _adapt({"model": "demo", "n": 1}, model_handling="drop", override="o").body == {"n": 1}


def test_an_overridden_model_is_the_agents() -> None:
    assert _adapt({"model": "demo", "n": 1}, model_handling="override", override="o").body == {"model": "o", "n": 1}
    assert _adapt({"n": 1}, model_handling="override", override="o").body == {"model": "o", "n": 1}


def test_an_overridden_model_is_left_out_when_the_agent_has_none() -> None:
    assert _adapt({"model": "demo", "n": 1}, model_handling="override").body == {"n": 1}


@pytest.mark.parametrize("handling", ["drop", "override"])
def test_a_body_without_a_model_goes_as_it_is_when_there_is_none_to_set(handling: str) -> None:
    assert _adapt({"n": 1}, model_handling=handling).body is None


def test_an_agent_that_remembers_gets_the_last_user_message_alone() -> None:
    adapted = _adapt({"model": "demo", "messages": HISTORY, "stream": True}, history="last_user")
    assert adapted.body == {"model": "demo", "messages": [QUESTION], "stream": True}


def test_an_agent_that_remembers_but_saw_nothing_is_told_the_history() -> None:
    body = _adapt({"messages": HISTORY}, history="last_user", first=True).body
    assert body == {"messages": [{"role": "user", "content": FOLDED + "And now?"}]}


def test_parts_of_the_question_are_kept_when_the_history_is_told() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:,"}}
    question = {"role": "user", "name": "ada", "content": [{"type": "text", "text": "And now?"}, image]}
    told = one_message([*HISTORY[:3], question], fold=True)
    assert told == {
        "role": "user",
        "name": "ada",
        "content": [{"type": "text", "text": FOLDED}, {"type": "text", "text": "And now?"}, image],
    }


def test_parts_in_the_history_are_told_by_their_text() -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "image_url"}, "odd", {"type": "text", "text": "two"}]
    told = one_message([{"role": "user", "content": parts}, QUESTION], fold=True)
    assert "user: one\ntwo\n\n" in told["content"]


def test_a_lone_question_is_not_wrapped() -> None:
    assert one_message([QUESTION], fold=True) is QUESTION


def test_messages_without_text_are_not_told() -> None:
    history = [{"role": "assistant", "content": None, "tool_calls": []}, {"role": "tool", "content": ""}, QUESTION]
    assert one_message(history, fold=True) is QUESTION


def test_what_follows_the_last_user_message_is_left_out() -> None:
    assert one_message([QUESTION, {"role": "assistant", "content": "I th"}], fold=True) is QUESTION


@pytest.mark.parametrize("messages", [None, "hello", {}, ["hello"], [QUESTION, 3]])
def test_messages_of_another_form_are_refused(messages: Any) -> None:
    with pytest.raises(Invalid) as refused:
        _adapt({"messages": messages}, history="last_user")
    assert refused.value.reason == "bad_messages"


@pytest.mark.parametrize("messages", [[], [{"role": "assistant", "content": "Hi"}], [{"content": "Hi"}]])
def test_messages_without_a_user_message_are_refused(messages: Any) -> None:
    with pytest.raises(Invalid) as refused:
        _adapt({"messages": messages}, history="last_user")
    assert refused.value.reason == "no_user_message"


def test_a_request_without_messages_is_not_given_any() -> None:
    assert _adapt({"input": "x"}, history="last_user").body is None


def test_everything_together() -> None:
    adapted = _adapt(
        {"model": "demo", "messages": HISTORY, "temperature": 0},
        session={"place": "body", "name": "session_id"},
        model_handling="override",
        history="last_user",
        override="big",
    )
    assert adapted.body == {
        "temperature": 0,
        "session_id": "agstack-c1",
        "model": "big",
        "messages": [QUESTION],
    }


@pytest.mark.parametrize(
    ("message", "text"),
    [({}, ""), ({"content": None}, ""), ({"content": 3}, ""), ({"content": "x"}, "x"), ({"content": [1, {}]}, "")],
)
def test_the_text_of_an_odd_message_is_empty(message: dict[str, Any], text: str) -> None:
    assert text_of(message) == text
