"""Recorded events without a log, and random histories of everything that users do."""

from collections import defaultdict
from collections.abc import Iterable
from itertools import count
from random import Random
from typing import Any

from domain.agents.events import AgentChanged, AgentCreated, AgentDeleted
from domain.conversations import state as rules
from domain.conversations.events import (
    ConversationDeleted,
    ConversationRenamed,
    ConversationStarted,
    TurnFailed,
    TurnFinished,
    TurnInterrupted,
)
from domain.conversations.state import Conversation
from domain.event import Event
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
    BudgetSet,
    EmailReleased,
    PasswordChanged,
    UserDeleted,
    UserIdleChanged,
    UserRenamed,
)
from domain.users.rules import register
from eventlog.envelope import UNREADABLE, Origin, Recorded
from projections.views import Views

ORIGIN = Origin("system", "test")
Step = tuple[str, Event]
"""A stream and its next event."""


def record(steps: Iterable[Step], *, after: int = 0) -> list[Recorded[Any]]:
    """Return events as the log would give them, one second apart."""
    versions: dict[str, int] = defaultdict(int)
    found = []
    for position, (stream, event) in enumerate(steps, start=after + 1):
        versions[stream] += 1
        found.append(Recorded(position, stream, versions[stream], event.TOPIC, 1000.0 + position, ORIGIN, event))
    return found


def unreadable(count: int, *, after: int) -> list[Recorded[Any]]:
    """Return so many events that cannot be read."""
    return [
        Recorded(
            position, "stream:1", position, "any.type", 1000.0, ORIGIN, UNREADABLE, problem=f"broken {position}"
        )
        for position in range(after + 1, after + count + 1)
    ]


def rows(views: Views) -> dict[str, list[Any]]:
    """Return the rows of every table in their order."""
    return {t.name: list(t) for p in views.all for t in p.tables}


def history(random: Random, length: int) -> list[Step]:
    """Return at least `length` events that could have happened in this order."""
    made = _History(random)
    while len(made.steps) < length:
        random.choice(made.deeds)()
    return made.steps


class _History:
    def __init__(self, random: Random) -> None:
        self.random = random
        self.ids = count(1)
        self.steps: list[Step] = []
        self.users: list[str] = []
        """The admin is the first, and stays."""
        self.tokens: list[tuple[str, str]] = []
        self.invites: list[str] = []
        self.agents: list[tuple[str, str]] = []
        self.sessions: list[tuple[str, str]] = []
        self.runners: dict[str, str] = {}
        self.conversations: dict[str, Conversation] = {}
        self.deeds = [
            *[self.user] * 2,
            *(self.account, self.token, self.invite, self.key, self.usage, self.deletion),
            *[self.session] * 2,
            *[self.agent] * 3,
            *[self.runner] * 3,
            *[self.conversation] * 10,
        ]

    def id(self) -> str:
        return f"{next(self.ids):06}"

    def add(self, stream: str, *events: Event) -> None:
        self.steps += [(stream, e) for e in events]

    def user(self) -> None:
        if self.users and self.random.random() < 0.5:
            user = self.random.choice(self.users)
            self.add(f"user:{user}", UserIdleChanged(user_id=user, backend="demo", idle_seconds=len(self.steps)))
            return
        user = self.id()
        events = register(
            user_id=user,
            email=f"u{user}@example.org",
            name=user,
            slug=user,
            role="user" if self.users else "admin",
            password_hash="-",
            email_key=user,
        )
        for stream, event in events.items():
            self.add(stream, event)
        self.users.append(user)

    def account(self) -> None:
        """Change an account; nobody but the user of that stream cares."""
        if self.users:
            user = self.random.choice(self.users)
            event = self.random.choice(
                [
                    UserRenamed(user_id=user, name=self.id()),
                    PasswordChanged(user_id=user, password_hash=self.id()),
                    BudgetSet(user_id=user, monthly_tokens=self.random.choice([None, 0, 1000])),
                ]
            )
            self.add(f"user:{user}", event)

    def token(self) -> None:
        if self.tokens and self.random.random() < 0.3:
            token, user = self.tokens.pop(self.random.randrange(len(self.tokens)))
            self.add(f"token:{token}", TokenRevoked(token_id=token, user_id=user))
        elif self.users:
            token, user = self.id(), self.random.choice(self.users)
            about = {"token_id": token, "user_id": user, "hash": token, "prefix": "as-"}
            self.add(f"token:{token}", TokenCreated(**about, name="T", scope="v1", models=("demo", "other")))
            self.tokens.append((token, user))

    def invite(self) -> None:
        if self.invites and self.random.random() < 0.5:
            invite = self.random.choice(self.invites)
            events = [InviteUsed(invite_id=invite, user_id=self.id()), InviteRevoked(invite_id=invite)]
            self.add(f"invite:{invite}", self.random.choice(events))
        elif self.users:
            invite = self.id()
            about = {"invite_id": invite, "user_id": self.users[0], "hash": invite, "prefix": "inv-"}
            expires = self.random.choice([1000 + len(self.steps) + 20, 10**6])
            self.add(f"invite:{invite}", InviteCreated(**about, note="N", uses=2, expires_at=expires))
            self.invites.append(invite)

    def key(self) -> None:
        if not self.users:
            return
        user, name = self.random.choice(self.users), self.random.choice(["LLM_API_KEY", "LLM_MODEL"])
        about = {"user_id": user, "backend": self.random.choice(["", "demo"]), "name": name}
        event = self.random.choice(
            [KeySet(**about, value=self.id()), KeyCleared(**about), KeyShared(name=name, shared=True)]
        )
        self.add("keys:shared" if isinstance(event, KeyShared) else f"keys:{user}", event)

    def usage(self) -> None:
        if not self.agents:
            return
        agent, user = self.random.choice(self.agents)
        since = self.random.randrange(0, 100 * 86_400)
        tally = Tally(
            agent_id=agent,
            backend="demo",
            model=self.random.choice(["demo", "other"]),
            requests=3,
            errors=1,
            prompt_tokens=self.random.randrange(100),
            completion_tokens=7,
            unknown=1,
        )
        used = {t: since for t, owner in self.tokens if owner == user}
        event = UsageRecorded(user_id=user, since=since, until=since + 9, tallies=(tally,), tokens_used=used)
        self.add(f"usage:{user}", event)

    def deletion(self) -> None:
        """Delete a user, as `supervisors.commands.deletion` does."""
        if len(self.users) < 3 or self.random.random() < 0.5:
            return
        user = self.users.pop(self.random.randrange(1, len(self.users)))
        gone = {a for a, owner in self.agents if owner == user}
        for state in [c for c in self.conversations.values() if c.user_id == user]:
            self.add(f"conversation:{state.id}", ConversationDeleted(conversation_id=state.id))
            del self.conversations[state.id]
        for agent in sorted(gone):
            self.add(f"agent:{agent}", AgentDeleted(agent_id=agent))
        self.add(f"email:{user}", EmailReleased(user_id=user))
        self.add(f"user:{user}", UserDeleted(user_id=user))
        for runner in [r for r, agent in self.runners.items() if agent in gone]:
            self.add(f"runner:{runner}", RunnerStopped(runner_id=runner, reason="agent_deleted"))
            del self.runners[runner]
        self.agents = [a for a in self.agents if a[1] != user]
        self.sessions = [s for s in self.sessions if s[1] != user]
        self.tokens = [t for t in self.tokens if t[1] != user]

    def session(self) -> None:
        if self.sessions and self.random.random() < 0.4:
            session, user = self.sessions.pop(self.random.randrange(len(self.sessions)))
            self.add(f"session:{user}", SessionRevoked(session_id=session, user_id=user, reason="logout"))
        elif self.users:
            session, user = self.id(), self.random.choice(self.users)
            expires = self.random.choice([1000 + len(self.steps) + 10, 10**6])
            self.add(
                f"session:{user}", SessionOpened(session_id=session, user_id=user, device="d", expires_at=expires)
            )
            self.sessions.append((session, user))

    def agent(self) -> None:
        if not self.users:
            return
        if len(self.agents) < 2 or self.random.random() < 0.4:
            agent, user = self.id(), self.random.choice(self.users)
            backend = self.random.choice(["demo", "other"])
            self.add(
                f"agent:{agent}",
                AgentCreated(agent_id=agent, user_id=user, backend=backend, name="A", model="", ordinal=1),
            )
            self.agents.append((agent, user))
        elif self.random.random() < 0.6:
            agent, _ = self.random.choice(self.agents)
            self.add(f"agent:{agent}", AgentChanged(agent_id=agent, name=self.id(), model="m"))
        else:
            agent, _ = self.agents.pop(self.random.randrange(len(self.agents)))
            self.add(f"agent:{agent}", AgentDeleted(agent_id=agent))

    def runner(self) -> None:
        if self.runners and self.random.random() < 0.8:
            runner = self.random.choice(list(self.runners))
            event = self.random.choice(
                [
                    RunnerStarted(runner_id=runner, handle="1", host="h", port=1, image="i"),
                    RunnerReady(runner_id=runner, seconds=0.5),
                    RunnerAdopted(runner_id=runner),
                    RunnerFailed(runner_id=runner, stage="probing", message="no"),
                    RunnerStopped(runner_id=runner, reason="idle"),
                    RunnerVanished(runner_id=runner),
                ]
            )
            self.add(f"runner:{runner}", event)
            if isinstance(event, RunnerFailed | RunnerStopped | RunnerVanished):
                del self.runners[runner]
        elif self.agents:
            runner, (agent, user) = self.id(), self.random.choice(self.agents)
            self.add(
                f"runner:{runner}",
                RunnerRequested(
                    runner_id=runner,
                    agent_id=agent,
                    user_id=user,
                    backend="demo",
                    container_name="c",
                    engine="process",
                    spec_hash="0",
                ),
            )
            self.runners[runner] = agent

    def conversation(self) -> None:
        if not self.agents:
            return
        if not self.conversations or self.random.random() < 0.1:
            agent, user = self.random.choice(self.agents)
            self.tell(
                Conversation(),
                ConversationStarted(
                    conversation_id=self.id(), user_id=user, agent_id=agent, backend="demo", model="m", title=""
                ),
            )
            return
        state = self.random.choice(list(self.conversations.values()))
        chance = self.random.random()
        if chance < 0.03:
            self.add(f"conversation:{state.id}", ConversationDeleted(conversation_id=state.id))
            del self.conversations[state.id]
        elif state.running:
            about = {
                "conversation_id": state.id,
                "turn_id": state.running.id,
                "message_id": self.id(),
                "content": self.random.choice(["", "An answer."]),
            }
            self.tell(
                state,
                self.random.choice(
                    [
                        TurnFinished(**about, finish_reason="stop"),
                        TurnFailed(**about, error_message_id=self.id(), error="It broke."),
                        TurnInterrupted(**about),
                    ]
                ),
            )
        elif chance < 0.2 and state.messages:
            self.tell(state, *rules.drop_after(state, self.random.choice(state.messages).id))
        elif chance < 0.3 and state.turns:
            turn = list(state.turns.values())[-1]
            if any(m.id == turn.user_message_id for m in state.messages):
                self.tell(state, *rules.ask_again(state, turn.id, new_turn_id=self.id()))
        elif chance < 0.4:
            self.tell(state, ConversationRenamed(conversation_id=state.id, title=self.id()))
        else:
            self.tell(state, *rules.ask(state, turn_id=self.id(), message_id=self.id(), content="Q", model="m"))

    def tell(self, state: Conversation, *events: Event) -> None:
        for event in events:
            state = rules.evolve(state, event, float(len(self.steps)))
            self.add(f"conversation:{state.id}", event)
        if events:
            self.conversations[state.id] = state
