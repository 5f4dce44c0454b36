"""The router as its clients meet it: warm calls, cold starts side by side, memory."""

import re
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.bench.report import Figure, median, ms, percentile, show
from tests.conftest import FAST_DEMO
from tests.harness.server import Server

WARM_CALLS = 300
SIDE_BY_SIDE = 5
BOOT_SECONDS = 3
PAUSE_SECONDS = 0.01
QUESTION = {"model": "demo", "messages": [{"role": "user", "content": "Hello"}]}
SLOW = {
    **FAST_DEMO,
    "name": "slow",
    "extra_env": {"DEMO_PORT": "{port}", "DEMO_WORDS_PER_SECOND": "0", "DEMO_BOOT_SECONDS": str(BOOT_SECONDS)},
}
QUIET = {"LOG_LEVEL": "warning"}
"""Without a log line for each request, what the router writes to the disk is its own."""


def chat(client: httpx.Client) -> float:
    """Return the seconds of one warm call."""
    started = time.perf_counter()
    answer = client.post("/v1/chat/completions", json=QUESTION)
    assert answer.is_success, answer.text
    return time.perf_counter() - started


def start(client: httpx.Client) -> float:
    """Return the seconds of one cold start."""
    started = time.perf_counter()
    answer = client.post("/api/runners/slow/start")
    assert answer.is_success, answer.text
    return time.perf_counter() - started


def counters(server: Server) -> dict[str, float]:
    """Return what the router has done to the disk and the engines so far."""
    found: dict[str, float] = {}
    for line in httpx.get(f"{server.url}/metrics", trust_env=False).text.splitlines():
        match = re.match(r"(agentstack_(?:engine_calls|event_commits|event_log_reads)_total)\S* (\S+)", line)
        if match:
            found[match[1]] = found.get(match[1], 0) + float(match[2])
    for line in Path(f"/proc/{server.pid}/io").read_text().splitlines():
        name, value = line.split(": ")
        if name in {"read_bytes", "write_bytes"}:
            found[name] = float(value)
    return found


def settled(server: Server) -> dict[str, float]:
    """Return the counters once what the sign-in and the start changed has been saved."""
    before = counters(server)
    for _ in range(20):
        time.sleep(1)
        now = counters(server)
        if now == before:
            break
        before = now
    return before


def rss_mb(server: Server) -> float:
    """Return the resident memory of the router in MB."""
    status = Path(f"/proc/{server.pid}/status").read_text()
    match = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert match
    return int(match[1]) * 1024 / 1e6


def warm(server: Server, client: httpx.Client) -> Iterator[Figure]:
    """Measure warm calls, and what they cost besides time."""
    chat(client)
    before = settled(server)
    took = [chat(client) for _ in range(WARM_CALLS)]
    after = counters(server)
    agent = f"http://127.0.0.2:{client.get('/api/runners').json()['runners'][0]['host_port']}"
    yield Figure(f"warm /v1 call through the router, median of {WARM_CALLS}", ms(median(took)))
    with httpx.Client(base_url=agent, trust_env=False) as direct:
        bare = []
        for _ in range(WARM_CALLS):
            started = time.perf_counter()
            direct.get("/health")
            bare.append(time.perf_counter() - started)
    yield Figure("beside: the agent's own health page, without the router", ms(median(bare)))
    for name in sorted(before):
        grown = after[name] - before[name]
        yield Figure(f"{name} during {WARM_CALLS} warm calls", f"{grown:.0f} more", "0 more", grown == 0)


@contextmanager
def chatting(client: httpx.Client) -> Iterator[list[float]]:
    """Chat with pauses, as a person's program does, until the context ends; gather the seconds of each call."""
    took: list[float] = []
    over = threading.Event()

    def chat_on() -> None:
        while not over.is_set():
            took.append(chat(client))
            time.sleep(PAUSE_SECONDS)

    thread = threading.Thread(target=chat_on)
    thread.start()
    try:
        yield took
    finally:
        over.set()
        thread.join()


def side_by_side(server: Server, warm_client: httpx.Client) -> Iterator[Figure]:
    """Measure starts side by side, and warm calls meanwhile."""
    one = start(server.sign_up("one@example.org"))
    people = [server.sign_up(f"p{n}@example.org") for n in range(SIDE_BY_SIDE)]
    with chatting(warm_client) as quiet:
        time.sleep(BOOT_SECONDS)
    with chatting(warm_client) as busy:
        started = time.perf_counter()
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            list(pool.map(start, people))
        all_ = time.perf_counter() - started
    yield Figure(f"one start (agent boots in {BOOT_SECONDS} s)", f"{one:.2f} s")
    ratio = all_ / one
    yield Figure(
        f"{SIDE_BY_SIDE} starts side by side", f"{all_:.2f} s, ratio {ratio:.2f}", "ratio <= 1.3", ratio <= 1.3
    )
    slower = median(busy) / median(quiet)
    told = f"{ms(median(busy))} beside {ms(median(quiet))} quiet, ratio {slower:.2f}"
    yield Figure("warm call meanwhile, median", told, "ratio <= 2", slower <= 2)
    yield Figure(
        "warm call meanwhile, 99th percentile", f"{ms(percentile(busy, 99))} beside {ms(percentile(quiet, 99))}"
    )


def main() -> None:
    """Measure and show."""
    with (
        tempfile.TemporaryDirectory(dir=Path.cwd()) as name,
        Server(Path(name), backends=[FAST_DEMO, SLOW], env=QUIET) as server,
    ):
        idle = rss_mb(server)
        client = server.sign_up("warm@example.org")
        figures = [Figure("memory of an idle router (RSS)", f"{idle:.0f} MB", "<= 120 MB", idle <= 120)]
        figures += warm(server, client)
        figures += side_by_side(server, client)
        figures.append(Figure("memory at the end, after sign-ins and chats", f"{rss_mb(server):.0f} MB"))
    show("Router", figures)


if __name__ == "__main__":
    main()
