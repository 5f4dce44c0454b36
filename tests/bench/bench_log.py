"""The event log: appending, beside the library's own way; replaying; verifying."""

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import trio
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event

from agentstack.root import GIL_SWITCH_SECONDS
from domain.catalogue import EVENT_TYPES
from domain.conversations.events import MessagePosted
from eventlog.codec import EventMapper
from eventlog.envelope import Origin, StreamAppend
from eventlog.log import EventLog, open_log
from tests.bench.report import Figure, median, ms, percentile, show

TASKS = 200
EACH = 300
RATE = 2000
RATED = 8000
ORIGIN = Origin("user:bench", "bench")
TEXT = "A message of an ordinary length, as people write them to their agents. " * 2


class Thread(Aggregate):
    """A conversation as the library's documentation would have it."""

    @event("Opened")
    def __init__(self) -> None:
        self.messages: list[str] = []

    @event("Posted")
    def post(self, content: str) -> None:
        """Add a message."""
        self.messages.append(content)


def message(stream: int, number: int) -> MessagePosted:
    """Return an event of ordinary size."""
    return MessagePosted(conversation_id=f"c{stream}", message_id=f"{stream}-{number}", role="user", content=TEXT)


async def saturate(log: EventLog) -> float:
    """Return events per second with 200 tasks that append one event after the other."""

    async def one(stream: int) -> None:
        for number in range(EACH):
            append = StreamAppend(f"conversation:{stream}", number, [message(stream, number)])
            await log.append(append, origin=ORIGIN)

    started = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for stream in range(TASKS):
            nursery.start_soon(one, stream)
    return TASKS * EACH / (time.perf_counter() - started)


async def rated(log: EventLog) -> list[float]:
    """Return the seconds that each append took at 2,000 a second."""
    took: list[float] = []

    async def one(stream: int) -> None:
        started = time.perf_counter()
        await log.append(StreamAppend(f"rated:{stream}", 0, [message(stream, 0)]), origin=ORIGIN)
        took.append(time.perf_counter() - started)

    begin = trio.current_time()
    async with trio.open_nursery() as nursery:
        for number in range(RATED):
            await trio.sleep_until(begin + number / RATE)
            nursery.start_soon(one, number)
    return took


def library(folder: Path) -> float:
    """Return events per second of the library's Application.save, one event at a time, with the same durability."""
    app: Application[Any] = Application(
        env={"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": str(folder / "library.db")}
    )
    with app.factory.datastore.get_connection(commit=True) as connection:  # type: ignore[attr-defined]
        connection.cursor().execute("PRAGMA synchronous=FULL")
    thread = Thread()
    app.save(thread)
    count = 2000
    started = time.perf_counter()
    for _ in range(count):
        thread.post(TEXT)
        app.save(thread)
    speed = count / (time.perf_counter() - started)
    app.close()
    return speed


def figures() -> Iterator[Figure]:
    """Measure."""
    sys.setswitchinterval(GIL_SWITCH_SECONDS)
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        folder = Path(name)

        async def run() -> tuple[float, list[float], float]:
            async with open_log(folder, EventMapper(EVENT_TYPES)) as log:
                speed = await saturate(log)
                took = await rated(log)
                started = time.perf_counter()
                verified = await trio.to_thread.run_sync(log.reader.verify)
                return speed, took, verified / (time.perf_counter() - started)

        speed, took, verified = trio.run(run)
        beside = library(folder)
    name = f"append, {TASKS} tasks, synchronous=FULL, chain on"
    yield Figure.at_least(name, speed, 15_000, "events/s")
    told = f"{beside:,.0f} events/s ({speed / beside:.1f} times less)"
    yield Figure("beside: Application.save, one by one", told)
    p50 = median(took)
    yield Figure(f"acknowledged at {RATE:,}/s, median", ms(p50), "<= 1 ms", p50 <= 0.001)
    yield Figure(f"acknowledged at {RATE:,}/s, 99th percentile", ms(percentile(took, 99)))
    yield Figure("verify the chain", f"{verified:,.0f} events/s")


def main() -> None:
    """Measure and show."""
    show("Event log", list(figures()))


if __name__ == "__main__":
    main()
