"""projections.unreadable, and what the other read models make of events of which only the envelope is known."""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import trio
from structlog.typing import EventDict

from domain.agents.events import AgentCreated, AgentDeleted
from domain.catalogue import EVENT_TYPES
from domain.conversations.events import ConversationDeleted, ConversationStarted, MessagePosted
from domain.event import Event
from domain.invites.events import InviteCreated, InviteRevoked, InviteUsed
from domain.keys.events import KeyCleared, KeySet, KeyShared
from domain.sessions.events import SessionOpened, SessionRevoked
from domain.tokens.events import TokenCreated, TokenRevoked
from domain.users.events import (
    NO_PASSWORD,
    AdminAppointed,
    BudgetSet,
    PasswordChanged,
    UserDeleted,
    UserRegistered,
    UserRenamed,
)
from eventlog.codec import EventMapper
from eventlog.envelope import UNREADABLE, Recorded, StoredRecord, StreamAppend
from eventlog.log import EventLog, open_log
from projections.rebuilding import Rebuilder
from projections.store import FILE_NAME
from projections.unreadable import MOST, UnreadableEvents
from projections.users import Users
from projections.views import Views, find_unreadable, open_views
from tests.domain.samples import SAMPLES
from tests.harness.poison import append_unreadable
from tests.projections.histories import ORIGIN, record, unreadable

MAPPER = EventMapper(EVENT_TYPES)


def _user(id_: str) -> UserRegistered:
    return UserRegistered(
        user_id=id_, email=f"{id_}@example.org", name=id_, slug=id_, role="admin", password_hash="$argon2id$"
    )


def broken(position: int, stream: str, event_type: type[Event], owner: str = "u1") -> Recorded[Any]:
    """Return what is read of an event when its payload is nothing but noise."""
    noise = b"\xff noise"
    place = (position, stream, 9, event_type.TOPIC, noise)
    return MAPPER.record(StoredRecord(*place, 1_500_000, "system", "job", None, sha256(noise).digest(), owner))


def _views(*steps: tuple[str, Event], then: tuple[str, type[Event]] | None = None) -> Views:
    views = Views()
    views.apply(record(steps))
    if then:
        views.apply([broken(views.position + 1, *then)])
    return views


# -- what ends something is taken at its word --------------------------------------------------------------

USER, OTHER = ("user:u1", _user("u1")), ("user:u2", _user("u2"))
SESSIONS: list[tuple[str, Event]] = [
    (f"session:{u}", SessionOpened(session_id=f"s{n}{u}", user_id=u, device="", expires_at=10**10))
    for u in ("u1", "u2")
    for n in (1, 2)
]
TOKEN = (
    "token:t1",
    TokenCreated(token_id="t1", user_id="u1", name="t", hash="h", prefix="as-", scope="all", models=()),
)
INVITE = (
    "invite:i1",
    InviteCreated(invite_id="i1", user_id="u1", note="", hash="h", prefix="in-", uses=1, expires_at=10**10),
)
KEYS: list[tuple[str, Event]] = [
    (f"keys:{u}", KeySet(user_id=u, backend="", name=name, value="v")) for u in ("u1", "u2") for name in ("A", "B")
]
SHARED = ("keys:shared", KeyShared(name="A", shared=True))
POSTED = MessagePosted(conversation_id="c1", message_id="m1", role="user", content="Hello")
AGENT = (
    "agent:a1",
    AgentCreated(agent_id="a1", user_id="u1", backend="demo", name="a", model="", ordinal=1),
)
CONVERSATION = (
    "conversation:c1",
    ConversationStarted(conversation_id="c1", user_id="u1", agent_id="a1", backend="demo", model="", title=""),
)


def _is_gone_with_all(views: Views) -> bool:
    left = (views.sessions.of_user("u1"), views.keys.of_user("u1"), views.tokens.of_user("u1"))
    return views.users.find("u1") is None and not any(left) and len(views.sessions.of_user("u2")) == 2


ENDINGS: dict[str, tuple[list[tuple[str, Event]], str, type[Event], Callable[[Views], bool]]] = {
    "a sign-in": (
        SESSIONS,
        "session:u1",
        SessionRevoked,
        lambda v: not v.sessions.of_user("u1") and len(v.sessions.of_user("u2")) == 2,
    ),
    "a token": ([TOKEN], "token:t1", TokenRevoked, lambda v: v.tokens.find("t1") is None),
    "an invitation": ([INVITE], "invite:i1", InviteRevoked, lambda v: v.invites.find("i1") is None),
    "a use of an invitation": ([INVITE], "invite:i1", InviteUsed, lambda v: not v.invites.good(0.0)),
    "values": (
        KEYS,
        "keys:u1",
        KeyCleared,
        lambda v: not v.keys.of_user("u1") and len(v.keys.of_user("u2")) == 2,
    ),
    "sharing": ([SHARED], "keys:shared", KeyShared, lambda v: not v.keys.is_shared("A")),
    "an agent": ([AGENT], "agent:a1", AgentDeleted, lambda v: v.agents.find("a1") is None),
    "a conversation": (
        [CONVERSATION],
        "conversation:c1",
        ConversationDeleted,
        lambda v: v.conversations.find("c1") is None,
    ),
    "a password": (
        [USER],
        "user:u1",
        PasswordChanged,
        lambda v: (v.users.get("u1").password_hash, v.users.get("u1").password_changes) == (NO_PASSWORD, 1),
    ),
    "a value": (
        KEYS,
        "keys:u1",
        KeySet,
        lambda v: not v.keys.of_user("u1") and len(v.keys.of_user("u2")) == 2,
    ),
    "a budget": ([USER], "user:u1", BudgetSet, lambda v: v.users.get("u1").monthly_tokens == 0),
    "a user": ([USER, OTHER, *SESSIONS, TOKEN, *KEYS], "user:u1", UserDeleted, _is_gone_with_all),
}


@pytest.mark.parametrize("name", ENDINGS)
def test_what_was_ended_does_not_come_back_because_it_cannot_be_read_how(name: str) -> None:
    before, stream, event_type, is_over = ENDINGS[name]
    assert not is_over(_views(*before))
    assert is_over(_views(*before, then=(stream, event_type)))


HARMLESS = {
    "admin.appointed": "made from its envelope, see below",
    "agent.changed": "a name and a model",
    "agent.created": "an agent less: its conversations stay",
    "conversation.renamed": "a title",
    "conversation.started": "made from its envelope, see below",
    "email.claimed": "told by its type alone",
    "email.released": "told by its type alone",
    "invite.created": "an invitation less",
    "legacy.imported": "a note",
    "message.posted": "a message less",
    "messages.dropped": "which of the user's own words come back is for the user to see, and nobody else",
    "runner.adopted": "found out at the next start",
    "runner.failed": "found out at the next start",
    "runner.ready": "found out at the next start",
    "runner.requested": "found out at the next start",
    "runner.started": "found out at the next start",
    "runner.stopped": "found out at the next start",
    "runner.vanished": "found out at the next start",
    "session.opened": "a sign-in less",
    "slug.claimed": "told by its type alone",
    "token.created": "a token less",
    "turn.failed": "closed as interrupted at the next start",
    "turn.finished": "closed as interrupted at the next start",
    "turn.interrupted": "closed as interrupted at the next start",
    "turn.started": "a turn less",
    "usage.recorded": "what was used in two minutes",
    "user.idle_changed": "how long runners idle",
    "user.registered": "made from its envelope, see below",
    "user.renamed": "a name",
}
"""What is lost with an event that cannot be read, where that lets nobody in and nothing out."""


def test_of_every_event_it_is_said_what_its_loss_means() -> None:
    covered = {event_type.TOPIC for _, _, event_type, _ in ENDINGS.values()}
    assert covered | HARMLESS.keys() == {t.TOPIC for t in EVENT_TYPES}
    assert not covered & HARMLESS.keys()


def test_an_account_of_which_little_is_known_can_be_seen_and_nobody_can_sign_in_to_it() -> None:
    views = Views()
    views.apply([broken(1, "user:u1", UserRegistered), broken(2, "admin", AdminAppointed)])
    user = views.users.get("u1")
    assert (user.email, user.slug, user.role, user.password_hash) == ("", "u1", "admin", NO_PASSWORD)
    assert views.users.by_email("") is None


def test_an_address_that_is_none_harms_nothing() -> None:
    views = _views(("user:u1", _user("u1").model_copy(update={"email": "no address"})))
    assert views.problems == []
    assert views.users.get("u1").email == "no address"


def test_a_conversation_of_which_little_is_known_can_be_read_and_deleted() -> None:
    views = _views(USER)
    views.apply([broken(2, "conversation:c1", ConversationStarted)])
    views.apply(record([("conversation:c1", POSTED)], after=2))
    assert views.conversations.owned("c1", "u1").message_count == 1


@pytest.mark.parametrize("event", SAMPLES, ids=lambda e: e.TOPIC)
def test_an_event_that_cannot_be_read_harms_no_read_model(event: Event) -> None:
    views = _views(USER, OTHER, *SESSIONS, TOKEN, INVITE, *KEYS, SHARED, AGENT, CONVERSATION)
    for kind in ("user", "session", "token", "keys", "agent", "conversation", "runner", "usage", "odd"):
        views.apply([broken(views.position + 1, f"{kind}:u1", type(event))])
    assert [p.problem for p in views.all] == [""] * len(views.all)
    assert views.users.find("u2") is not None


def test_what_an_event_said_is_not_guessed() -> None:
    assert broken(1, "user:u1", UserRenamed).event is UNREADABLE
    views = _views(USER, then=("user:u1", UserRenamed))
    assert views.users.get("u1").name == "u1"


# -- the list ---------------------------------------------------------------------------------------------


def test_all_are_counted_and_the_first_are_listed() -> None:
    views = Views()
    for part in (MOST - 1, 1, 5):
        views.apply(unreadable(part, after=views.position))
    assert views.unreadable.count == MOST + 5
    assert [e.position for e in views.unreadable.listed()] == list(range(1, MOST + 1))
    assert views.problems == [views.unreadable.summary]
    assert f"{MOST + 5} events cannot be read" in views.unreadable.summary
    assert "#1 (any.type), #2 (any.type), #3 (any.type) and 1002 more" in views.unreadable.summary


def test_one_that_was_marked_before_is_not_marked_again() -> None:
    views = Views()
    for _ in range(2):
        views.apply(unreadable(3, after=0))
    assert views.unreadable.count == 3


def test_those_of_what_is_deleted_concern_nobody() -> None:
    views = _views(USER, OTHER, AGENT, CONVERSATION)
    views.apply([broken(5, "conversation:c1", ConversationStarted), broken(6, "user:u2", UserRenamed, "u2")])
    assert views.unreadable.count == 2
    views.apply(record([("conversation:c1", ConversationDeleted(conversation_id="c1"))], after=6))
    assert [e.position for e in views.unreadable.listed()] == [6]
    views.apply(record([("user:u2", UserDeleted(user_id="u2"))], after=7))
    assert views.problems == []


def test_those_that_are_not_listed_are_forgotten_with_their_stream_and_their_owner() -> None:
    views = _views(USER, OTHER, AGENT, CONVERSATION)
    views.apply(unreadable(MOST, after=4))
    views.apply(
        [broken(MOST + 5, "conversation:c1", MessagePosted), broken(MOST + 6, "user:u2", UserRenamed, "u2")]
    )
    assert views.unreadable.count == MOST + 2
    views.apply(record([("conversation:c1", ConversationDeleted(conversation_id="c1"))], after=MOST + 6))
    assert views.unreadable.count == MOST + 1
    views.apply(record([("user:u2", UserDeleted(user_id="u2"))], after=MOST + 7))
    assert views.unreadable.count == MOST


def test_what_was_said_anew_need_not_be_read() -> None:
    views = _views(USER)
    views.apply([broken(2, "user:u1", PasswordChanged), broken(3, "user:u1", BudgetSet)])
    views.apply([broken(4, "user:u1", UserRenamed)])
    anew = [PasswordChanged(user_id="u1", password_hash="$argon2id$new"), BudgetSet(user_id="u1", monthly_tokens=5)]
    views.apply(record([("user:u1", event) for event in anew], after=4))
    assert [e.type for e in views.unreadable.listed()] == ["user.renamed"]
    assert (views.users.get("u1").password_hash, views.users.get("u1").monthly_tokens) == ("$argon2id$new", 5)


def test_what_is_deleted_later_in_the_same_commit_is_not_left_marked() -> None:
    found = UnreadableEvents()
    deleted = record([("user:u1", UserDeleted(user_id="u1"))], after=1)
    found.apply([broken(1, "user:u1", UserRenamed), *deleted])
    assert found.count == 0


async def test_a_program_that_knows_other_shapes_looks_through_the_whole_log_while_it_serves(
    tmp_path: Path,
) -> None:
    async with open_log(tmp_path, MAPPER) as log:
        await _write(log)
        with patch.object(UnreadableEvents, "version", 1), patch.object(UnreadableEvents, "_mark", lambda *_: None):
            async with open_views(tmp_path, log) as views:
                assert views.unreadable.position == 2  # It could read all of them, as far as that goes.
        assert find_unreadable(tmp_path, log.reader).count == 1
        for _ in range(2):
            async with open_views(tmp_path, log) as views, trio.open_nursery() as nursery:
                assert views.unreadable.is_postponed
                assert views.problems == ["Read model unreadable: The log is still being looked through."]
                assert find_unreadable(tmp_path, log.reader).count == 1
                assert views.users.position == 2
        async with open_views(tmp_path, log) as views, trio.open_nursery() as nursery:
            rebuilder = Rebuilder(log, views, nursery)
            rebuilder.start("unreadable")
            while rebuilder.running:
                await trio.sleep(0.01)
            assert views.unreadable.count == 1
            assert not views.unreadable.is_postponed
        async with open_views(tmp_path, log) as views:
            assert not views.unreadable.is_postponed
            assert views.unreadable.count == 1


async def _write(log: EventLog) -> None:
    await log.append(StreamAppend("user:u1", 0, [_user("u1")]), origin=ORIGIN)
    await append_unreadable(log, "user:u1", UserRenamed, user_id="u1", name="Countess")


async def test_what_a_newer_program_can_read_is_read_at_its_next_start(tmp_path: Path) -> None:
    async with open_log(tmp_path, MAPPER) as log:
        await _write(log)
        async with open_views(tmp_path, log) as views:
            assert [e.position for e in views.unreadable.listed()] == [2]
            assert views.users.get("u1").name == "u1"
    with patch.object(EventMapper, "_event", _reading_all(EventMapper._event)):
        async with open_log(tmp_path, MAPPER) as log:
            assert find_unreadable(tmp_path, log.reader).count == 0
            async with open_views(tmp_path, log) as views:
                assert views.problems == []
                assert views.users.get("u1").name == "Countess"


def _reading_all(original: Any) -> Any:
    def event(self: EventMapper, topic: str, payload: bytes, *, erased: bool) -> Any:
        return original(self, topic, payload.replace(b',"odd":true', b""), erased=erased)

    return event


async def test_those_that_stay_unreadable_do_not_have_everything_read_anew(tmp_path: Path) -> None:
    for start in (1, 2, 3):
        async with open_log(tmp_path, MAPPER) as log:
            if start == 1:
                await _write(log)
            with patch.object(Users, "apply", autospec=True, side_effect=Users.apply) as applied:
                async with open_views(tmp_path, log) as views:
                    assert views.unreadable.count == 1
            assert bool(applied.call_count) == (start == 1)


async def test_they_are_found_without_a_saved_copy_and_with_one_of_another_log(tmp_path: Path) -> None:
    async with open_log(tmp_path, MAPPER) as log:
        await _write(log)
        assert find_unreadable(tmp_path, log.reader).count == 1
        async with open_views(tmp_path, log):
            pass
        assert find_unreadable(tmp_path, log.reader).count == 1
        for odd in (b"", b"no database at all"):
            (tmp_path / FILE_NAME).write_bytes(odd)
            assert find_unreadable(tmp_path, log.reader).count == 1


def test_the_list_itself_names_no_more_than_it_says(logged: list[EventDict]) -> None:
    found = UnreadableEvents()
    found.apply(unreadable(MOST + 7, after=0))
    assert len([e for e in logged if e["event"] == "event_unreadable"]) == MOST
