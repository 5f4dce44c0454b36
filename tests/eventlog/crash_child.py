"""A program that appends to one data folder and kills itself in the middle of a commit, again and again.

It is a fork server: it imports everything once and runs no trio itself. For every line of JSON on its standard
input (`seed`, `folder`, `point`, `commit`) it forks a child, which appends from several tasks until it has reached
`point` for the `commit`-th time, and there ends itself with SIGKILL. The child writes `ack <position> <stream>
<version>` for every event as soon as it is acknowledged; the server writes `end <status>` when the child is gone.
"""

import json
import logging
import os
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import structlog
import trio

import projections.views
from domain.agents.events import AgentChanged, AgentCreated, AgentDeleted
from domain.catalogue import EVENT_TYPES
from domain.conversations import state as rules
from domain.conversations.events import ConversationDeleted, ConversationStarted, TurnFailed, TurnFinished
from domain.conversations.state import Conversation
from domain.errors import DomainError
from domain.event import Event
from domain.ids import new_id
from domain.runners.events import RunnerReady, RunnerRequested, RunnerStarted, RunnerStopped
from domain.sessions.events import SessionOpened, SessionRevoked
from domain.users.rules import register
from eventlog.codec import EventMapper
from eventlog.envelope import Origin, Recorded, StreamAppend
from eventlog.errors import StreamConflictError
from eventlog.log import EventLog, open_log
from eventlog.repository import Repository
from projections.views import Views, open_views

TASKS = 5
ORIGIN = Origin("system", "crash")
MAPPER = EventMapper(EVENT_TYPES)


class Worker:
    """One of the tasks: does what users do, at random, for ever."""

    def __init__(self, log: EventLog, views: Views, conversations: Repository[Conversation], seed: str) -> None:
        self.log = log
        self.views = views
        self.conversations = conversations
        self.random = Random(seed)

    async def run(self) -> None:
        """Work until the process ends."""
        while True:
            try:
                await self.random.choice(
                    [
                        self.sign_up,
                        self.sign_up_again,
                        self.agent,
                        self.converse,
                        self.converse,
                        self.start,
                        self.sign_in,
                    ]
                )()
            except (StreamConflictError, DomainError):
                await trio.lowlevel.checkpoint()

    def id(self) -> str:
        """Return a new id."""
        return new_id(1_700_000_000 + self.random.random() * 1e6)

    async def append(self, *appends: tuple[str, int, Sequence[Event]]) -> None:
        """Append, and tell the parent as soon as it is acknowledged."""
        acknowledge(await self.log.append(*(StreamAppend(*a) for a in appends), origin=ORIGIN))

    async def sign_up(self) -> None:
        """Append to three streams at once."""
        await self.register(self.id())

    async def sign_up_again(self) -> None:
        """Run into the unique address of somebody else, after a stream that is free."""
        if users := self.views.users.all():
            await self.register(self.random.choice(users).slug)

    async def register(self, slug: str) -> None:
        """Make an account."""
        events = register(
            user_id=self.id(),
            email=f"{slug}@example.org",
            name="Somebody",
            slug=slug,
            role="user",
            password_hash="-",
            email_key=slug,
        )
        await self.append(*((s, 0, [e]) for s, e in reversed(events.items())))

    async def agent(self) -> None:
        """Make, change or delete an agent."""
        user = self.random.choice(self.views.users.all()).id if len(self.views.users.all()) else "nobody"
        mine = self.views.agents.of_user(user)
        if len(mine) < 2:
            agent_id = self.id()
            events: list[Event] = [
                AgentCreated(
                    agent_id=agent_id, user_id=user, backend="demo", name="A", model="", ordinal=len(mine) + 1
                ),
                AgentChanged(agent_id=agent_id, name="B", model="m"),
            ]
            await self.append((f"agent:{agent_id}", 0, events))
            return
        gone = self.random.choice(mine).id
        version = len(await self.log.read_stream(f"agent:{gone}"))
        await self.append((f"agent:{gone}", version, [AgentDeleted(agent_id=gone)]))

    async def start(self) -> None:
        """Take a runner through its life."""
        runner = self.id()
        agents = list(self.views.agents.tables[0])
        agent = self.random.choice(agents).id if agents else "none"
        life: list[Event] = [
            RunnerRequested(
                runner_id=runner,
                agent_id=agent,
                user_id="u",
                backend="demo",
                container_name="demo-x",
                engine="process",
                spec_hash="0",
            ),
            RunnerStarted(runner_id=runner, handle="1", host="127.0.0.1", port=1, image=""),
            RunnerReady(runner_id=runner, seconds=0.5),
            RunnerStopped(runner_id=runner, reason="idle"),
        ]
        for version, event in enumerate(life):
            await self.append((f"runner:{runner}", version, [event]))

    async def sign_in(self) -> None:
        """Open or revoke a session."""
        user = self.random.choice(["u1", "u2", "u3"])
        stream = f"session:{user}"
        version = len(await self.log.read_stream(stream))
        open_now = self.views.sessions.of_user(user)
        event: Event = SessionOpened(
            session_id=self.id(), user_id=user, device="d", expires_at=self.random.choice([1, 4_000_000_000])
        )
        if open_now and self.random.random() < 0.5:
            event = SessionRevoked(session_id=open_now[0].id, user_id=user, reason="logout")
        await self.append((stream, version, [event]))

    async def converse(self) -> None:
        """Take one step in a conversation, through the repository."""
        known = [c.id for c in self.views.conversations.of_user("u")]
        if len(known) < 3 or self.random.random() < 0.05:
            started = ConversationStarted(
                conversation_id=self.id(), user_id="u", agent_id="a", backend="demo", model="demo", title=""
            )
            await self.append((f"conversation:{started.conversation_id}", 0, [started]))
            return
        chosen = self.random.choice(known)
        acknowledge(await self.conversations.execute(chosen, self.decide, ORIGIN))

    def decide(self, state: Conversation) -> list[Event]:
        """Decide the next step."""
        if state.running:
            about = {"conversation_id": state.id, "turn_id": state.running.id, "message_id": self.id()}
            if self.random.random() < 0.3:
                return [TurnFailed(**about, content="Half", error_message_id=self.id(), error="It broke.")]
            return [TurnFinished(**about, content="An answer.", finish_reason="stop")]
        if len(state.messages) > 12:
            return [ConversationDeleted(conversation_id=state.id)]
        if len(state.messages) > 6 and self.random.random() < 0.3:
            return rules.drop_after(state, state.messages[2].id)
        return rules.ask(state, turn_id=self.id(), message_id=self.id(), content="A question?", model="demo")


def acknowledge(recorded: list[Recorded[Any]]) -> None:
    """Tell the parent which events are safe."""
    os.write(1, "".join(f"ack {r.position} {r.stream} {r.version}\n" for r in recorded).encode())


async def work(*, seed: str, folder: str, point: str, commit: int) -> None:
    """Append until killed."""
    reached = 0

    def on_point(name: str) -> None:
        nonlocal reached
        if name == point:
            reached += 1
            if reached == commit:
                os.kill(os.getpid(), signal.SIGKILL)

    # Now and then a save of the views is under way when the end comes.
    projections.views.SAVE_INTERVAL = Random(seed).choice([0.0, 0.005, 10.0])
    async with (
        open_log(Path(folder), MAPPER, on_point=on_point) as log,
        open_views(Path(folder), log) as views,
        trio.open_nursery() as nursery,
    ):
        conversations = Repository(log, "conversation", Conversation(), rules.evolve)
        for n in range(TASKS):
            nursery.start_soon(Worker(log, views, conversations, f"{seed}/{n}").run)


def main() -> None:
    """Serve forks until standard input ends."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            trio.run(partial(work, **json.loads(line)))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        os.write(1, f"end {status}\n".encode())


if __name__ == "__main__":
    main()
