"""One HTTP/1.1 connection of a test agent: proper answers by h11, and raw bytes for improper ones."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

import h11
import orjson
import trio

Headers = list[tuple[str, str]]
EVENT_STREAM: Headers = [("content-type", "text/event-stream")]


class GoneError(Exception):
    """The client closed the connection."""


@dataclass(frozen=True, slots=True)
class Request:
    """A whole request."""

    method: str
    target: str
    headers: Headers
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]

    def header(self, name: str) -> str:
        return next((v for n, v in self.headers if n == name), "")

    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(self.body)
        return found


class Wire:
    """A connection on the server's side."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._h11 = h11.Connection(h11.SERVER)

    async def requests(self) -> AsyncGenerator[Request, None]:
        """Yield one request after the other for as long as the client keeps the connection."""
        while True:
            head, body = None, bytearray()
            while not isinstance(event := await self._next(), h11.EndOfMessage):
                if isinstance(event, h11.Request):
                    head = event
                elif isinstance(event, h11.Data):
                    body += event.data
                else:
                    return
            assert head is not None
            headers = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in head.headers]
            yield Request(head.method.decode(), head.target.decode("latin-1"), headers, bytes(body))
            if self._h11.our_state is not h11.DONE or self._h11.their_state is not h11.DONE:
                return
            self._h11.start_next_cycle()

    async def start(self, status: int, headers: Headers) -> None:
        """Send the head of an answer; without a length it is sent in chunks."""
        await self._send(h11.Response(status_code=status, headers=headers))

    async def data(self, data: bytes) -> None:
        """Send a part of the body."""
        await self._send(h11.Data(data=data))

    async def finish(self) -> None:
        """End the answer."""
        await self._send(h11.EndOfMessage())

    async def whole(self, status: int, data: bytes, headers: Headers) -> None:
        """Send a whole answer."""
        await self.start(status, [*headers, ("content-length", str(len(data)))])
        await self.data(data)
        await self.finish()

    async def json(self, answer: object, status: int = 200, headers: Headers | None = None) -> None:
        """Send a whole JSON answer."""
        await self.whole(status, orjson.dumps(answer), [("content-type", "application/json"), *(headers or [])])

    async def until_gone(self) -> None:
        """Return once the client has closed the connection."""
        try:
            while await self.stream.receive_some(65536):
                pass
        except trio.BrokenResourceError:
            return

    async def _next(self) -> object:
        while (event := self._h11.next_event()) is h11.NEED_DATA:
            try:
                if self._h11.they_are_waiting_for_100_continue:
                    await self._send(h11.InformationalResponse(status_code=100, headers=[]))
                self._h11.receive_data(await self.stream.receive_some(65536))
            except trio.BrokenResourceError:
                return None
        return event

    async def _send(self, event: Any) -> None:
        data = self._h11.send(event)
        try:
            await self.stream.send_all(data or b"")
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise GoneError from None
