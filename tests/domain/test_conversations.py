"""domain.conversations.state: single decisions."""

import time

import pytest

from domain.conversations.events import (
    ConversationDeleted,
    ConversationRenamed,
    ConversationStarted,
    MessagePosted,
    MessageRole,
    MessagesDropped,
    TurnFailed,
    TurnFinished,
    TurnInterrupted,
    TurnStarted,
)
from domain.conversations.state import (
    MAX_CONTENT,
    MAX_SIZE,
    Conversation,
    Draft,
    ask,
    ask_again,
    drop_after,
    evolve,
    idle,
    post,
    rename,
)
from domain.errors import Conflict, Invalid, NotFound
from domain.event import Event
from domain.users.events import EmailClaimed

STARTED = ConversationStarted(
    conversation_id="c1", user_id="u1", agent_id="a1", backend="demo", model="demo", title=""
)
ANSWERED = TurnFinished(conversation_id="c1", turn_id="t1", message_id="m2", content="Hi!", finish_reason="stop")


def _after(*events: Event) -> Conversation:
    state = Conversation()
    for at, event in enumerate((STARTED, *events)):
        state = evolve(state, event, float(at))
    return state


def _asked() -> list[Event]:
    return ask(_after(), turn_id="t1", message_id="m1", content="Hello", model="demo")


def test_a_conversation_starts_with_what_the_event_says() -> None:
    state = _after()
    assert (state.id, state.user_id, state.agent_id, state.backend, state.model) == (
        "c1",
        "u1",
        "a1",
        "demo",
        "demo",
    )
    assert (state.title, state.messages, state.turns, state.running) == ("", (), {}, None)


def test_an_event_of_another_kind_changes_nothing() -> None:
    assert evolve(_after(), EmailClaimed(user_id="u1"), 9.0) == _after()


def test_an_event_never_changes_the_state_it_is_applied_to() -> None:
    before = _after(*_asked())
    copy = _after(*_asked())
    evolve(before, ANSWERED, 9.0)
    evolve(before, ConversationDeleted(conversation_id="c1"), 9.0)
    assert before == copy


def test_asking_posts_the_question_names_the_conversation_and_starts_a_turn() -> None:
    assert _asked() == [
        MessagePosted(conversation_id="c1", message_id="m1", role="user", content="Hello"),
        ConversationRenamed(conversation_id="c1", title="Hello"),
        TurnStarted(conversation_id="c1", turn_id="t1", user_message_id="m1", model="demo"),
    ]
    running = _after(*_asked()).running
    assert running is not None
    assert running.id == "t1"


def test_asking_while_a_turn_runs_is_a_conflict_that_names_the_turn() -> None:
    with pytest.raises(Conflict) as refused:
        ask(_after(*_asked()), turn_id="t2", message_id="m2", content="And?", model="demo")
    assert refused.value.reason == "turn_running"
    assert refused.value.fields == {"turn_id": "t1"}


def test_posting_while_a_turn_runs_is_allowed() -> None:
    assert post(_after(*_asked()), message_id="m9", role="system", content="Note")


@pytest.mark.parametrize("content", ["", "  ", "\n\t"])
def test_an_empty_message_is_refused(content: str) -> None:
    with pytest.raises(Invalid) as refused:
        post(_after(), message_id="m1", role="user", content=content)
    assert refused.value.reason == "empty_message"


def test_a_message_of_the_most_characters_is_accepted_and_of_one_more_refused() -> None:
    assert post(_after(), message_id="m1", role="assistant", content="x" * MAX_CONTENT)
    with pytest.raises(Invalid) as refused:
        post(_after(), message_id="m1", role="assistant", content="x" * (MAX_CONTENT + 1))
    assert refused.value.reason == "long_message"


def test_a_conversation_takes_so_many_characters_and_no_more() -> None:
    said = MessagePosted(conversation_id="c1", message_id="m", role="user", content="x" * MAX_CONTENT)
    state = _after(*[said] * (MAX_SIZE // MAX_CONTENT))
    assert state.size == MAX_SIZE
    with pytest.raises(Conflict, match="Begin a new one") as refused:
        post(state, message_id="m1", role="user", content="x")
    assert refused.value.reason == "conversation_full"
    with pytest.raises(Conflict):
        ask(state, turn_id="t1", message_id="m1", content="x", model="demo")


def test_a_conversation_takes_so_many_messages_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("domain.conversations.state.MAX_MESSAGES", 3)
    said = [
        MessagePosted(conversation_id="c1", message_id=f"m{n}", role="user", content=f"word {n}") for n in range(3)
    ]
    with pytest.raises(Conflict, match="as long as one may be"):
        post(_after(*said), message_id="m4", role="user", content="x")
    dropped = MessagesDropped(conversation_id="c1", after_message_id="m0", count=2)
    state = _after(*said, dropped)
    assert state.size == len("word 0")
    assert post(state, message_id="m4", role="user", content="x")


def test_what_an_event_costs_does_not_grow_with_the_conversation() -> None:
    """Folding ten times as many events takes some ten times as long, and not a hundred times."""

    def seconds(count: int) -> float:
        events = [
            event
            for n in range(count)
            for event in (
                MessagePosted(conversation_id="c1", message_id=f"m{n}", role="user", content="x"),
                TurnStarted(conversation_id="c1", turn_id=f"t{n}", user_message_id=f"m{n}", model="demo"),
                MessagesDropped(conversation_id="c1", after_message_id=f"m{n}", count=0),
                TurnFinished(
                    conversation_id="c1", turn_id=f"t{n}", message_id=f"a{n}", content="x", finish_reason="stop"
                ),
            )
        ]
        draft, begun = Draft(_after()), time.process_time()
        for event in events:
            draft.apply(event, 1.0)
        state = draft.state()
        taken = time.process_time() - begun
        assert (len(state.messages), len(state.turns), state.size) == (2 * count, count, 2 * count)
        return taken

    assert min(seconds(8000) for _ in range(3)) < 30 * min(seconds(800) for _ in range(3))


def test_the_automatic_title_is_one_line_of_at_most_60_characters() -> None:
    events = post(_after(), message_id="m1", role="user", content="  One\n two\t" + "x" * 100)
    assert events[1:] == [ConversationRenamed(conversation_id="c1", title="One two " + "x" * 52)]


@pytest.mark.parametrize("role", ["assistant", "system", "error"])
def test_only_a_user_message_names_a_conversation(role: MessageRole) -> None:
    assert len(post(_after(), message_id="m1", role=role, content="Hello")) == 1


def test_a_titled_conversation_keeps_its_title() -> None:
    titled = _after(ConversationRenamed(conversation_id="c1", title="Mine"))
    assert len(post(titled, message_id="m1", role="user", content="Hello")) == 1


def test_a_title_is_trimmed_and_cut_at_200_characters() -> None:
    assert rename(_after(), "  " + "t" * 300) == [ConversationRenamed(conversation_id="c1", title="t" * 200)]


def test_renaming_to_the_same_title_is_no_event() -> None:
    assert rename(_after(ConversationRenamed(conversation_id="c1", title="Mine")), " Mine ") == []


@pytest.mark.parametrize(
    ("ending", "status", "messages"),
    [
        (ANSWERED, "finished", [("assistant", "Hi!")]),
        (ANSWERED.model_copy(update={"finish_reason": "length"}), "finished", [("assistant", "Hi!")]),
        (ANSWERED.model_copy(update={"finish_reason": "cancelled"}), "cancelled", [("assistant", "Hi!")]),
        (ANSWERED.model_copy(update={"content": ""}), "finished", []),
        (
            TurnFailed(
                conversation_id="c1", turn_id="t1", message_id="m2", content="H", error_message_id="m3", error="Oh"
            ),
            "failed",
            [("assistant", "H"), ("error", "Oh")],
        ),
        (
            TurnFailed(
                conversation_id="c1", turn_id="t1", message_id="m2", content="", error_message_id="m3", error="Oh"
            ),
            "failed",
            [("error", "Oh")],
        ),
        (
            TurnInterrupted(conversation_id="c1", turn_id="t1", message_id="m2", content="H"),
            "interrupted",
            [("assistant", "H")],
        ),
        (TurnInterrupted(conversation_id="c1", turn_id="t1", message_id="m2", content=""), "interrupted", []),
    ],
)
def test_a_turn_ends_with_a_status_and_what_was_written(
    ending: Event, status: str, messages: list[tuple[str, str]]
) -> None:
    state = _after(*_asked(), ending)
    assert state.running is None
    assert state.turn("t1").status == status
    assert [(m.role, m.content) for m in state.messages[1:]] == messages
    assert all(m.turn_id == "t1" for m in state.messages[1:])


def test_messages_after_one_are_dropped_and_counted() -> None:
    state = _after(*_asked(), ANSWERED)
    dropped = drop_after(state, "m1")
    assert dropped == [MessagesDropped(conversation_id="c1", after_message_id="m1", count=1)]
    assert [m.id for m in evolve(state, dropped[0], 9.0).messages] == ["m1"]


def test_dropping_after_the_last_message_is_no_event() -> None:
    assert drop_after(_after(*_asked(), ANSWERED), "m2") == []


def test_dropping_after_an_unknown_message_is_refused() -> None:
    with pytest.raises(NotFound):
        drop_after(_after(*_asked(), ANSWERED), "m9")


def test_dropping_while_a_turn_runs_is_refused() -> None:
    with pytest.raises(Conflict):
        drop_after(_after(*_asked()), "m1")


def test_asking_again_drops_the_answer_and_starts_a_turn_on_the_same_question() -> None:
    state = _after(*_asked(), ANSWERED)
    events = ask_again(state, "t1", new_turn_id="t2")
    assert events == [
        MessagesDropped(conversation_id="c1", after_message_id="m1", count=1),
        TurnStarted(conversation_id="c1", turn_id="t2", user_message_id="m1", model="demo"),
    ]


def test_asking_again_is_refused_for_an_unknown_turn_a_running_one_and_a_dropped_question() -> None:
    with pytest.raises(NotFound):
        ask_again(_after(), "t1", new_turn_id="t2")
    with pytest.raises(Conflict):
        ask_again(_after(*_asked()), "t1", new_turn_id="t2")
    early = MessagePosted(conversation_id="c1", message_id="m0", role="user", content="First")
    dropped = MessagesDropped(conversation_id="c1", after_message_id="m0", count=2)
    with pytest.raises(NotFound):
        ask_again(_after(early, *_asked(), ANSWERED, dropped), "t1", new_turn_id="t2")


def test_idle_passes_when_no_turn_runs() -> None:
    idle(_after())
    idle(_after(*_asked(), ANSWERED))


def test_a_deleted_conversation_holds_nothing() -> None:
    state = _after(*_asked(), ConversationDeleted(conversation_id="c1"))
    assert (state.deleted, state.messages, state.turns) == (True, (), {})


def test_a_deleted_conversation_takes_no_question() -> None:
    state = _after(ConversationDeleted(conversation_id="c1"))
    with pytest.raises(NotFound):
        ask(state, turn_id="t1", message_id="m1", content="Hello", model="demo")
