"""domain.conversations.state: what holds after any sequence of decisions."""

from collections.abc import Callable
from itertools import count

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from domain.conversations.events import (
    ConversationDeleted,
    ConversationStarted,
    MessageRole,
    TurnFailed,
    TurnFinished,
    TurnInterrupted,
)
from domain.conversations.state import (
    MAX_TITLE,
    Conversation,
    ask,
    ask_again,
    drop_after,
    evolve,
    post,
    rename,
)
from domain.errors import Conflict, Invalid, NotFound
from domain.event import Event

texts = st.sampled_from(["", " ", "Hello", "x" * 70, "two\nlines"])


class Histories(RuleBasedStateMachine):
    """Decides at random, refuses as the domain does, and keeps every event."""

    def __init__(self) -> None:
        super().__init__()
        self.ids = count(1)
        self.now = 0.0
        self.state = Conversation()
        self.events: list[tuple[Event, float]] = []

    def new_id(self) -> str:
        return f"i{next(self.ids)}"

    def happen(self, events: list[Event]) -> None:
        for event in events:
            self.now += 1.0
            self.state = evolve(self.state, event, self.now)
            self.events.append((event, self.now))

    def decide(self, decision: Callable[[], list[Event]]) -> None:
        before = self.state
        try:
            events = decision()
        except (Conflict, Invalid, NotFound):
            assert self.state is before
            return
        self.happen(events)

    @initialize()
    def start(self) -> None:
        self.happen(
            [
                ConversationStarted(
                    conversation_id="c1", user_id="u1", agent_id="a1", backend="demo", model="demo", title=""
                )
            ]
        )

    @rule(content=texts)
    def asking(self, content: str) -> None:
        running = self.state.running
        turn_id, message_id = self.new_id(), self.new_id()
        self.decide(lambda: ask(self.state, turn_id=turn_id, message_id=message_id, content=content, model="m"))
        if running:
            assert self.state.running == running
        elif content.strip():
            assert self.state.running is not None
            assert self.state.running.id == turn_id

    @rule(content=texts, role=st.sampled_from(["user", "assistant", "system", "error"]))
    def posting(self, content: str, role: MessageRole) -> None:
        message_id = self.new_id()
        self.decide(lambda: post(self.state, message_id=message_id, role=role, content=content))

    @rule(title=texts)
    def renaming(self, title: str) -> None:
        self.decide(lambda: rename(self.state, title))

    @rule(which=st.integers(0, 50))
    def dropping(self, which: int) -> None:
        messages = self.state.messages
        message_id = messages[which % len(messages)].id if messages else "none"
        self.decide(lambda: drop_after(self.state, message_id))

    @rule(which=st.integers(0, 50))
    def asking_again(self, which: int) -> None:
        turns = list(self.state.turns)
        turn_id, new_turn_id = (turns[which % len(turns)] if turns else "none"), self.new_id()
        self.decide(lambda: ask_again(self.state, turn_id, new_turn_id=new_turn_id))

    @precondition(lambda self: self.state.running)
    @rule(content=texts, how=st.sampled_from(["finished", "cancelled", "failed", "interrupted"]))
    def ending(self, content: str, how: str) -> None:
        assert self.state.running is not None
        about = {
            "conversation_id": "c1",
            "turn_id": self.state.running.id,
            "message_id": self.new_id(),
            "content": content,
        }
        event: Event
        match how:
            case "failed":
                event = TurnFailed(**about, error_message_id=self.new_id(), error="It broke.")
            case "interrupted":
                event = TurnInterrupted(**about)
            case _:
                event = TurnFinished(**about, finish_reason="stop" if how == "finished" else "cancelled")
        self.happen([event])
        assert self.state.turn(about["turn_id"]).status == how

    @invariant()
    def at_most_one_turn_runs(self) -> None:
        assert sum(t.status == "running" for t in self.state.turns.values()) <= 1

    @invariant()
    def the_question_of_a_running_turn_is_there(self) -> None:
        if self.state.running:
            assert self.state.message(self.state.running.user_message_id).role == "user"

    @invariant()
    def message_ids_are_unique(self) -> None:
        ids = [m.id for m in self.state.messages]
        assert len(ids) == len(set(ids))

    @invariant()
    def messages_are_in_the_order_in_which_they_came(self) -> None:
        times = [m.created_at for m in self.state.messages]
        assert times == sorted(times)

    @invariant()
    def no_message_is_empty(self) -> None:
        assert all(m.content for m in self.state.messages)

    @invariant()
    def an_answer_belongs_to_a_turn_that_has_ended(self) -> None:
        for message in self.state.messages:
            if message.turn_id:
                assert self.state.turn(message.turn_id).status != "running"

    @invariant()
    def the_title_is_short(self) -> None:
        assert len(self.state.title) <= MAX_TITLE

    @invariant()
    def a_replay_gives_the_same_state(self) -> None:
        state = Conversation()
        for event, at in self.events:
            state = evolve(state, event, at)
        assert state == self.state

    def teardown(self) -> None:
        if self.events:
            self.happen([ConversationDeleted(conversation_id="c1")])
            assert self.state.running is None


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
