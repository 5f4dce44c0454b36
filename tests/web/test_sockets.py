"""Connections: kept while they are of use, closed when they are not, and never lost."""

import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
import trio.testing
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from quart import Response, request
from quart_trio import QuartTrio

import web.server
from tests.harness.contract import new_email
from tests.harness.inside import inside
from tests.harness.ports import free_port
from tests.harness.server import Server
from tests.harness.sockets import connect, head, read_all, read_until
from tests.harness.waiting import eventually, settled
from web.asgi import KeepAliveConnection
from web.server import serve_http

KEEP_ALIVE_SECONDS = 0.3
CHAT = {"model": "demo", "messages": [{"role": "user", "content": "hello"}]}


def sockets_of(server: Server) -> int:
    """Return how many connections the server has open, on its own port."""
    ours = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{server.pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if int(fields[1].rpartition(":")[2], 16) == server.port and fields[3] != "0A":
                ours.add(f"socket:[{fields[9]}]")
    found = 0
    for descriptor in Path(f"/proc/{server.pid}/fd").iterdir():
        try:
            found += str(descriptor.readlink()) in ours
        except OSError:
            continue
    return found


# -- in this process, with a short idle time --------------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have idle connections closed soon."""

    class Impatient(Config):
        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, KEEP_ALIVE_SECONDS if name == "keep_alive_timeout" else value)

    monkeypatch.setattr(web.server, "Config", Impatient)
    monkeypatch.setattr("hypercorn.trio.run.TCPServer", TCPServer)  # Put back what serve_http puts in.


def small_app() -> QuartTrio:
    app = QuartTrio("small")
    app.asgi_http_class = KeepAliveConnection
    app.config["RESPONSE_TIMEOUT"] = None

    @app.get("/json")
    async def json() -> dict[str, bool]:
        return {"ok": True}

    @app.post("/echo")
    async def echo() -> Response:
        return Response(await request.get_data())

    @app.get("/stream")
    async def stream() -> Response:
        async def body() -> AsyncIterator[bytes]:
            for n in range(5):
                yield b"data: %d\n\n" % n
                await trio.sleep(0)

        return Response(body(), content_type="text/event-stream")

    return app


async def raw_app(scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Any]) -> None:
    """A plain ASGI application, as the one under /v1 is."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok", "more_body": False})


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[int]:
    port, stop = free_port(), trio.Event()
    server = partial(serve_http, app, host="127.0.0.1", port=port, graceful_seconds=1.0, shutdown=stop.wait)
    async with trio.open_nursery() as nursery:
        await nursery.start(server)
        yield port
        stop.set()


async def is_closed_when_idle(stream: trio.SocketStream) -> None:
    with trio.fail_after(20):
        assert await stream.receive_some() == b""


async def ask(stream: trio.SocketStream, request: bytes, end: bytes) -> bytes:
    await stream.send_all(request)
    data = b""
    with trio.fail_after(20):
        while not data.endswith(end):
            more = await stream.receive_some()
            assert more, data
            data += more
    return data


REQUESTS: dict[str, tuple[bytes, bytes]] = {
    "json": (b"GET /json HTTP/1.1\r\nHost: localhost\r\n\r\n", b'{"ok":true}\n'),
    "stream": (b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n", b"0\r\n\r\n"),
    "body": (b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
    "not found": (b"GET /nope HTTP/1.1\r\nHost: localhost\r\n\r\n", b"</p>\n"),
}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("request_", "end"), REQUESTS.values(), ids=REQUESTS)
async def test_a_connection_is_closed_when_it_idles_after_many_answers(request_: bytes, end: bytes) -> None:
    async with serving(small_app()) as port, await trio.open_tcp_stream("127.0.0.1", port) as stream:
        for _ in range(20):
            await ask(stream, request_, end)
        await is_closed_when_idle(stream)


@pytest.mark.usefixtures("impatient")
async def test_a_connection_to_a_plain_application_is_closed_when_it_idles() -> None:
    async with serving(raw_app) as port, await trio.open_tcp_stream("127.0.0.1", port) as stream:
        for _ in range(20):
            await ask(stream, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"ok")
        await is_closed_when_idle(stream)


@pytest.mark.usefixtures("impatient")
async def test_a_connection_on_which_nothing_is_ever_asked_is_closed() -> None:
    async with serving(small_app()) as port, await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await is_closed_when_idle(stream)


@pytest.mark.usefixtures("impatient")
async def test_a_connection_is_not_idle_while_an_answer_is_being_sent() -> None:
    app = small_app()

    @app.get("/slow")
    async def slow() -> Response:
        async def body() -> AsyncIterator[bytes]:
            for _ in range(4):
                await trio.sleep(KEEP_ALIVE_SECONDS / 2)
                yield b"x"

        return Response(body())

    async with serving(app) as port:
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            data = await ask(stream, b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n", b"0\r\n\r\n")
        assert data.count(b"1\r\nx\r\n") == 4


@pytest.mark.usefixtures("impatient")
async def test_the_handler_is_cancelled_when_its_client_goes_before_the_answer() -> None:
    app, began, gone = small_app(), trio.Event(), trio.Event()

    @app.get("/wait")
    async def wait() -> str:
        began.set()
        try:
            await trio.sleep(600)
        finally:
            gone.set()
        return ""

    async with serving(app) as port:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        await stream.send_all(b"GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with trio.fail_after(20):
            await began.wait()
            await stream.aclose()
            await gone.wait()


@pytest.mark.parametrize("path", ["/api/agents", "/v1/chat/completions"])
async def test_a_refusal_before_the_body_has_come_leaves_the_connection_usable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """The body is sent only when everybody waits: for it or, if the refusal did not, for the next request."""
    monkeypatch.setattr("hypercorn.trio.run.TCPServer", TCPServer)
    monkeypatch.setattr("web.asgi._REST_SECONDS", 20.0)
    refused, body = trio.Event(), b'{"backend": "demo"}'
    request = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()

    def telling(app: Any) -> Any:
        async def told(scope: dict[str, Any], receive: Any, send: Any) -> None:
            async def sends(message: dict[str, Any]) -> None:
                if message["type"] == "http.response.start":
                    refused.set()
                await send(message)

            await app(scope, receive, sends)

        return told

    async with inside(tmp_path) as stack:
        front = stack.front
        front._quart, front._openai = telling(front._quart), telling(front._openai)
        async with serving(front) as port, await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(request)
            with trio.fail_after(20):
                await refused.wait()
                await trio.testing.wait_all_tasks_blocked()
            answer = await ask(stream, body, b"}")
            assert answer.startswith(b"HTTP/1.1 401")
            assert b"connection: close" not in answer
            for _ in range(2):
                assert (await ask(stream, request + body, b"}")).startswith(b"HTTP/1.1 401")


# -- against a real server --------------------------------------------------------------------------------


def test_a_client_that_keeps_its_connection_uses_one_socket_for_everything(server: Server) -> None:
    client = server.sign_up(new_email())
    bearer = {"authorization": f"Bearer {server.token(client)}"}
    client.post("/v1/chat/completions", json=CHAT)
    before = settled(lambda: sockets_of(server))
    limits = httpx.Limits(max_connections=1, max_keepalive_connections=1)
    with httpx.Client(base_url=server.url, trust_env=False, headers=bearer, limits=limits, timeout=30) as one:
        for _ in range(15):
            assert one.get("/auth/me").status_code == 200
            assert one.get("/v1/models").status_code == 200
            assert one.get("/nope").status_code == 404
            assert one.post("/v1/chat/completions", json=CHAT).status_code == 200
            assert b"[DONE]" in one.post("/v1/chat/completions", json={**CHAT, "stream": True}).content
            assert one.post("/v1/chat/completions", json={"model": "nope"}).status_code == 404
        assert sockets_of(server) == before + 1


def test_a_client_that_closes_an_idle_connection_leaves_no_socket_behind(server: Server) -> None:
    before = settled(lambda: sockets_of(server))
    for _ in range(3):
        with server.client() as client:
            assert client.get("/healthz").status_code == 200
    eventually(lambda: sockets_of(server) <= before, "the sockets are closed")


def test_clients_that_leave_in_the_middle_leave_no_sockets_behind(server: Server) -> None:
    client = server.sign_up(new_email())
    bearer = f"Authorization: Bearer {server.token(client)}"
    conversation = client.post("/api/conversations", json={"backend": "demo"}).json()["conversation"]["id"]
    before = settled(lambda: sockets_of(server))
    for path in (f"/api/conversations/{conversation}/stream", "/api/runners/demo/progress"):
        for _ in range(5):
            connection = connect(server)
            connection.sendall(head(server, f"GET {path} HTTP/1.1", bearer))
            read_until(connection, b"data: ")
            connection.close()
    eventually(lambda: sockets_of(server) <= before, "the sockets are closed")


def test_a_client_that_half_closes_is_gone_and_its_socket_too(server: Server) -> None:
    client = server.sign_up(new_email())
    bearer = f"Authorization: Bearer {server.token(client)}"
    conversation = client.post("/api/conversations", json={"backend": "demo"}).json()["conversation"]["id"]
    before = settled(lambda: sockets_of(server))
    with connect(server) as connection:
        connection.sendall(head(server, f"GET /api/conversations/{conversation}/stream HTTP/1.1", bearer))
        read_until(connection, b"hello")
        connection.shutdown(socket.SHUT_WR)
        read_all(connection)
        eventually(lambda: sockets_of(server) <= before, "the socket is closed")


def test_pipelined_requests_are_answered_in_their_order(server: Server) -> None:
    client = server.sign_up(new_email())
    bearer = f"Authorization: Bearer {server.token(client)}"
    paths = ["/healthz", "/v1/models", "/nope", "/auth/me", "/v1/models/nope", "/healthz"]
    requests = [head(server, f"GET {path} HTTP/1.1", bearer, f"X-Request-Id: n{n}") for n, path in enumerate(paths)]
    last = head(server, "GET /healthz HTTP/1.1", "X-Request-Id: last", "Connection: close")
    with connect(server) as connection:
        connection.sendall(b"".join([*requests, last]))
        answers = read_all(connection)
    assert re.findall(rb"HTTP/1\.1 (\d+)", answers) == [b"200", b"200", b"404", b"200", b"404", b"200", b"200"]
    ids = re.findall(rb"x-request-id: (\w+)", answers)
    assert ids == [*(f"n{n}".encode() for n in range(len(paths))), b"last"]


def test_a_request_that_comes_in_single_bytes_is_answered(server: Server) -> None:
    body = b'{"email": "a@example.org", "password": "x"}'
    request = head(
        server,
        "POST /auth/login HTTP/1.1",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Connection: close",
    )
    with connect(server) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in request + body:
            connection.sendall(bytes([byte]))
        assert read_all(connection).startswith(b"HTTP/1.1 401")


def test_a_malformed_websocket_handshake_leaves_no_socket_behind(server: Server) -> None:
    before = settled(lambda: sockets_of(server))
    for _ in range(3):
        with connect(server) as connection:
            wish = ("Connection: Upgrade", "Upgrade: websocket")
            connection.sendall(head(server, "GET /healthz HTTP/1.1", *wish))
            assert b"200" in read_until(connection, b"\r\n\r\n")
    eventually(lambda: sockets_of(server) <= before, "the sockets are closed")


def test_a_client_that_leaves_in_the_middle_of_its_body_harms_nobody_else(server: Server) -> None:
    for _ in range(40):
        with connect(server) as connection:
            connection.sendall(head(server, "POST /auth/login HTTP/1.1", "Content-Length: 100") + b"{")
    assert server.client().get("/healthz").status_code == 200
