"""Processes of a server under test: itself, and the runners of its process engine."""

import json
import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.harness.server import Server
from tests.harness.waiting import eventually


@dataclass(frozen=True, slots=True)
class RunnerProcess:
    """What the process engine has noted of a runner."""

    folder: Path
    runner_id: str
    name: str
    pid: int
    port: int

    def kill(self) -> None:
        """End it as a crash would, and wait until it has ended."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        eventually(lambda: not is_running(self.pid), f"process {self.pid} ends")


def runner_processes(server: Server) -> list[RunnerProcess]:
    """Return every runner that has a record and was started."""
    found = []
    for path in sorted(server.data.glob("runners/*/runner.json")):
        with suppress(FileNotFoundError):
            record = json.loads(path.read_text())
            about = (record["runner_id"], record["name"], record["pid"], record["port"])
            found.append(RunnerProcess(path.parent, *about))
    return [r for r in found if r.pid]


def kill_runners(server: Server) -> None:
    """End all runners that a server has left behind."""
    for runner in runner_processes(server):
        runner.kill()


def is_running(pid: int) -> bool:
    """Tell whether a process runs; one that has ended and waits for its parent does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def resident_bytes(pid: int) -> int:
    """Return how much memory a process holds."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))
