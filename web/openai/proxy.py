"""The proxy: one request to one runner, its answer streamed back as it comes.

It runs as raw ASGI. A runner is leased for the whole exchange. When the client goes away, the request to the
runner is dropped at once; when the runner breaks, the client is told in OpenAI's shape, also inside a stream.
"""

import posixpath
from collections.abc import Iterable
from urllib.parse import parse_qs

import httpcore2
import orjson
import structlog
import trio

from domain.backends.adaptation import Adapted, adapt
from domain.backends.definition import Backend
from domain.errors import OUR_FAULT, DomainError, Invalid
from eventlog.errors import EventLogError
from supervisors.engines.protocol import AGENT_NAME
from supervisors.runners.lease import SILENCE_SECONDS, SILENT, ask_runner
from supervisors.runners.probe import auth_headers
from supervisors.runners.run import Run
from supervisors.wire.coding import CodingError, Decoder
from web.auth.guard import Caller, Guard, ended
from web.auth.pages import SAFE_METHODS, Asking
from web.context import ADDRESSED, CORRELATION, HEADERS
from web.openai.body import ClientGoneError, Receive, read_body, written
from web.openai.cors import cors_headers, preflight
from web.openai.errors import described, error_body
from web.openai.exchange import FLUSH_BYTES, Exchange, Scope, Send
from web.openai.headers import HeaderList, is_event_stream, query_to_runner, tells, to_client, to_runner
from web.openai.models import model_info, model_list
from web.openai.routing import Destination, destination
from web.openai.upstream import ConnectionPool, HookedStream
from web.openai.usage import asking_for_usage
from web.problems import LOG_REFUSED
from web.services import Services

_TIMEOUTS = {"timeout": {"connect": 10.0, "read": SILENCE_SECONDS, "write": 60.0, "pool": None}}
_GOODBYE_SECONDS = 1.0
_BROKEN = (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.ConnectTimeout, httpcore2.WriteTimeout)

_logger = structlog.get_logger("openai")


class OpenAISurface:
    """The ASGI application under /v1."""

    def __init__(self, services: Services, guard: Guard) -> None:
        self._services = services
        self._guard = guard
        self._pool = ConnectionPool()
        self._open = 0
        self._quiet = trio.lowlevel.ParkingLot()

    def statistics(self) -> dict[str, int]:
        """Return how many exchanges are under way and how many connections to runners are open."""
        return {"exchanges": self._open, "connections": len(self._pool.connections)}

    async def quiet(self) -> None:
        """Wait until no exchange is under way."""
        while self._open:
            await self._quiet.park()

    async def aclose(self) -> None:
        """Close the connections to runners."""
        await self._pool.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        headers = scope[HEADERS]
        cors = cors_headers(headers, self._services.settings.cors_origins)
        exchange = Exchange(scope, receive, send, headers, cors=cors)
        self._open += 1
        try:
            await self._handle(exchange)
        finally:
            self._open -= 1
            if not self._open:
                self._quiet.unpark_all()

    async def _handle(self, exchange: Exchange) -> None:
        if exchange.cors and exchange.scope["method"] == "OPTIONS":
            await exchange.start(204, preflight(exchange.headers))
            await exchange.finish()
            return
        try:
            scope = exchange.scope
            asking = Asking(scope["method"], exchange.headers, scope[CORRELATION], scope[ADDRESSED].origins)
            caller = self._guard.identify(asking)
            exchange.credentials = self._guard.credentials(scope["headers"], exchange.headers)
            if exchange.scope["method"] == "GET" and await self._models(exchange, caller):
                return
            # Before the body is read: who may not ask need not be listened to.
            with exchange.ending, self._services.transit.hold(caller.user.id) as hold:
                admission = self._services.admission
                exchange.ending.callback(admission.release, await admission.admit(caller.user))
                most = self._services.settings.max_body
                with trio.CancelScope() as reading, self._guard.watching(caller, reading.cancel):
                    body = await read_body(exchange.receive, exchange.headers, most, hold)
                self._guard.refuse_unless_good(caller)  # The body may have taken its time, as the runner may later.
                await self._answer(exchange, caller, body)
        except ClientGoneError:
            return
        except CodingError as error:
            await self._refuse(exchange, *described(Invalid(str(error), code="bad_encoding")))
        except DomainError as error:
            await self._refuse(exchange, *described(error))

    async def _answer(self, exchange: Exchange, caller: Caller, body: bytes) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_watch_client, exchange)
            nursery.start_soon(_watch_shutdown, exchange, self._services.lifecycle.cut)
            with exchange.working, self._guard.watching(caller, exchange.shut):
                await self._forward_or_explain(exchange, caller, body)
            if exchange.shut_out and not exchange.final:
                exchange.ending.close()  # Whoever reads no more holds up nobody.
                with trio.move_on_after(_GOODBYE_SECONDS):
                    await self._break_off(exchange, *described(ended()))
            elif exchange.stopping and not exchange.final:
                await self._break_off(exchange, 503, "agent-stack is shutting down.")
            nursery.cancel_scope.cancel()

    async def _models(self, exchange: Exchange, caller: Caller) -> bool:
        path = exchange.scope["path"].removeprefix("/v1")
        if path == "/models":
            found = model_list(self._services, caller)
        elif path.startswith("/models/"):
            model = path.removeprefix("/models/")
            backend = self._services.backends.for_model(model)
            caller.check_model(model)
            found = model_info(self._services, caller.user.id, backend, model)
        else:
            return False
        await exchange.answer_json(200, orjson.dumps(found))
        return True

    async def _forward_or_explain(self, exchange: Exchange, caller: Caller, body: bytes) -> None:
        """Forward a request. Whatever goes wrong ends as an error that an OpenAI client understands."""
        try:
            if tells(exchange.scope["raw_path"], exchange.credentials):
                text = "A token stands in the path, where the agent would see it. Leave it out."
                raise Invalid(text, code="token_in_path")
            query = exchange.scope["query_string"].decode("latin-1")
            model = parse_qs(query).get("model", [""])[0]
            to = await destination(self._services, caller, body, exchange.headers, model)
            if body or exchange.scope["method"] not in SAFE_METHODS:
                exchange.ending.callback(self._count, exchange, to)
            await self._forward(exchange, caller, to, body)
        except DomainError as error:
            await self._break_off(exchange, *described(error))
        except CodingError as error:
            await self._break_off(exchange, 502, f"The agent's answer cannot be read. {error}")
        except httpcore2.ReadTimeout:
            await self._break_off(exchange, 504, f"{SILENT}.")
        except EventLogError:
            await self._break_off(exchange, 503, LOG_REFUSED)
        except Exception:
            _logger.exception("proxy_failed")
            await self._break_off(exchange, 500, OUR_FAULT)

    def _count(self, exchange: Exchange, to: Destination) -> None:
        usage = exchange.told.usage()
        self._services.usage.count(to.agent, to.backend, to.model, usage, failed=exchange.failed, cut=exchange.cut)

    async def _forward(self, exchange: Exchange, caller: Caller, to: Destination, body: bytes) -> None:
        async def ask(run: Run) -> None:
            await self._exchange(exchange, caller, to, run, body)

        supervisor = self._services.pool.supervise(to.agent)
        await ask_runner(supervisor, caller.origin, ask, refused=httpcore2.ConnectError, broken=_BROKEN)

    async def _exchange(self, exchange: Exchange, caller: Caller, to: Destination, run: Run, body: bytes) -> None:
        self._guard.refuse_unless_good(caller)
        adapted = self._adapt(exchange, to, run)
        changed = adapted.body
        # Of a user with a budget it has to be known what every answer cost.
        if caller.user.monthly_tokens is not None and to.body is not None:
            if to.body.get("background"):
                raise Invalid(
                    "An answer in the background cannot be counted for your budget. Leave `background` out.",
                    code="background_not_counted",
                )
            asking = asking_for_usage(changed or to.body)
            exchange.hides_usage, changed = asking is not None, asking or changed
        content = body if changed is None else await written(changed, len(body))
        request = httpcore2.Request(
            exchange.scope["method"],
            self._url(exchange, run),
            headers=self._headers(exchange, to, run, adapted, len(content)),
            content=content,
            extensions=_TIMEOUTS,
        )
        exchange.asked_at, exchange.asked_with = trio.current_time(), len(content)
        response = await self._pool.handle_async_request(request)
        stream = response.extensions["network_stream"]
        try:
            decoder = Decoder(_coding(response.headers))
            exchange.is_event_stream = any(
                name.lower() == b"content-type" and is_event_stream(value) for name, value in response.headers
            )
            passed = to_client(
                response.headers, decoded=not decoder.is_identity, session=_session_header(to.backend)
            )
            await exchange.start(response.status, passed)
            if isinstance(stream, HookedStream):
                stream.before_read = exchange.flush
            async for data in response.aiter_stream():
                self._guard.refuse_unless_good(caller)
                for piece in decoder.pieces(data):
                    exchange.gather(piece)
                    if exchange.pending_size > FLUSH_BYTES:
                        await exchange.flush()
                    await decoder.pace.step()
            decoder.end()
            exchange.complete = True
        finally:
            if isinstance(stream, HookedStream):
                stream.before_read = None
            with trio.CancelScope(shield=True):
                await response.aclose()
        await exchange.finish()

    def _adapt(self, exchange: Exchange, to: Destination, run: Run) -> Adapted:
        if to.body is None or not _is_chat(exchange):
            return Adapted({}, None)
        first = to.session not in run.sessions
        run.sessions.add(to.session)
        model = self._services.pool.house.maker.model(to.backend, to.agent)
        return adapt(to.backend, to.body, session=to.session, model_override=model, first=first)

    @staticmethod
    def _url(exchange: Exchange, run: Run) -> httpcore2.URL:
        if run.endpoint is None:
            raise AssertionError("a ready runner has an endpoint")
        query = query_to_runner(exchange.scope["query_string"], exchange.credentials)
        target = exchange.scope["raw_path"] + (b"?" + query if query else b"")
        return httpcore2.URL(scheme=b"http", host=run.endpoint.host.encode(), port=run.endpoint.port, target=target)

    @staticmethod
    def _headers(exchange: Exchange, to: Destination, run: Run, adapted: Adapted, length: int) -> HeaderList:
        ours = {**adapted.headers, **auth_headers(to.backend, run.key)}
        added = [(name.encode(), value.encode()) for name, value in ours.items()]
        names = {name.lower() for name, _ in added}
        session = _session_header(to.backend)
        passed = to_runner(exchange.scope["headers"], exchange.credentials, session=session)
        passed = [h for h in passed if h[0] not in names]
        return [
            (b"host", AGENT_NAME.encode()),
            (b"accept-encoding", b"identity"),
            *passed,
            *added,
            (b"content-length", str(length).encode()),
            (b"x-request-id", exchange.scope[CORRELATION].encode()),
        ]

    async def _refuse(self, exchange: Exchange, status: int, body: bytes, headers: HeaderList) -> None:
        # The rest of the body may still be coming: the connection cannot be used again.
        close = [(b"connection", b"close")] if status == 413 else []
        await exchange.answer_json(status, body, *headers, *close)

    async def _break_off(
        self, exchange: Exchange, status: int, told: bytes | str, headers: HeaderList | None = None
    ) -> None:
        """Tell the client that there is no answer, or no more of it."""
        exchange.failed = True
        body = error_body(told, status=status) if isinstance(told, str) else told
        if not exchange.started:
            await exchange.answer_json(status, body, *(headers or []))
        elif exchange.is_event_stream:
            await exchange.break_off(b"data: " + body + b"\n\n")
        else:
            # A body of a promised length or type cannot be mended. Without its end the server cuts the connection,
            # which is the only honest signal.
            exchange.final = True


def _coding(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the codings that are on an answer, as one value."""
    return ", ".join(value.decode("latin-1") for name, value in headers if name.lower() == b"content-encoding")


def _session_header(backend: Backend) -> bytes:
    placement = backend.session
    return placement.name.lower().encode() if placement and placement.place == "header" else b""


def _is_chat(exchange: Exchange) -> bool:
    """Tell whether an agent may take it for a chat, however its path is spelled."""
    path: str = exchange.scope["path"].replace("\\", "/").casefold()
    return posixpath.normpath(path).endswith("/chat/completions")


async def _watch_client(exchange: Exchange) -> None:
    while True:
        message = await exchange.receive()
        if message["type"] == "http.disconnect":
            if not exchange.final:
                exchange.working.cancel()
            return


async def _watch_shutdown(exchange: Exchange, cut: trio.Event) -> None:
    await cut.wait()
    exchange.stopping = True
    exchange.working.cancel()
