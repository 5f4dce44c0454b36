"""The front door: every request gets its id, its limits and its place, before Quart or the proxy sees it."""

import re
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from typing import Any

import structlog
import trio
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable
from quart import Request
from quart_trio.asgi import TrioASGIHTTPConnection
from quart_trio.wrappers import TrioRequest

from domain.errors import DomainError, Misdirected
from supervisors.wire.transit import FREE_BYTES, Hold, Transit
from web import limits
from web.auth.address import client_site
from web.auth.guard import cookie_name, ended
from web.auth.names import NO_NAME, UNNAMED, Names, must_name_us
from web.auth.pages import SAFE_METHODS
from web.context import ADDRESSED, CORRELATION, ENDINGS, HEADERS, SHUT_OUT, STILL_GOOD
from web.openai.errors import error_body
from web.openai.headers import SANDBOX, isolation, tells
from web.operations.metrics import REQUEST_SECONDS, REQUESTS
from web.pages import REFUSAL_POLICY, refusal_page
from web.problems import problem_body, status_of
from web.services import WebSettings

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[Any, Any, Any], Awaitable[None]]

LOGGED_CHARACTERS = 200
"""Of a path in the log."""
_SMALL_BODY, _REST_SECONDS = 64 * 1024, 2.0
_GOOD_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

_BAD_HEAD = "bad_head"
_PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""What may become a label of a metric: anything else a client could make up without end."""

_logger = structlog.get_logger("access")


class BoundedRequest(TrioRequest):
    """Quart's request, with a bound for its body that depends on where it goes."""

    def __init__(self, method: str, scheme: str, path: str, *args: Any, **options: Any) -> None:
        options["max_content_length"] = limits.body_limit(path, options["max_content_length"])
        super().__init__(method, scheme, path, *args, **options)


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


class _RevokedError(Exception):
    """Whoever is being answered would not be let in any more."""


class _Body:
    """What a request sends. It is `taken` when there is nothing to wait for: it has come, or is none, or large."""

    def __init__(self, headers: Mapping[bytes, bytes], receive: Receive) -> None:
        self._receive = receive
        length = int(headers.get(b"content-length", 0))
        self.taken = not 0 < length <= _SMALL_BODY
        self.is_large = length > FREE_BYTES or b"transfer-encoding" in headers
        self._end = trio.Event()
        self.refusal: DomainError | None = None

    async def receive(self) -> dict[str, Any]:
        message = await self._receive()
        if not message.get("more_body"):
            self.taken = True
            self._end.set()
        return message

    def held(self, hold: Hold) -> Receive:
        """Return what receives the body and counts its memory. Where there is none left, the client seems gone.

        `refusal` then says what it has to be told.
        """

        async def receive() -> dict[str, Any]:
            message = await self.receive()
            try:
                hold.grow(len(message.get("body", b"")))
            except DomainError as error:
                self.refusal = error
                return {"type": "http.disconnect"}
            return message

        return receive

    async def take_rest(self, *, reads: bool) -> None:
        """Take what is small before an answer that did not wait for it, so that the connection can be used again.

        Otherwise the server closes it, perhaps while the client sends its next request. Quart reads by itself.
        """
        with trio.move_on_after(_REST_SECONDS):
            while reads and not self.taken:
                await self.receive()
            await self._end.wait()


class Front:
    """Routes /v1 to the proxy, which counts what its requests take by itself, and all else to Quart."""

    def __init__(self, quart: Application, openai: Application, settings: WebSettings, transit: Transit) -> None:
        self._quart = quart
        self._openai = openai
        self._settings = settings
        self._transit = transit
        self._names = Names(settings)
        self._cookie = cookie_name(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
            return
        if scope["type"] != "http":
            await self._quart(scope, receive, send)
            return
        correlation = scope[CORRELATION] = _request_id(scope)
        is_openai = _is_openai(scope)
        surface = "openai" if is_openai else "web"
        started, status, pieces = time.perf_counter(), 0, 0
        is_read = scope["method"] in SAFE_METHODS
        headers = dict(scope["headers"])
        body = _Body(headers, receive)

        async def observed(message: dict[str, Any]) -> None:
            nonlocal status, pieces
            # What changes something has been done by now, and may be what ended the caller's sign-in.
            if (
                is_read
                and not scope.get(STILL_GOOD, _always)()
                and (not status or (pieces and message.get("body")))
            ):
                raise _RevokedError
            pieces += message["type"] == "http.response.body"
            if message["type"] == "http.response.start":
                status = message["status"]
                if not body.taken:
                    await body.take_rest(reads=is_openai)
                message["headers"] = [*message["headers"], (b"x-request-id", correlation.encode())]
            await send(message)

        with structlog.contextvars.bound_contextvars(correlation=correlation):
            try:
                refusal = self._refusal(scope, headers, is_openai)
                if refusal:
                    body.taken = True  # Or never: this connection is closed.
                    await _refuse(observed, scope, *refusal)
                elif is_openai:
                    await self._openai(scope, body.receive, observed)
                else:
                    await self._ask_quart(scope, body, observed)
            except* _RevokedError:
                # An answer that has begun is cut: its reader must not take it for all there is.
                if not status:
                    body.taken = True
                    scope.pop(STILL_GOOD)
                    error = ended()
                    await _refuse(observed, scope, status_of(error), error.message, error.reason)
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
                    path=scope["path"][:LOGGED_CHARACTERS],
                    status=status or 499,
                    ms=round(seconds * 1000, 1),
                )

    def _refusal(
        self, scope: Scope, headers: Mapping[bytes, bytes], is_openai: bool
    ) -> tuple[int, str, str] | None:
        """Return why a request's head is not acceptable: status, words and code. Note how it named the server."""
        refusal = _bad_head(scope, headers, is_openai, self._settings.max_body)
        if refusal:
            return refusal
        named = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers.items()}
        scope[HEADERS] = named
        try:
            scope[ADDRESSED] = self._names.addressed(named, _peer(scope))
        except Misdirected as error:
            if error.reason == NO_NAME or must_name_us(scope["method"], scope["path"], named, self._cookie):
                return status_of(error), error.message, error.reason
            scope[ADDRESSED] = UNNAMED
        return None

    async def _ask_quart(self, scope: Scope, body: _Body, send: Send) -> None:
        with trio.CancelScope() as reading, ExitStack() as endings:
            scope[ENDINGS], scope[SHUT_OUT] = endings, reading.cancel
            receive: Receive = body.receive
            if body.is_large:  # Nothing else is counted, nor need it be known where it comes from.
                receive = body.held(endings.enter_context(self._transit.hold(self._site(scope))))
            await self._quart(scope, receive, send)
        if reading.cancelled_caught:
            raise _RevokedError
        if body.refusal:
            body.taken = True
            error = body.refusal
            await _refuse(send, scope, status_of(error), error.message, error.reason)

    def _site(self, scope: Scope) -> str:
        forwarded_for = ",".join(v.decode("latin-1") for n, v in scope["headers"] if n == b"x-forwarded-for")
        return client_site(_peer(scope), forwarded_for, self._settings.trusted_proxies)


def _always() -> bool:
    return True


def _peer(scope: Scope) -> str:
    address: str = (scope.get("client") or [""])[0]
    return address


def _is_openai(scope: Scope) -> bool:
    return bool(scope["path"].startswith("/v1/") or scope["path"] == "/v1")


def _request_id(scope: Scope) -> str:
    """Return the client's own request id when it is harmless, else a new one: agents, logs and events get it."""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            given: str = value.decode("latin-1")
            return given if _GOOD_ID.fullmatch(given) and not tells(value, ()) else uuid.uuid4().hex
    return uuid.uuid4().hex


def _bad_head(
    scope: Scope, headers: Mapping[bytes, bytes], is_openai: bool, most: int
) -> tuple[int, str, str] | None:
    """Return why a request's head is not acceptable: status, words and code."""
    path = scope["path"]
    if not path.startswith("/"):
        return 400, "The request's target must be a path.", _BAD_HEAD
    target = len(scope.get("raw_path") or path) + len(scope.get("query_string", b""))
    if target > limits.MAX_TARGET_BYTES:
        return 414, f"The path and query are longer than {limits.told(limits.MAX_TARGET_BYTES)}.", _BAD_HEAD
    if target + sum(len(name) + len(value) for name, value in scope["headers"]) > limits.MAX_HEAD_BYTES:
        return 431, f"The headers are larger than {limits.told(limits.MAX_HEAD_BYTES)} together.", _BAD_HEAD
    if b"content-length" in headers and b"transfer-encoding" in headers:
        return 400, "Send Content-Length or Transfer-Encoding, not both.", _BAD_HEAD
    if path.startswith("/auth/") and b"transfer-encoding" in headers:  # Anybody may send those.
        return 411, "Send the body with a Content-Length.", _BAD_HEAD
    if is_openai:
        return None
    if headers.get(b"content-encoding", b"identity").strip().lower() not in {b"", b"identity"}:
        return 415, "Send the body as it is, without a Content-Encoding.", "unsupported_encoding"
    limit = limits.body_limit(path, most)
    if int(headers.get(b"content-length", 0)) > limit:
        return 413, f"The body is larger than {limits.told(limit)}, which is the limit here.", "too_large"
    return None


async def _refuse(send: Send, scope: Scope, status: int, text: str, code: str) -> None:
    """Answer in the shape that is usual where the request goes, and close the connection."""
    policy = SANDBOX
    if _is_openai(scope):
        kind, body = b"application/json", error_body(text, status=status, code=code)
    elif scope["path"] == "/":
        kind, body, policy = b"text/html; charset=utf-8", refusal_page(text), REFUSAL_POLICY.encode()
    else:
        kind, body = b"application/problem+json", problem_body(status, text, code)
    headers = [(b"content-type", kind), (b"connection", b"close"), *isolation(policy)]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
