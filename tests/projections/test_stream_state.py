"""projections.stream_state: what a stream adds up to, at any version."""

from random import Random
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.conversations.events import ConversationStarted, MessagePosted, TurnFinished, TurnStarted
from domain.conversations.state import Conversation, evolve
from domain.keys.events import KeyCleared, KeySet, KeyShared
from domain.tokens.events import TokenCreated, TokenRevoked
from domain.users.events import PasswordChanged, UserRegistered, UserRenamed
from eventlog.described import MASK
from eventlog.envelope import ERASED, Recorded
from projections.stream_state import changes, state_after
from tests.projections.histories import ORIGIN, history, record

SECRET = "a secret that nobody may see"


def test_nothing_adds_up_to_nothing() -> None:
    assert state_after([]) == {}
    assert list(changes({}, {})) == []


def test_a_user_is_what_was_said_last_of_each_field_and_hashes_are_masked() -> None:
    about = {"user_id": "u", "email": "a@example.org", "name": "A", "slug": "a", "role": "user"}
    events = [
        UserRegistered(**about, password_hash=SECRET),
        UserRenamed(user_id="u", name="B"),
        PasswordChanged(user_id="u", password_hash=SECRET + "2"),
    ]
    records = record([("user:u", e) for e in events])
    state = state_after(records)
    assert (state["email"], state["name"], state["password_hash"]) == ("a@example.org", "B", MASK)
    (change,) = changes(state_after(records[:1]), state_after(records[:2]))
    assert change == {"path": "name", "before": "A", "after": "B"}


def test_a_stream_of_keys_is_what_is_set_and_values_are_masked() -> None:
    key = {"user_id": "u", "name": "LLM_API_KEY"}
    events = [
        KeySet(**key, backend="", value=SECRET),
        KeySet(**key, backend="demo", value=SECRET),
        KeySet(user_id="u", name="OTHER", backend="", value=SECRET),
        KeyCleared(**key, backend=""),
        KeyCleared(user_id="u", name="NEVER_SET", backend=""),
    ]
    records = record([("keys:u", e) for e in events])
    assert state_after(records[:2]) == {"all/LLM_API_KEY": MASK, "demo/LLM_API_KEY": MASK}
    assert state_after(records) == {"demo/LLM_API_KEY": MASK, "all/OTHER": MASK}
    assert list(changes(state_after(records[:3]), state_after(records))) == [
        {"path": "all/LLM_API_KEY", "before": MASK, "after": None}
    ]


def test_what_is_shared_is_told_by_name() -> None:
    events = [KeyShared(name="A", shared=True), KeyShared(name="B", shared=True), KeyShared(name="A", shared=False)]
    assert state_after(record([("keys:shared", e) for e in events])) == {"A": False, "B": True}


def test_a_token_is_shown_without_its_hash() -> None:
    about = {"token_id": "t", "user_id": "u", "prefix": "as-", "name": "T", "scope": "v1"}
    events = [TokenCreated(**about, hash=SECRET, models=("m",)), TokenRevoked(token_id="t", user_id="u")]
    state = state_after(record([("token:t", e) for e in events]))
    assert SECRET not in str(state)
    assert (state["hash"], state["models"], state["name"]) == (MASK, ["m"], "T")


def test_a_conversation_is_the_state_of_its_decisions() -> None:
    events = [
        ConversationStarted(conversation_id="c", user_id="u", agent_id="a", backend="demo", model="m", title="T"),
        MessagePosted(conversation_id="c", message_id="m1", role="user", content="Q"),
        TurnStarted(conversation_id="c", turn_id="t", user_message_id="m1", model="m"),
        TurnFinished(conversation_id="c", turn_id="t", message_id="m2", content="A", finish_reason="stop"),
    ]
    records = record([("conversation:c", e) for e in events])
    state = state_after(records)
    assert state["title"] == "T"
    assert {id_: m["content"] for id_, m in state["messages"].items()} == {"m1": "Q", "m2": "A"}
    assert state["turns"]["t"]["status"] == "finished"
    found = {c["path"]: (c["before"], c["after"]) for c in changes(state_after(records[:3]), state)}
    assert set(found) == {"messages.m2", "turns.t.status"}
    assert found["turns.t.status"] == ("running", "finished")
    assert found["messages.m2"][0] is None


def test_what_was_erased_is_passed_over() -> None:
    """As after a compaction: of the stream there is only who did what when."""
    erased = [Recorded(n, "conversation:c", n, "message.posted", 1.0, ORIGIN, ERASED) for n in (1, 2, 3)]
    assert state_after(erased)["messages"] == {}
    other = [Recorded(n, "user:u", n, "user.registered", 1.0, ORIGIN, ERASED, "u", True) for n in (1, 2)]
    assert state_after(other) == {}


@settings(max_examples=25, deadline=None)
@given(random=st.randoms(use_true_random=False))
def test_any_stream_of_a_random_history_has_a_state_at_every_version(random: Random) -> None:
    streams: dict[str, list[Recorded[Any]]] = {}
    for r in record(history(random, 120)):
        streams.setdefault(r.stream, []).append(r)
    for stream, records in streams.items():
        before: dict[str, Any] = {}
        conversation = Conversation()
        for until in range(1, len(records) + 1):
            state = state_after(records[:until])
            assert orjson.loads(orjson.dumps(state)) is not None, "it can be sent"
            if stream.startswith("conversation:"):
                r = records[until - 1]
                conversation = evolve(conversation, r.event, r.time)
                assert list(state["messages"]) == [m.id for m in conversation.messages]
                assert state["deleted"] == conversation.deleted
            told = list(changes(before, state))
            assert [c["path"] for c in told] == sorted({c["path"] for c in told}), "each place once, in order"
            assert all(c["before"] != c["after"] for c in told)
            before = state


LISTS = st.lists(st.integers(0, 1), max_size=2)
VALUES = st.none() | st.booleans() | st.integers(0, 3) | st.text("ab", max_size=2) | LISTS
STATES = st.recursive(
    VALUES, lambda inner: st.dictionaries(st.text("xyz", min_size=1, max_size=2), inner, max_size=4), max_leaves=12
).filter(lambda s: isinstance(s, dict))


def _without_nothing(state: Any) -> Any:
    """What is None counts as not there."""
    if not isinstance(state, dict):
        return state
    return {k: v for k, inner in state.items() if (v := _without_nothing(inner)) is not None}


@settings(max_examples=300)
@given(before=STATES, after=STATES)
def test_changes_lead_from_one_state_to_the_other(before: dict[str, Any], after: dict[str, Any]) -> None:
    patched = orjson.loads(orjson.dumps(before))
    for change in changes(before, after):
        *path, last = change["path"].split(".")
        place = patched
        for part in path:
            place = place[part]
        assert place.get(last) == change["before"]
        place[last] = change["after"]
    assert _without_nothing(patched) == _without_nothing(after)


@pytest.mark.parametrize("state", [{}, {"a": 1}, {"a": {"b": [1, {"c": None}]}}])
def test_a_state_does_not_differ_from_itself(state: dict[str, Any]) -> None:
    assert list(changes(state, orjson.loads(orjson.dumps(state)))) == []
