"""A little server of models in a thread, good and bad: what a user's LLM_BASE_URL may lead to."""

import gzip
import json
import threading
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

GOOD_KEY = "sk-good-key-0123456789"
MODELS = [f"model-{n}" for n in range(60)]


class ModelServer:
    """Answers GET /<how>/v1/models, each `how` in its own way. `asked` are the (path, headers) that came in."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.over = threading.Event()
        handler = type("Handler", (_Handler,), {"owner": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="models")

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def url(self, how: str, host: str = "127.0.0.1") -> str:
        """Return the base URL that is answered in some way."""
        return f"http://{host}:{self.port}/{how}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._server.shutdown()
        self._thread.join(30)
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    owner: ModelServer

    def do_GET(self) -> None:
        self.owner.asked.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
        how = self.path.split("/")[1]
        answer: Callable[[], None] = getattr(self, f"do_{how}")
        with suppress(ConnectionError):
            answer()

    def do_good(self) -> None:
        """Take one key only."""
        if self.headers["authorization"] == f"Bearer {GOOD_KEY}":
            self._json(200, {"object": "list", "data": [{"id": m, "object": "model"} for m in MODELS]})
        else:
            self._json(401, {"error": {"message": "Incorrect API key provided"}})

    def do_forbidden(self) -> None:
        self._json(403, {})

    def do_missing(self) -> None:
        self._json(404, {"detail": "Not Found"})

    def do_broken(self) -> None:
        self._json(500, {})

    def do_html(self) -> None:
        self._send(200, b"<html><body>Welcome, nothing to see</body></html>", "text/html")

    def do_list(self) -> None:
        self._json(200, [1, 2, 3])

    def do_odd(self) -> None:
        self._json(200, {"data": [{"name": "no id"}, 7]})

    def do_deep(self) -> None:
        self._send(200, b'{"data":' + b"[" * 100_000, "application/json")

    def do_redirect(self) -> None:
        self.send_response(302)
        self.send_header("location", self.owner.url("good") + "/models")
        self.send_header("content-length", "0")
        self.end_headers()

    def do_endless(self) -> None:
        """Never end."""
        self._begin()
        self.wfile.write(b'{"data": [')
        while not self.owner.over.is_set():
            self.wfile.write(b'{"id": "more"},' * 10_000)

    def do_bomb(self) -> None:
        """Stand for half a gigabyte, twice zipped."""
        once = zlib.compressobj(9, wbits=zlib.MAX_WBITS | 16)
        body = b"".join(once.compress(bytes(1 << 20)) for _ in range(500)) + once.flush()
        self._send(200, gzip.compress(body), "application/json", coding="gzip, gzip")

    def do_zipped(self) -> None:
        """Stand for half a gigabyte."""
        once = zlib.compressobj(9, wbits=zlib.MAX_WBITS | 16)
        body = b"".join(once.compress(bytes(1 << 20)) for _ in range(500)) + once.flush()
        self._send(200, body, "application/json", coding="gzip")

    def do_values(self) -> None:
        """Hold very much in little."""
        self._send(200, b'{"data": [' + b"[]," * 600_000 + b"[]]}", "application/json")

    def do_long(self) -> None:
        """Have a model whose name is a list."""
        self._send(200, b'{"data": [{"id": [' + b"1," * 40_000 + b"1]}]}", "application/json")

    def do_drip(self) -> None:
        """Never end, and slowly."""
        self._begin()
        while not self.owner.over.is_set():
            self.wfile.write(b" ")
            time.sleep(0.05)

    def do_silent(self) -> None:
        """Say nothing at all."""
        self.owner.over.wait(60)

    def do_gone(self) -> None:
        """Hang up."""

    def log_message(self, *_: Any) -> None:
        """Be quiet."""

    def _json(self, status: int, answer: Any) -> None:
        self._send(status, json.dumps(answer).encode(), "application/json")

    def _send(self, status: int, body: bytes, kind: str, coding: str = "") -> None:
        self.send_response(status)
        if coding:
            self.send_header("content-encoding", coding)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _begin(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.end_headers()
