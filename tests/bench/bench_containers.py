"""The router with real containers: what it adds to a cold start, and starts side by side. Needs a Docker Engine."""

import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from tests.bench.bench_router import QUESTION, QUIET, WARM_CALLS, chat, chatting, counters, settled
from tests.bench.report import Figure, median, ms, percentile, show
from tests.harness.containers import ContainerServer
from tests.harness.images import PORT, scripted_image
from tests.harness.ports import free_port

ROUNDS = 7
SIDE_BY_SIDE = 10
BOOT_SECONDS = 4
TINY = f"""
import os, socket, threading, time
time.sleep(float(os.environ.get("BOOT", "0")))
ANSWER = b'{{"object":"chat.completion","choices":[{{"index":0,"message":{{"role":"assistant","content":"hi"}}}}]}}'
HEAD = b"HTTP/1.1 200 OK\\r\\ncontent-type: application/json\\r\\ncontent-length: %d\\r\\n\\r\\n" % len(ANSWER)
def serve(client):
    data = b""
    while True:
        while b"\\r\\n\\r\\n" not in data:
            more = client.recv(65536)
            if not more:
                return
            data += more
        head, _, data = data.partition(b"\\r\\n\\r\\n")
        length = [int(l.split(b":")[1]) for l in head.lower().split(b"\\r\\n") if l.startswith(b"content-length:")]
        while length and len(data) < length[0]:
            data += client.recv(65536)
        data = data[length[0]:] if length else data
        client.sendall(HEAD + ANSWER)
server = socket.create_server(("0.0.0.0", {PORT}), backlog=128)
while True:
    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
"""
"""An agent whose own start costs next to nothing: what is measured is the router and Docker."""


def tiny(name: str, boot: float) -> dict[str, Any]:
    """Return a backend that takes `boot` seconds before it listens."""
    return {
        "name": name,
        "display_name": name.title(),
        "image": scripted_image(),
        "command": ["python3", "-ISc", TINY],
        "user": "1000:1000",
        "port": PORT,
        "extra_env": {"BOOT": str(boot)},
        "stop_grace_seconds": 0,
    }


def by_hand(boot: float = 0, *, own_network: bool = True) -> float:
    """Return the seconds of `docker run` of the same image until it answers."""
    name, port = f"bench-by-hand-{free_port()}", free_port()
    options = ["--init", "--read-only", "--cap-drop=ALL", "--memory=1g", "--pids-limit=256", "--user=1000:1000"]
    options += ["--publish", f"127.0.0.1:{port}:{PORT}", "--env", f"BOOT={boot}"]
    started = time.perf_counter()
    if own_network:
        subprocess.run(["docker", "network", "create", name], check=True, capture_output=True)
        options += ["--network", name]
    run = ["docker", "run", "--detach", "--name", name, *options, scripted_image(), "python3", "-ISc", TINY]
    subprocess.run(run, check=True, capture_output=True)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        while True:
            try:
                client.post("/v1/chat/completions", json=QUESTION)
                break
            except httpx.HTTPError:
                time.sleep(0.005)
    took = time.perf_counter() - started
    subprocess.run(["docker", "rm", "--force", name], check=True, capture_output=True)
    if own_network:
        subprocess.run(["docker", "network", "rm", name], check=True, capture_output=True)
    return took


def cold(client: httpx.Client, backend: str) -> float:
    """Return the seconds from a request for an agent that is not running to its whole answer."""
    started = time.perf_counter()
    answer = client.post("/v1/chat/completions", json={**QUESTION, "model": backend})
    assert answer.is_success, answer.text
    return time.perf_counter() - started


def own_share(client: httpx.Client) -> Iterator[Figure]:
    """Measure a cold start beside `docker run` by hand, in turns."""
    hand, routed = [], []
    for _ in range(ROUNDS):
        hand.append(by_hand(own_network=False))
        routed.append(cold(client, "tiny"))
        client.delete("/api/runners/tiny")
    share = median(routed) - median(hand)
    yield Figure(f"docker run by hand until it answers, median of {ROUNDS}", ms(median(hand)))
    yield Figure("cold start through the router until it has answered", ms(median(routed)))
    yield Figure("the router's own share", ms(share), "<= 150 ms", share <= 0.150)


def side_by_side(server: ContainerServer, warm: httpx.Client) -> Iterator[Figure]:
    """Measure ten starts at once, and warm chats meanwhile."""
    people = [server.sign_up(f"p{n}@example.org") for n in range(SIDE_BY_SIDE + 1)]
    one = cold(people.pop(), "slow")
    with chatting(warm) as quiet:
        time.sleep(one)
    with chatting(warm) as meanwhile_by_hand, ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        hands = max(pool.map(by_hand, [BOOT_SECONDS] * SIDE_BY_SIDE))
    with chatting(warm) as busy:
        started = time.perf_counter()
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            list(pool.map(lambda person: cold(person, "slow"), people))
        all_ = time.perf_counter() - started
    yield Figure(f"one cold start (agent boots in {BOOT_SECONDS} s)", f"{one:.2f} s")
    yield Figure.ratio(f"{SIDE_BY_SIDE} cold starts at once", all_ / one, 1.5, f"{all_:.2f} s")
    beside = f"beside: {SIDE_BY_SIDE} times docker run by hand at once, each in its own network"
    yield Figure(beside, f"{hands:.2f} s, ratio {hands / one:.2f}")
    slower = percentile(busy, 99) / percentile(quiet, 99)
    yield Figure("warm chat while ten are started by hand, 99th percentile", ms(percentile(meanwhile_by_hand, 99)))
    told = f"{ms(percentile(busy, 99))} beside {ms(percentile(quiet, 99))} quiet"
    yield Figure.ratio("warm chat meanwhile, 99th percentile", slower, 3, told)


def engine_calls(server: ContainerServer, client: httpx.Client) -> Iterator[Figure]:
    """Count calls to the engine on the warm path."""
    name = "agentstack_engine_calls_total"
    before = settled(server)[name]
    for _ in range(WARM_CALLS):
        chat(client)
    grown = counters(server)[name] - before
    yield Figure(f"engine calls during {WARM_CALLS} warm calls", f"{grown:.0f}", "0", grown == 0)


def main() -> None:
    """Measure and show."""
    backends = [tiny("demo", 0), tiny("tiny", 0), tiny("slow", BOOT_SECONDS)]
    with (
        tempfile.TemporaryDirectory(dir=Path.cwd()) as name,
        ContainerServer(Path(name), backends, QUIET) as server,
    ):
        client = server.sign_up("warm@example.org")
        chat(client)
        figures = [*own_share(client), *engine_calls(server, client), *side_by_side(server, client)]
    show("Containers", figures)


if __name__ == "__main__":
    main()
