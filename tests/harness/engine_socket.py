"""A relay in front of the real engine's socket: it can be cut, frozen, listened at, and told to answer itself."""

import os
import re
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

from tests.harness.fake_engine import HANG, Routes, find, response, unversioned

_HEAD = re.compile(rb"(GET|HEAD|POST|PUT|DELETE) (\S+) HTTP/1\.1\r\n")


def engine_path() -> str:
    """Return where the real engine listens."""
    host = os.environ.get("DOCKER_HOST", "")
    return host.removeprefix("unix://") if host.startswith("unix://") else "/var/run/docker.sock"


class EngineSocket:
    """Relays every connection: `with EngineSocket(tmp_path / "docker.sock") as relay:`.

    requests   "METHOD /path?query" without the API's version, oldest first
    answers    what the relay answers itself, as in FakeEngine; all else goes to the engine
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"unix://{path}"
        self.requests: list[str] = []
        self.answers: Routes = {}
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._flowing = threading.Event()
        self._flowing.set()
        self._listener: socket.socket | None = None

    def count(self, method: str, prefix: str = "/") -> int:
        """Return how many requests of a method began with this path."""
        return sum(line.startswith(f"{method} {prefix}") for line in list(self.requests))

    def cut(self) -> None:
        """Close every connection and refuse new ones, as an engine does that has stopped."""
        with self._lock:
            self.path.unlink(missing_ok=True)
            for each in [*self._open, *([self._listener] if self._listener else [])]:
                _hang_up(each)
            self._listener = None

    def restore(self) -> None:
        """Let connections in again."""
        with self._lock:
            if self._listener is None:
                self._listener = socket.socket(socket.AF_UNIX)
                self._listener.bind(str(self.path))
                self._listener.listen(64)
                _spawn(self._accept, self._listener)

    def freeze(self) -> None:
        """Keep connections open and take new ones, but let nothing through in either direction."""
        self._flowing.clear()

    def thaw(self) -> None:
        """Let everything through again, with what has been held back."""
        self._flowing.set()

    def __enter__(self) -> Self:
        self.restore()
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        self.thaw()

    def _accept(self, listener: socket.socket) -> None:
        with listener, suppress(OSError):
            while True:
                _spawn(self._relay, listener, listener.accept()[0])

    def _relay(self, listener: socket.socket, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as engine, suppress(OSError):
            engine.connect(engine_path())
            with self._lock:
                if self._listener is not listener:
                    return
                self._open |= {client, engine}
            back = _spawn(self._pump, engine, client)
            self._pump(client, engine, to_engine=True)
            back.join()
            with self._lock:
                self._open -= {client, engine}

    def _pump(self, source: socket.socket, sink: socket.socket, *, to_engine: bool = False) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if not (to_engine and self._answered(data, source, sink)):
                    self._flowing.wait()
                    sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def _answered(self, data: bytes, client: socket.socket, engine: socket.socket) -> bool:
        """Note a request, and answer it ourselves if we are to. A client begins each request with a new packet."""
        head = _HEAD.match(data)
        if head is None:
            return False
        method, target = head[1].decode(), unversioned(head[2].decode("latin-1"))
        self.requests.append(f"{method} {target}")
        answer = find(self.answers, method, target)
        if answer is None:
            return False
        if answer != HANG:
            client.sendall(response(answer))
            _hang_up(engine)
        # What still comes of the request is of no interest, but a reset would be.
        while client.recv(65536):
            pass
        return True


def _spawn(does: Callable[..., None], *args: object) -> threading.Thread:
    thread = threading.Thread(target=does, args=args, name="engine socket", daemon=True)
    thread.start()
    return thread


def _hang_up(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
