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
from domain.imports.events import LegacyImported
from domain.invites.events import InviteCreated, InviteRevoked, InviteUsed
from domain.keys.events import KeyCleared, KeySet, KeyShared
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
from domain.tokens.events import TokenCreated, TokenRevoked
from domain.usage.events import Tally, UsageRecorded
from domain.users.events import (
    AdminAppointed,
    BudgetSet,
    EmailClaimed,
    EmailReleased,
    PasswordChanged,
    SlugClaimed,
    UserDeleted,
    UserIdleChanged,
    UserRegistered,
    UserRenamed,
)

SAMPLES: tuple[Event, ...] = (
    UserRegistered(
        user_id="u1",
        email="ada@example.org",
        name="Ada \u2603",
        slug="ada",
        role="admin",
        password_hash="$argon2id$",
    ),
    UserRenamed(user_id="u1", name="Countess"),
    PasswordChanged(user_id="u1", password_hash="$argon2id$other"),
    UserIdleChanged(user_id="u1", backend="demo", idle_seconds=0),
    BudgetSet(user_id="u1", monthly_tokens=None),
    UserDeleted(user_id="u1"),
    EmailClaimed(user_id="u1"),
    EmailReleased(user_id="u1"),
    SlugClaimed(user_id="u1"),
    AdminAppointed(user_id="u1"),
    SessionOpened(session_id="s1", user_id="u1", device="a browser", expires_at=2_000_000_000),
    SessionRevoked(session_id="s1", user_id="u1", reason="logout"),
    TokenCreated(
        token_id="k1",
        user_id="u1",
        name="Laptop",
        hash="0f" * 32,
        prefix="as-abcdefg",
        scope="v1",
        models=("demo",),
        expires_at=None,
    ),
    TokenRevoked(token_id="k1", user_id="u1"),
    InviteCreated(
        invite_id="i1",
        user_id="u1",
        note="For Grace",
        hash="0f" * 32,
        prefix="inv-abcdef",
        uses=2,
        expires_at=2_000_000_000,
    ),
    InviteUsed(invite_id="i1", user_id="u2"),
    InviteRevoked(invite_id="i1"),
    LegacyImported(digest="0f" * 32, counts={"users": 2}),
    KeySet(user_id="u1", backend="", name="LLM_API_KEY", value="sk-\u00e4"),
    KeyCleared(user_id="u1", backend="demo", name="LLM_API_KEY"),
    KeyShared(name="LLM_API_KEY", shared=True),
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
    UsageRecorded(
        user_id="u1",
        since=86_400,
        until=86_500,
        tallies=(
            Tally(
                agent_id="a1",
                backend="demo",
                model="demo",
                requests=3,
                errors=1,
                prompt_tokens=10,
                completion_tokens=20,
                unknown=1,
            ),
        ),
        tokens_used={"k1": 86_450},
    ),
)
