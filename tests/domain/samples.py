"""One example of every event there is."""

from domain.agents.events import AgentChanged, AgentCreated, AgentDeleted
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
    Usage,
)
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
from domain.users.events import AdminAppointed, EmailClaimed, SlugClaimed, UserIdleChanged, UserRegistered

SAMPLES: tuple[Event, ...] = (
    UserRegistered(
        user_id="u1",
        email="ada@example.org",
        name="Ada \u2603",
        slug="ada",
        role="admin",
        password_hash="$argon2id$",
    ),
    UserIdleChanged(user_id="u1", backend="demo", idle_seconds=0),
    EmailClaimed(user_id="u1"),
    SlugClaimed(user_id="u1"),
    AdminAppointed(user_id="u1"),
    SessionOpened(session_id="s1", user_id="u1", device="a browser", expires_at=2_000_000_000),
    SessionRevoked(session_id="s1", user_id="u1", reason="logout"),
    AgentCreated(agent_id="a1", user_id="u1", backend="demo", name="Demo", model="", ordinal=1),
    AgentChanged(agent_id="a1", name="Other", model="m"),
    AgentDeleted(agent_id="a1"),
    RunnerRequested(
        runner_id="r1",
        agent_id="a1",
        user_id="u1",
        backend="demo",
        container_name="demo-ada",
        engine="process",
        spec_hash="0f",
    ),
    RunnerStarted(runner_id="r1", handle="4711", host="127.0.0.1", port=21000, image=""),
    RunnerReady(runner_id="r1", seconds=0.125),
    RunnerFailed(runner_id="r1", stage="probing", message="no", exit_code=-9, out_of_memory=True, log_tail="x\ny"),
    RunnerStopped(runner_id="r1", reason="idle", exit_code=None),
    RunnerAdopted(runner_id="r1"),
    RunnerVanished(runner_id="r1"),
    ConversationStarted(conversation_id="c1", user_id="u1", agent_id="a1", backend="demo", model="demo", title=""),
    ConversationRenamed(conversation_id="c1", title="About \U0001f600"),
    ConversationDeleted(conversation_id="c1"),
    MessagePosted(conversation_id="c1", message_id="m1", role="user", content='"\\\n\x00\u2028'),
    MessagesDropped(conversation_id="c1", after_message_id="m1", count=2),
    TurnStarted(conversation_id="c1", turn_id="t1", user_message_id="m1", model="demo"),
    TurnFinished(
        conversation_id="c1",
        turn_id="t1",
        message_id="m2",
        content="Hi",
        finish_reason="stop",
        usage=Usage(prompt_tokens=1, completion_tokens=None, total_tokens=3),
    ),
    TurnFailed(
        conversation_id="c1", turn_id="t1", message_id="m2", content="", error_message_id="m3", error="It broke."
    ),
    TurnInterrupted(conversation_id="c1", turn_id="t1", message_id="m2", content="Hal"),
)
