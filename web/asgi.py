"""The front door: every request gets its id, its limits and its place, before Quart or the proxy sees it."""

import re
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog
import trio
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable
from quart import Request
from quart_trio.asgi import TrioASGIHTTPConnection

from web.context import CORRELATION
from web.openai.errors import error_body
from web.operations.metrics import REQUEST_SECONDS, REQUESTS
from web.problems import problem_body

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[Any, Any, Any], Awaitable[None]]

MAX_HEADER_BYTES = 16 * 1024
MAX_STRANGERS_BYTES = 64 * 1024
"""Of a request to sign in or up."""
_SMALL_BODY, _REST_SECONDS = 64 * 1024, 2.0
_GOOD_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

_PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""What may become a label of a metric: anything else a client could make up without end."""

_logger = structlog.get_logger("access")


class KeepAliveConnection(TrioASGIHTTPConnection):
    """Quart's connection, mended: a disconnect that is only the end of the answer cancels nothing.

    Without this the watcher for disconnects cancels the handler inside its last send, the server never learns that
    the connection is idle again, and sockets of clients that keep connections open are never closed.
    """

    _final = False

    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Handle one request."""

        async def watched(message: Any) -> None:
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                self._final = True
            await send(message)

        await super().__call__(receive, watched)

    async def handle_messages(  # type: ignore[override] # quart-trio's own signature
        self, nursery: trio.Nursery, request: Request, receive: ASGIReceiveCallable
    ) -> None:
        """Feed the body to the request; cancel the handler when the client goes before the answer is out."""
        await super(TrioASGIHTTPConnection, self).handle_messages(request, receive)
        if not self._final:
            nursery.cancel_scope.cancel()


class _Body:
    """What a request sends. It is `taken` when there is nothing to wait for: it has come, or is none, or large."""

    def __init__(self, headers: Mapping[bytes, bytes], receive: Receive) -> None:
        self._receive = receive
        length = int(headers.get(b"content-length", 0))
        self.taken = not 0 < length <= _SMALL_BODY
        self._end = trio.Event()

    async def receive(self) -> dict[str, Any]:
        message = await self._receive()
        if not message.get("more_body"):
            self.taken = True
            self._end.set()
        return message

    async def take_rest(self, *, reads: bool) -> None:
        """Take what is small before an answer that did not wait for it, so that the connection can be used again.

        Otherwise the server closes it, perhaps while the client sends its next request. Quart reads by itself.
        """
        with trio.move_on_after(_REST_SECONDS):
            while reads and not self.taken:
                await self.receive()
            await self._end.wait()


class Front:
    """Routes /v1 to the proxy and all else to Quart."""

    def __init__(self, quart: Application, openai: Application) -> None:
        self._quart = quart
        self._openai = openai

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
            return
        if scope["type"] != "http":
            await self._quart(scope, receive, send)
            return
        correlation = scope[CORRELATION] = _request_id(scope)
        is_openai = scope["path"].startswith("/v1/") or scope["path"] == "/v1"
        surface = "openai" if is_openai else "web"
        started, status = time.perf_counter(), 0
        headers = dict(scope["headers"])
        body = _Body(headers, receive)

        async def observed(message: dict[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if not body.taken:
                    await body.take_rest(reads=is_openai)
                message["headers"] = [*message["headers"], (b"x-request-id", correlation.encode())]
            await send(message)

        with structlog.contextvars.bound_contextvars(correlation=correlation):
            try:
                refusal = _refusal(scope, headers)
                if refusal:
                    body.taken = True  # Or never: this connection is closed.
                    await _refuse(observed, is_openai, *refusal)
                else:
                    await (self._openai if is_openai else self._quart)(scope, body.receive, observed)
            finally:
                seconds = time.perf_counter() - started
                method = scope["method"] if scope["method"] in _METHODS else "other"
                REQUESTS.labels(surface, method, str(status or 499)).inc()
                REQUEST_SECONDS.labels(surface).observe(seconds)
                # Probes that are well would fill the log: one comes every few seconds.
                log = _logger.debug if scope["path"] in _PROBES and status == 200 else _logger.info
                log(
                    "request",
                    method=scope["method"],
                    path=scope["path"],
                    status=status or 499,
                    ms=round(seconds * 1000, 1),
                )


def _request_id(scope: Scope) -> str:
    """Return the client's own request id when it is harmless, else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            given: str = value.decode("latin-1")
            return given if _GOOD_ID.fullmatch(given) else uuid.uuid4().hex
    return uuid.uuid4().hex


def _refusal(scope: Scope, headers: Mapping[bytes, bytes]) -> tuple[int, str] | None:
    """Return why a request's head is not acceptable: too long, or two different ideas of where its body ends."""
    path = scope["path"]
    if not path.startswith("/"):
        return 400, "The request's target must be a path."
    if sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEADER_BYTES:
        return 431, f"The headers are larger than {MAX_HEADER_BYTES // 1024} KiB together."
    if b"content-length" in headers and b"transfer-encoding" in headers:
        return 400, "Send Content-Length or Transfer-Encoding, not both."
    if path.startswith("/auth/"):  # Anybody may send those.
        if b"transfer-encoding" in headers:
            return 411, "Send the body with a Content-Length."
        if int(headers.get(b"content-length", 0)) > MAX_STRANGERS_BYTES:
            return 413, f"The body is larger than {MAX_STRANGERS_BYTES // 1024} KiB, which is the limit here."
    return None


async def _refuse(send: Send, is_openai: bool, status: int, text: str) -> None:
    body = error_body(text, status=status) if is_openai else problem_body(status, text, "bad_head")
    kind = b"application/json" if is_openai else b"application/problem+json"
    headers = [(b"content-type", kind), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
