"""Every handler of every projection."""

from typing import Any

import pytest

from domain.agents.events import AgentChanged, AgentCreated, AgentDeleted
from domain.catalogue import EVENT_TYPES
from domain.conversations.events import (
    ConversationDeleted,
    ConversationRenamed,
    ConversationStarted,
    MessagePosted,
    MessagesDropped,
    TurnFailed,
    TurnFinished,
    TurnInterrupted,
    TurnStarted,
)
from domain.errors import NotFound
from domain.event import Event
from domain.runners.events import (
    RunnerAdopted,
    RunnerFailed,
    RunnerReady,
    RunnerRequested,
    RunnerStarted,
    RunnerStopped,
    RunnerVanished,
)
from domain.sessions.events import SessionOpened, SessionRevoked
from domain.users.events import Role, UserIdleChanged, UserRegistered
from domain.users.rules import normal_email
from projections.views import Views
from tests.projections.histories import record


def _views(*events: Event) -> Views:
    """Return views of events that all are in one stream, at the times 1001, 1002, ..."""
    views = Views()
    views.apply(record([("stream", e) for e in events]))
    return views


def _user(id_: str, *, role: Role = "user") -> UserRegistered:
    return UserRegistered(
        user_id=id_,
        email=f"  {id_.upper()}@Example.org",
        name=id_,
        slug=f"slug-{id_}",
        role=role,
        password_hash="h",
    )


def _agent(id_: str, *, user: str = "u1", backend: str = "demo", ordinal: int = 1) -> AgentCreated:
    return AgentCreated(agent_id=id_, user_id=user, backend=backend, name=id_, model="", ordinal=ordinal)


def _started(id_: str, *, user: str = "u1", backend: str = "demo", agent: str = "a1") -> ConversationStarted:
    return ConversationStarted(
        conversation_id=id_, user_id=user, agent_id=agent, backend=backend, model="m", title="T"
    )


def _requested(id_: str = "r1", agent: str = "a1") -> RunnerRequested:
    return RunnerRequested(
        runner_id=id_,
        agent_id=agent,
        user_id="u1",
        backend="demo",
        container_name="demo-u1",
        engine="process",
        spec_hash="0f",
    )


def test_every_event_but_claims_releases_and_the_import_is_handled_by_somebody() -> None:
    handled = {t for p in Views().all for t in p.on}
    unhandled = {t.TOPIC for t in EVENT_TYPES if t not in handled}
    assert unhandled == {"email.claimed", "email.released", "slug.claimed", "legacy.imported"}


def test_an_event_that_was_applied_before_is_passed_over() -> None:
    views = Views()
    records = record([("c", _started("c1")), ("c", _posted("m1"))])
    views.apply(records)
    views.apply(records)
    assert views.conversations.owned("c1", "u1").message_count == 1
    assert views.position == 2


# -- users ------------------------------------------------------------------------------------------------


def test_a_user_is_found_by_id_address_and_slug() -> None:
    users = _views(_user("u1"), _user("u2", role="admin")).users
    assert [u.id for u in users.all()] == ["u1", "u2"]
    assert users.get("u1").created_at == 1001.0
    assert users.find("u3") is None
    assert users.by_email(normal_email("u1@example.org")) == users.get("u1")
    assert users.by_email("u3@example.org") is None
    assert users.slug_taken("slug-u1")
    assert not users.slug_taken("slug-u3")
    with pytest.raises(NotFound):
        users.get("u3")


def test_the_admin_is_known_once_there_is_one() -> None:
    assert _views(_user("u1")).users.admin() is None
    admin = _views(_user("u1"), _user("u2", role="admin")).users.admin()
    assert admin is not None
    assert admin.id == "u2"


def test_an_idle_choice_is_per_user_and_backend_and_the_last_counts() -> None:
    users = _views(
        _user("u1"),
        UserIdleChanged(user_id="u1", backend="demo", idle_seconds=60),
        UserIdleChanged(user_id="u1", backend="other", idle_seconds=0),
        UserIdleChanged(user_id="u1", backend="demo", idle_seconds=90),
    ).users
    assert users.idle_choice("u1", "demo") == 90
    assert users.idle_choice("u1", "other") == 0
    assert users.idle_choice("u2", "demo") is None


# -- sessions ---------------------------------------------------------------------------------------------


def _opened(id_: str, expires: int, user: str = "u1") -> SessionOpened:
    return SessionOpened(session_id=id_, user_id=user, device="d", expires_at=expires)


def test_a_session_lives_until_it_expires() -> None:
    sessions = _views(_opened("s1", 2000)).sessions
    live = sessions.live("s1", 1999.9)
    assert live is not None
    assert (live.user_id, live.device, live.created_at) == ("u1", "d", 1001.0)
    assert sessions.live("s1", 2000.0) is None
    assert sessions.live("s2", 0.0) is None


def test_a_revoked_session_is_gone() -> None:
    sessions = _views(_opened("s1", 2000), SessionRevoked(session_id="s1", user_id="u1", reason="logout")).sessions
    assert sessions.live("s1", 0.0) is None
    assert sessions.of_user("u1") == []


def test_expired_sessions_of_a_user_fall_out_at_the_next_sign_in() -> None:
    sessions = _views(
        _opened("s1", 1003), _opened("s2", 1004), _opened("other", 1, user="u2"), _opened("s3", 9000)
    ).sessions
    assert [s.id for s in sessions.of_user("u1")] == ["s3"]
    assert [s.id for s in sessions.of_user("u2")] == ["other"]


# -- agents -----------------------------------------------------------------------------------------------


def test_agents_are_listed_by_user_and_backend_oldest_first() -> None:
    agents = _views(
        _agent("a2", ordinal=2), _agent("a1"), _agent("b1", backend="other"), _agent("x1", user="u2")
    ).agents
    assert [a.id for a in agents.of_user("u1")] == ["a2", "a1", "b1"]
    assert [a.id for a in agents.of_backend("u1", "demo")] == ["a2", "a1"]
    first = agents.first("u1", "demo")
    assert first is not None
    assert first.id == "a1"
    assert agents.first("u2", "other") is None


def test_an_agent_is_its_owners_alone() -> None:
    agents = _views(_agent("a1")).agents
    assert agents.owned("a1", "u1").id == "a1"
    for agent, user in (("a1", "u2"), ("a2", "u1")):
        with pytest.raises(NotFound):
            agents.owned(agent, user)


def test_a_changed_agent_has_its_new_name_model_and_time() -> None:
    agent = _views(_agent("a1"), AgentChanged(agent_id="a1", name="New", model="m")).agents.owned("a1", "u1")
    assert (agent.name, agent.model, agent.created_at, agent.updated_at) == ("New", "m", 1001.0, 1002.0)


def test_a_deleted_agent_is_gone_and_a_late_change_does_not_bring_it_back() -> None:
    agents = _views(
        _agent("a1"), AgentDeleted(agent_id="a1"), AgentChanged(agent_id="a1", name="N", model="")
    ).agents
    assert agents.find("a1") is None
    assert agents.of_user("u1") == []


# -- runners ----------------------------------------------------------------------------------------------

STARTED = RunnerStarted(runner_id="r1", handle="4711", host="127.0.0.1", port=21000, image="i")
READY = RunnerReady(runner_id="r1", seconds=0.5)
FAILED = RunnerFailed(runner_id="r1", stage="probing", message="no")
STOPPED = RunnerStopped(runner_id="r1", reason="idle")


@pytest.mark.parametrize(
    ("events", "status", "alive", "version"),
    [
        ([], "requested", True, 1),
        ([STARTED], "started", True, 2),
        ([STARTED, READY], "ready", True, 3),
        ([STARTED, READY, RunnerAdopted(runner_id="r1")], "ready", True, 4),
        ([FAILED], "failed", False, 2),
        ([STARTED, READY, FAILED], "failed", False, 4),
        ([STARTED, READY, STOPPED], "stopped", False, 4),
        ([STARTED, READY, RunnerVanished(runner_id="r1")], "stopped", False, 4),
    ],
)
def test_a_runner_has_the_status_of_its_last_event(
    events: list[Event], status: str, *, alive: bool, version: int
) -> None:
    runners = _views(_requested(), *events).runners
    runner = runners.of_agent("a1")
    assert runner is not None
    assert (runner.status, runner.alive, runner.version) == (status, alive, version)
    assert runners.alive() == ([runner] if alive else [])


def test_a_runner_knows_where_it_listens_and_when_it_became_ready() -> None:
    runner = _views(_requested(), STARTED, READY).runners.of_agent("a1")
    assert runner is not None
    assert (runner.handle, runner.host, runner.port, runner.image) == ("4711", "127.0.0.1", 21000, "i")
    assert (runner.requested_at, runner.ready_at) == (1001.0, 1003.0)


def test_an_agent_has_its_newest_runner_and_late_news_of_the_one_before_is_passed_over() -> None:
    runners = _views(_requested("r1"), READY, _requested("r2"), STOPPED).runners
    runner = runners.of_agent("a1")
    assert runner is not None
    assert (runner.runner_id, runner.status, runner.ready_at) == ("r2", "requested", 0.0)
    assert runners.of_agent("a2") is None


def test_the_runner_of_a_deleted_agent_is_forgotten_when_it_has_ended() -> None:
    assert _views(_requested(), STOPPED, AgentDeleted(agent_id="a1")).runners.of_agent("a1") is None
    assert _views(_requested(), AgentDeleted(agent_id="a1")).runners.of_agent("a1") is not None


def test_the_runner_of_a_deleted_agent_is_forgotten_when_it_ends_later() -> None:
    assert _views(_requested(), AgentDeleted(agent_id="a1"), STOPPED).runners.of_agent("a1") is None


# -- conversations ----------------------------------------------------------------------------------------


def _posted(id_: str, conversation: str = "c1") -> MessagePosted:
    return MessagePosted(conversation_id=conversation, message_id=id_, role="user", content="Hello")


ASKED = [_posted("m1"), TurnStarted(conversation_id="c1", turn_id="t1", user_message_id="m1", model="m")]


def test_a_conversation_starts_empty() -> None:
    summary = _views(_started("c1")).conversations.owned("c1", "u1")
    assert (summary.title, summary.message_count, summary.running_turn) == ("T", 0, "")
    assert summary.created_at == summary.updated_at == 1001.0


def test_a_conversation_is_its_owners_alone() -> None:
    conversations = _views(_started("c1")).conversations
    assert conversations.find("c2") is None
    for conversation, user in (("c1", "u2"), ("c2", "u1")):
        with pytest.raises(NotFound):
            conversations.owned(conversation, user)


def test_a_rename_is_no_activity() -> None:
    summary = _views(_started("c1"), ConversationRenamed(conversation_id="c1", title="New")).conversations.find(
        "c1"
    )
    assert summary is not None
    assert (summary.title, summary.updated_at) == ("New", 1001.0)


def _ending(kind: str, content: str) -> Event:
    about: dict[str, Any] = {"conversation_id": "c1", "turn_id": "t1", "message_id": "m2", "content": content}
    match kind:
        case "finished":
            return TurnFinished(**about, finish_reason="stop")
        case "failed":
            return TurnFailed(**about, error_message_id="m3", error="Oh")
        case _:
            return TurnInterrupted(**about)


@pytest.mark.parametrize(
    ("kind", "content", "messages"),
    [
        ("finished", "Hi", 2),
        ("finished", "", 1),
        ("failed", "H", 3),
        ("failed", "", 2),
        ("interrupted", "H", 2),
        ("interrupted", "", 1),
    ],
)
def test_a_turn_runs_until_it_ends_and_its_messages_are_counted(kind: str, content: str, messages: int) -> None:
    asked = _views(_started("c1"), *ASKED).conversations
    assert [c.running_turn for c in asked.with_running_turn()] == ["t1"]
    ended = _views(_started("c1"), *ASKED, _ending(kind, content)).conversations
    assert ended.with_running_turn() == []
    summary = ended.owned("c1", "u1")
    assert (summary.message_count, summary.updated_at) == (messages, 1004.0)


def test_dropped_messages_are_no_longer_counted() -> None:
    dropped = MessagesDropped(conversation_id="c1", after_message_id="m1", count=2)
    events = [_started("c1"), _posted("m1"), _posted("m2"), _posted("m3"), dropped]
    assert _views(*events).conversations.owned("c1", "u1").message_count == 1


def test_conversations_are_listed_by_activity_and_ranked_by_creation() -> None:
    conversations = _views(
        _started("c1"), _started("c2"), _started("b1", backend="other", agent="a2"), _posted("m1", "c1")
    ).conversations
    assert [c.id for c in conversations.of_user("u1")] == ["c1", "b1", "c2"]
    assert conversations.ranks("u1", "demo") == {"c1": 1, "c2": 2}
    assert [c.id for c in conversations.of_agent("a1")] == ["c1", "c2"]
    assert conversations.of_user("u2") == []


def test_a_deleted_conversation_is_gone_and_late_news_does_not_bring_it_back() -> None:
    conversations = _views(
        _started("c1"), *ASKED, ConversationDeleted(conversation_id="c1"), _ending("finished", "Hi")
    ).conversations
    assert conversations.find("c1") is None
    assert conversations.of_agent("a1") == []
    assert conversations.with_running_turn() == []
