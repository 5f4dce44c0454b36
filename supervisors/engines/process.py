"""The process engine: an agent as a child process in its own process group.

It isolates nothing: the agent runs as the router's own user. It is for the built-in demo agent, for trying
things out and for machines without Docker; never for tenants who do not trust each other.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

import orjson
import trio
from pydantic import BaseModel, ValidationError

from supervisors.engines.protocol import (
    HOST_PLACE,
    PAGE_HOST,
    PORT_PLACE,
    Endpoint,
    EngineError,
    Exit,
    Found,
    Report,
    RunnerSpec,
)
from supervisors.ports import PortPool

_TAIL_BYTES = 64 * 1024
_MAX_OUTPUT_BYTES, _LOOK_SECONDS = 4 * 1024 * 1024, 1.0
"""How long what an agent has printed may become until the next look at it; the last lines of it are kept."""
_KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "TMPDIR")
"""All that a child sees of the router's environment; secrets are in none of them."""


class _Record(BaseModel):
    """What is kept on disk of a runner. `born` tells a process from a later one with the same id."""

    runner_id: str
    name: str
    spec_hash: str
    port: int
    host: str = PAGE_HOST
    pid: int = 0
    born: int = 0


class ProcessEngine:
    """Runs each agent as a process, which listens on `host` if it can be told so.

    `folder` keeps a record and the output of every runner.
    """

    name = "process"

    def __init__(self, folder: Path, ports: PortPool, host: str) -> None:
        self._folder = folder
        self._host = host
        self._ports = ports
        self._children: dict[str, trio.Process] = {}
        self._reserved: dict[str, int] = {}
        self._calls = 0

    def __repr__(self) -> str:
        return f"<ProcessEngine {self._folder}: {len(self._children)} children>"

    def statistics(self) -> dict[str, int]:
        """Return how many calls the engine has had."""
        return {"calls": self._calls}

    async def run(self, on_return: Callable[[], Awaitable[None]]) -> None:
        """Keep what agents print small, for ever. The kernel is always there, and tells of the end of a process."""
        del on_return
        while True:
            await trio.sleep(_LOOK_SECONDS)
            for runner_id in list(self._reserved):
                await trio.to_thread.run_sync(_shorten, self._log_path(runner_id))

    async def check(self) -> None:
        """Raise EngineError where processes cannot be followed."""
        if not Path("/proc/self/stat").exists():
            raise EngineError("The process engine needs Linux. Use the Docker engine on this machine.")

    async def prepare(self, spec: RunnerSpec, report: Report) -> str:
        """Find the program, and return its path."""
        self._calls += 1
        program = shutil.which(spec.command[0]) if spec.command else None
        if program is None:
            wanted = spec.command[0] if spec.command else ""
            raise EngineError(
                f"The program {wanted!r} of backend {spec.backend.name!r} is not installed or not executable. "
                "Install it, or mend `command` in backends.json."
            )
        report(1.0, program)
        return program

    async def create(self, spec: RunnerSpec) -> None:
        """Reserve a port and write the record."""
        self._calls += 1
        folder = self._folder / spec.runner_id
        folder.mkdir(parents=True, mode=0o700)
        port = self._reserved[spec.runner_id] = self._ports.reserve()
        host = self._host if spec.chooses_host else PAGE_HOST
        self._save(
            _Record(runner_id=spec.runner_id, name=spec.name, spec_hash=spec.spec_hash, host=host, port=port)
        )

    async def start(self, spec: RunnerSpec) -> Endpoint:
        """Start the process. `{host}` and `{port}` in its command and environment become where to listen."""
        self._calls += 1
        record = self._load(spec.runner_id)
        if record is None:
            raise EngineError(f"The runner {spec.runner_id} was not created.")
        command = [_filled(part, record) for part in spec.command]
        env = {k: os.environ[k] for k in _KEPT_VARIABLES if k in os.environ} | {"HOME": str(spec.home)}
        env |= {name: _filled(value, record) for name, value in spec.env.items()}
        with trio.CancelScope(shield=True):  # A process that nobody has noted must not exist.
            try:
                process = await _spawn(command, env, spec.home, self._log_path(spec.runner_id))
            except OSError as error:
                raise EngineError(f"The program could not be started: {error}.") from error
            self._children[spec.runner_id] = process
            self._save(record.model_copy(update={"pid": process.pid, "born": _born(process.pid)}))
        return Endpoint(record.host, record.port)

    async def wait_exit(self, runner_id: str) -> Exit:
        """Return once the process has ended; the exit code is known only for our own children."""
        process = self._children.get(runner_id)
        if process:
            return Exit(await process.wait())
        record = self._load(runner_id)
        if record and _is_alive(record):
            with suppress(ProcessLookupError):
                descriptor = os.pidfd_open(record.pid)
                try:
                    await trio.lowlevel.wait_readable(descriptor)
                finally:
                    os.close(descriptor)
        return Exit(None)

    async def stop(self, runner_id: str, grace_seconds: float) -> Exit:
        """Signal the whole process group: SIGTERM, then SIGKILL after the grace. Forget the runner."""
        self._calls += 1
        record = self._load(runner_id)
        if record is None:  # Never created, stopped before, or its folder was removed by somebody else.
            self._forget(runner_id)
            return Exit(None)
        with trio.CancelScope(shield=True):
            if _is_alive(record):
                _signal_group(record.pid, signal.SIGTERM)
                with trio.move_on_after(grace_seconds):
                    await self.wait_exit(runner_id)
                # Also when the leader has ended: its children may not have.
                _signal_group(record.pid, signal.SIGKILL)
            ended = await self.wait_exit(runner_id)
            self._forget(runner_id)
            await trio.to_thread.run_sync(partial(shutil.rmtree, self._folder / runner_id, ignore_errors=True))
        return ended

    async def logs(self, runner_id: str, lines: int) -> str:
        """Return the last lines of standard output and standard error."""
        self._calls += 1
        return await trio.to_thread.run_sync(_tail, self._log_path(runner_id), lines)

    async def list(self) -> list[Found]:
        """Return every runner that has a record."""
        self._calls += 1
        if not self._folder.exists():
            return []
        found = []
        for folder in sorted(self._folder.iterdir()):
            record = self._load(folder.name)
            if record is None:
                shutil.rmtree(folder, ignore_errors=True)
                continue
            running = _is_alive(record)
            if running:
                self._ports.hold(record.port)
                self._reserved[record.runner_id] = record.port
            endpoint = Endpoint(record.host, record.port) if running else None
            found.append(Found(record.runner_id, record.name, record.spec_hash, running, endpoint))
        return found

    def _forget(self, runner_id: str) -> None:
        self._children.pop(runner_id, None)
        port = self._reserved.pop(runner_id, None)
        if port is not None:
            self._ports.release(port)

    def _log_path(self, runner_id: str) -> Path:
        return self._folder / runner_id / "output.log"

    def _save(self, record: _Record) -> None:
        path = self._folder / record.runner_id / "runner.json"
        fresh = path.with_suffix(".new")
        fresh.write_bytes(orjson.dumps(record.model_dump()))
        fresh.replace(path)

    def _load(self, runner_id: str) -> _Record | None:
        try:
            return _Record.model_validate_json((self._folder / runner_id / "runner.json").read_bytes())
        except (OSError, ValidationError):
            return None


def _filled(text: str, record: _Record) -> str:
    return text.replace(HOST_PLACE, record.host).replace(PORT_PLACE, str(record.port))


async def _spawn(command: list[str], env: Mapping[str, str], cwd: Path, log: Path) -> trio.Process:
    with log.open("ab") as output:
        return await trio.lowlevel.open_process(
            command,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output.fileno(),
            stderr=output.fileno(),
            start_new_session=True,
        )


def _shorten(path: Path) -> None:
    """Cut a file of output down to its end. The agent goes on at the end of what is left: it appends."""
    with suppress(OSError):  # It has ended just now.
        if path.stat().st_size > _MAX_OUTPUT_BYTES:
            with path.open("r+b") as file:
                file.seek(-_TAIL_BYTES, os.SEEK_END)
                end = file.read(_TAIL_BYTES)
                file.truncate(0)
            with path.open("ab") as file:
                file.write(end)


def _signal_group(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _born(pid: int) -> int:
    """Return the start time of a process in clock ticks since boot, 0 when there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    fields = stat.rpartition(")")[2].split()
    return 0 if fields[0] == "Z" else int(fields[19])


def _is_alive(record: _Record) -> bool:
    return record.pid > 0 and record.born > 0 and _born(record.pid) == record.born


def _tail(path: Path, lines: int) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
