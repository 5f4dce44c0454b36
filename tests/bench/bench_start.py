"""Replaying a log, and starting on one with a million events beside starting on an empty one."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import trio

from agentstack.settings import load_settings
from agentstack.vaults import open_own_vault
from domain.agents.events import AgentCreated
from domain.catalogue import EVENT_TYPES
from domain.conversations.events import ConversationStarted, MessagePosted, TurnFinished, TurnStarted
from domain.event import Event
from domain.users.events import UserRegistered
from eventlog.codec import EventMapper
from eventlog.envelope import Origin, StreamAppend
from eventlog.log import FILE_NAME, EventLog, open_log
from eventlog.reader import Reader
from projections.views import Views, rebuild
from tests.bench.report import Figure, median, show

EVENTS = 1_000_000
USERS = 100
TURNS = 16
"""Turns in each conversation: three events a turn, and one for its start."""
STARTS = 5
ORIGIN = Origin("user:bench", "bench")


def conversation(number: int) -> tuple[str, list[Event]]:
    """Return the stream and the events of one conversation."""
    id_ = f"c{number}"
    user = number % USERS
    events: list[Event] = [
        ConversationStarted(
            conversation_id=id_,
            user_id=f"u{user}",
            agent_id=f"a{user}",
            backend="demo",
            model="",
            title=f"Talk {number}",
        )
    ]
    for turn in range(TURNS):
        asked = f"{id_}-{turn}"
        events += [
            MessagePosted(
                conversation_id=id_, message_id=asked, role="user", content="What is the state of things?"
            ),
            TurnStarted(conversation_id=id_, turn_id=f"t{asked}", user_message_id=asked, model=""),
            TurnFinished(
                conversation_id=id_,
                turn_id=f"t{asked}",
                message_id=f"r{asked}",
                content="All is as it was, and here is a sentence to make it as long as answers are. " * 3,
                finish_reason="stop",
            ),
        ]
    return f"conversation:{id_}", events


async def fill(log: EventLog, count: int) -> None:
    """Append `count` events, roughly, of the kinds that there are most of."""
    for user in range(USERS):
        registered = UserRegistered(
            user_id=f"u{user}",
            email=f"u{user}@example.org",
            name="",
            slug=f"u{user}",
            role="user",
            password_hash="x",
        )
        agent = AgentCreated(
            agent_id=f"a{user}", user_id=f"u{user}", backend="demo", name="Demo", model="", ordinal=1
        )
        await log.append(
            StreamAppend(f"user:u{user}", 0, [registered], f"u{user}"),
            StreamAppend(f"agent:a{user}", 0, [agent], f"u{user}"),
            origin=ORIGIN,
        )
    number = 0
    while log.position < count:
        async with trio.open_nursery() as nursery:
            for _ in range(100):
                stream, events = conversation(number)
                append = StreamAppend(stream, 0, events, f"u{number % USERS}")
                number += 1
                nursery.start_soon(_append, log, append)


async def _append(log: EventLog, append: StreamAppend) -> None:
    await log.append(append, origin=ORIGIN)


_START = """
import json, sys, time
started = time.perf_counter()
import trio
from pathlib import Path
from agentstack.root import open_stack
from agentstack.settings import load_settings
imported = time.perf_counter()
async def main():
    async with open_stack(load_settings()) as stack:
        await stack.services.pool.begin()
        ready = time.perf_counter()
        print(json.dumps({"open": ready - imported, "position": stack.services.log.position}))
trio.run(main)
"""


def start_seconds(folder: Path) -> float:
    """Return the seconds from nothing to ready on a data folder, imports aside: the median of several starts."""
    took = []
    for _ in range(STARTS):
        env = {"STACK_DATA_ROOT": str(folder), "PATH": "/usr/bin:/bin"}
        done = subprocess.run([sys.executable, "-c", _START], env=env, capture_output=True, text=True, check=True)
        took.append(float(json.loads(done.stdout)["open"]))
    return median(took)


def figures() -> Iterator[Figure]:
    """Measure."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        full, empty = Path(name) / "full", Path(name) / "empty"
        full.mkdir()
        empty.mkdir()

        vault = open_own_vault(load_settings(_env_file=None), full)
        for user in range(USERS):
            vault.create(f"u{user}")
        mapper = EventMapper(EVENT_TYPES, vault)

        async def prepare() -> None:
            async with open_log(full, mapper) as log:
                await fill(log, EVENTS)

        trio.run(prepare)
        reader = Reader(full / FILE_NAME, mapper)
        started = time.perf_counter()
        read = Views().catch_up(reader)
        in_memory = read / (time.perf_counter() - started)
        started = time.perf_counter()
        rebuild(full, reader, vault=vault)
        rebuilt = read / (time.perf_counter() - started)
        reader.close()
        vault.close()
        start_seconds(empty)
        nothing, million = start_seconds(empty), start_seconds(full)
    yield Figure(
        f"replay {read:,} encrypted events into views",
        f"{in_memory:,.0f} events/s",
        ">= 50,000",
        in_memory >= 50_000,
    )
    yield Figure("the same, saved in a new views.db", f"{rebuilt:,.0f} events/s", ">= 50,000", rebuilt >= 50_000)
    yield Figure("start on an empty log", f"{nothing:.3f} s")
    beyond = million - nothing
    yield Figure(f"start on {read:,} events, beyond that", f"{beyond:.3f} s", "<= 1 s", beyond <= 1)


def main() -> None:
    """Measure and show."""
    show("Replay and start", list(figures()))


if __name__ == "__main__":
    main()
