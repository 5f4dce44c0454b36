"""Looking into a log of a million events: first pages, the chain, replay, export; and chats during a backup."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import orjson
import trio

from agentstack.settings import Settings, load_settings
from agentstack.vaults import open_own_vault
from domain.catalogue import EVENT_TYPES
from domain.conversations.events import MessagePosted
from eventlog.codec import EventMapper
from eventlog.envelope import StreamAppend
from eventlog.filter import Filter
from eventlog.log import FILE_NAME, EventLog, open_log
from eventlog.reader import BATCH_BYTES, EXPORT_BATCH, Reader
from eventlog.vault import Vault
from projections.views import Views
from tests.bench.bench_router import PAUSE_SECONDS, QUIET, chat
from tests.bench.bench_start import EVENTS, ORIGIN, USERS, conversation
from tests.bench.report import Figure, median, ms, percentile, show
from tests.conftest import FAST_DEMO
from tests.harness.server import PASSWORD, Server

SECRET = "bench secret of the necessary length, 0123456789"
LOOKS = 20
EXPORTED = 300_000
BACKUP_BYTES = 1_000_000_000
LARGE_MESSAGE = 20_000
CALLS = 300


async def fill(log: EventLog) -> None:
    """Append a million encrypted events, each about somebody, of a request of its own."""
    number = 0
    while log.position < EVENTS:
        async with trio.open_nursery() as nursery:
            for _ in range(200):
                stream, events = conversation(number)
                append = StreamAppend(stream, 0, events, f"u{number % USERS}")
                number += 1
                nursery.start_soon(_append, log, append)


async def _append(log: EventLog, append: StreamAppend) -> None:
    await log.append(append, origin=ORIGIN)


def looks(reader: Reader) -> Iterator[tuple[str, float]]:
    """Yield what was looked for and the median of its seconds, for a first page of fifty events as shown."""
    middle = reader.stored(Filter(after=EVENTS // 2), 1)[0]
    span = {"since_us": middle.at, "until_us": middle.at + 1_000_000}
    filters = {
        "no filter": Filter(newest_first=True),
        "a type": Filter(types=("turn.finished",), newest_first=True),
        "a rare type": Filter(types=("runner.failed",), newest_first=True),
        "three types": Filter(types=("turn.finished", "message.posted", "runner.failed"), newest_first=True),
        "a stream": Filter(stream="conversation:c1000", newest_first=True),
        "a kind of stream": Filter(stream_prefix="conversation:", newest_first=True),
        "a part of names": Filter(stream_prefix="conversation:c77", newest_first=True),
        "a user": Filter(user="u7", newest_first=True),
        "a user and a type": Filter(user="u7", types=("turn.finished",), newest_first=True),
        "a second in the middle": Filter(**span, newest_first=True),  # type: ignore[arg-type]
        "a correlation": Filter(correlation=ORIGIN.correlation, newest_first=True),
        "oldest first": Filter(),
    }
    for name, wanted in filters.items():
        yield name, median([_seconds(lambda w=wanted: reader.page(w, 50, BATCH_BYTES)) for _ in range(LOOKS)])  # type: ignore[misc]


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def export(reader: Reader) -> float:
    """Return events per second of an export."""
    started, wanted, count = time.perf_counter(), Filter(until=EXPORTED), 0
    while found := reader.stored(wanted, EXPORT_BATCH):
        assert b"\n".join(map(orjson.dumps, reader.exported(found, lambda _: False)))
        count += len(found)
        wanted = Filter(after=found[-1].position, until=EXPORTED)
    return count / (time.perf_counter() - started)


def replay(reader: Reader) -> float:
    """Return events per second of a replay of all into read models in memory."""
    started = time.perf_counter()
    return Views().catch_up(reader) / (time.perf_counter() - started)


def during_backup(folder: Path) -> tuple[list[float], list[float], float]:
    """Return the seconds of warm calls, quiet and while a log of 1 GB is backed up, and how long that took."""
    server = Server(folder, backends=[FAST_DEMO], env=QUIET)
    with server:  # Which makes the data folder.
        server.sign_up("bench@example.org")
    trio.run(_make_large, server.data, load_settings(stack_data_root=server.data, _env_file=None))
    with server:
        client = server._signed_in("login", "bench@example.org", PASSWORD)
        for _ in range(20):
            chat(client)
        quiet = _calls(client, lambda count: count < CALLS)
        command = [sys.executable, "-m", "agentstack", "backup", "create", str(folder / "b"), "--gently"]
        started = time.perf_counter()
        with subprocess.Popen(command, env=server.env, cwd=folder, stdout=subprocess.DEVNULL) as process:
            busy = _calls(client, lambda _: process.poll() is None)
            assert process.returncode == 0
        took = time.perf_counter() - started
    return quiet, busy, took


async def _make_large(folder: Path, settings: Settings) -> None:
    """Append messages of some length until the log has its size."""
    vault = open_own_vault(settings, folder)
    owner = next(iter(vault.owners))
    text = "x" * LARGE_MESSAGE
    async with open_log(folder, EventMapper(EVENT_TYPES, vault)) as log:
        for start in range(0, BACKUP_BYTES // LARGE_MESSAGE, 500):
            async with trio.open_nursery() as nursery:
                for number in range(start, start + 500):
                    event = MessagePosted(conversation_id="c", message_id=f"m{number}", role="user", content=text)
                    nursery.start_soon(_append, log, StreamAppend(f"conversation:large{number}", 0, [event], owner))
    vault.close()


def _calls(client: httpx.Client, more: Callable[[int], bool]) -> list[float]:
    took: list[float] = []
    while more(len(took)):
        took.append(chat(client))
        time.sleep(PAUSE_SECONDS)
    return took


def figures() -> Iterator[Figure]:
    """Measure."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        folder = Path(name)
        vault = Vault(folder, SECRET)
        for user in range(USERS):
            vault.create(f"u{user}")
        mapper = EventMapper(EVENT_TYPES, vault)

        async def make() -> None:
            async with open_log(folder, mapper) as log:
                await fill(log)

        trio.run(make)
        reader = Reader(folder / FILE_NAME, mapper)
        for what, seconds in looks(reader):
            yield Figure(f"first page of {EVENTS:,} events: {what}", ms(seconds), "<= 50 ms", seconds <= 0.05)
        started = time.perf_counter()
        count = reader.verify()
        yield Figure.at_least("verify the chain", count / (time.perf_counter() - started), 200_000, "events/s")
        yield Figure.at_least("replay, encrypted", replay(reader), 50_000, "events/s")
        yield Figure.at_least("export, encrypted", export(reader), 100_000, "events/s")
        reader.close()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        quiet, busy, took = during_backup(Path(name))
    ratio = percentile(busy, 99) / percentile(quiet, 99)
    told = f"{ms(percentile(busy, 99))} beside {ms(percentile(quiet, 99))} quiet, ratio {ratio:.2f}"
    yield Figure(f"warm chats during a backup of 1 GB ({took:.0f} s), 99th percentile", told, "<= 2", ratio <= 2)


def main() -> None:
    """Measure and show."""
    show("Looking into the log", list(figures()))


if __name__ == "__main__":
    main()
