"""What others notice while somebody does something to a server: how long they wait, and what memory it takes."""

import threading
import time
from pathlib import Path
from typing import Self

import httpx

from tests.harness.server import Server

NOTICED = 20
"""What others may wait at the most, as `Beside.waits` tells it, for an answer that takes a few turns of the loop.

What is mended here took fifty to two thousand.
"""
_PAUSE_SECONDS = 0.002
_PROCESS_CLOCK = 2
"""How Linux numbers the clock of the processor time of a process: the complement of its id, and this."""


class Beside:
    """Asks for /healthz all the while. Use as a context manager; look at the figures afterwards.

    `waits` is the most that the server did while somebody waited for one answer: its processor time, all threads
    together, in units of what this process needs for a fixed piece of work (some 20 ms). How busy the machine is
    makes no difference to it. `memory` is how many bytes the server took more than before, at the most.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self._longest = 0.0
        self._work = 0.0
        self.asked = 0
        self.unanswered = 0
        self.memory = 0

    @property
    def waits(self) -> float:
        """Return the longest wait."""
        return self._longest / self._work

    def __enter__(self) -> Self:
        Path(f"/proc/{self._server.pid}/clear_refs").write_text("5")  # From now on, VmHWM is the most since now.
        self._before = _kib(self._server, "VmRSS")
        self._work = min(_seconds() for _ in range(3))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.memory = (_kib(self._server, "VmHWM") - self._before) * 1024

    def _ask(self) -> None:
        clock = (~self._server.pid << 3) | _PROCESS_CLOCK
        with httpx.Client(base_url=self._server.url, timeout=60, trust_env=False) as client:
            while not self._stop.is_set() or not self.asked:
                begun = time.clock_gettime(clock)
                try:
                    client.get("/healthz")
                except httpx.HTTPError:
                    self.unanswered += 1
                self._longest = max(self._longest, time.clock_gettime(clock) - begun)
                self.asked += 1
                time.sleep(_PAUSE_SECONDS)


def _seconds() -> float:
    begun = time.thread_time()
    sum(n * n for n in range(250_000))
    return time.thread_time() - begun


def _kib(server: Server, name: str) -> int:
    lines = Path(f"/proc/{server.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
