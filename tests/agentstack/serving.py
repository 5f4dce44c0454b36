"""Serving with arguments, and looking at a data folder from outside."""

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from domain.catalogue import EVENT_TYPES
from eventlog.codec import EventMapper
from eventlog.envelope import StoredRecord
from eventlog.filter import Filter
from eventlog.reader import Reader
from tests.harness.server import Server
from tests.harness.waiting import eventually

Json = dict[str, Any]


@contextmanager
def serving(server: Server, *args: str) -> Iterator[Server]:
    """Run `agentstack serve` with arguments, until it is ready; stop it afterwards."""
    server.folder.mkdir(parents=True, exist_ok=True)
    with (server.folder / "out.txt").open("ab") as out, (server.folder / "err.txt").open("ab") as err:
        command = [sys.executable, "-m", "agentstack", "serve", *args]
        server.process = subprocess.Popen(command, env=server.env, cwd=server.folder, stdout=out, stderr=err)

    def ready() -> bool:
        assert server.process is not None
        assert server.process.poll() is None, server.errors()
        try:
            return httpx.get(f"{server.url}/readyz", trust_env=False).is_success
        except httpx.HTTPError:
            return False

    try:
        eventually(ready, "the server is ready")
        yield server
    finally:
        server.__exit__()


def stored(data: Path) -> list[StoredRecord]:
    """Return all that is in the log of a data folder, as it is stored; its chain must verify."""
    reader = Reader(data / "events.db", EventMapper(EVENT_TYPES))
    try:
        found = reader.stored(Filter(), -1)
        assert reader.verify() == len(found)
        return found
    finally:
        reader.close()


def digests(folder: Path) -> dict[str, str]:
    """Return the digest of every file in a folder, but for the lock and what SQLite puts beside a database."""
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and not p.is_symlink() and not p.name.endswith(("-wal", "-shm", "lock"))
    }
