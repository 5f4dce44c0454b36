"""Canned answers of an engine: for what the real one will not do on demand."""

import http.server
import json
import re
import socketserver
import threading
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

HANG: Final = (0, None)
"""The answer that never comes."""

Answer = tuple[int, Any]
Routes = dict[tuple[str, str], Answer]
"""(method, path) to (status, JSON). The path is without the API's version and the query, and may hold wildcards."""

NO_SPACE: Answer = (500, {"message": "write /var/lib/docker/tmp/x: no space left on device"})


def version(api: str = "1.41") -> Answer:
    """Return the answer to GET /version of an engine with this API."""
    return 200, {"ApiVersion": api, "MinAPIVersion": "1.12", "Version": "20.10.24", "Os": "linux", "Arch": "amd64"}


def unversioned(target: str) -> str:
    """Return a request's target without the API's version."""
    return re.sub(r"^/v\d+\.\d+(?=/)", "", target)


def find(routes: Routes, method: str, target: str) -> Answer | None:
    """Return the answer to a request, None when there is none."""
    path = urlsplit(unversioned(target)).path
    return next((a for (m, pattern), a in routes.items() if m == method and fnmatch(path, pattern)), None)


def response(answer: Answer) -> bytes:
    """Return an answer as it goes over the wire, after which the connection is closed."""
    status, content = answer
    body = json.dumps(content).encode()
    about = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close"
    return f"HTTP/1.1 {status} Scripted\r\n{about}\r\n\r\n".encode() + body


class FakeEngine:
    """Listens at a unix socket: `with FakeEngine(tmp_path / "docker.sock", routes) as engine:`.

    `routes` may be changed while it runs; what is not in it is 404, and an answer to GET /version is always in it.
    `requests` are "METHOD /path?query" without the API's version, oldest first.
    """

    def __init__(self, path: Path, routes: Routes | None = None) -> None:
        self.path = path
        self.url = f"unix://{path}"
        self.routes: Routes = {("GET", "/version"): version(), **(routes or {})}
        self.requests: list[str] = []
        self._leaving = threading.Event()

    def __enter__(self) -> Self:
        self._server = _Server(str(self.path), _handler(self, self._leaving))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="fake engine")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._leaving.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self.path.unlink(missing_ok=True)


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


def _handler(engine: FakeEngine, leaving: threading.Event) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def handle_one_request(self) -> None:
            # One request for each connection: simple clients and clever ones both cope with that.
            self.raw_requestline = self.rfile.readline(65537)
            self.close_connection = True
            if not self.raw_requestline or not self.parse_request():
                return
            self.rfile.read(int(self.headers.get("content-length", "0")))
            engine.requests.append(f"{self.command} {unversioned(self.path)}")
            missing = (404, {"message": f"No such thing in the fake engine: {self.command} {self.path}"})
            answer = find(engine.routes, self.command, self.path) or missing
            if answer == HANG:
                leaving.wait()
                return
            self.wfile.write(response(answer))

        def log_message(self, *_: Any) -> None:
            pass

    return Handler
