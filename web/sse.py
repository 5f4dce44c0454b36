"""Server-sent events, in the one form in which all our streams are sent."""

from collections.abc import Callable
from typing import Protocol, Self

import orjson
import trio
from quart import Response, request

from supervisors.signals import Watch
from web.context import still_good
from web.services import Lifecycle

KEEP_ALIVE_SECONDS = 15.0
_KEEP_ALIVE = b": keep-alive\n\n"


def frame(data: object, id_: str | None = None) -> bytes:
    """Return one event with JSON data."""
    head = f"id: {id_}\n".encode() if id_ else b""
    return head + b"data: " + orjson.dumps(data) + b"\n\n"


class Source(Protocol):
    """What a stream shows. It is asked for news whenever its watch is called."""

    watch: Watch
    """Must listen to the shutdown signal too."""

    async def take(self) -> bytes:
        """Return the frames since the last call, b"" for none."""

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""


class EventStream:
    """An endless body. A class, not a generator: there is no suspended frame to clean up when it is dropped.

    It queues nothing: a slow reader is asked for less often and then gets all the news at once.
    """

    def __init__(self, source: Source, lifecycle: Lifecycle, still_good: Callable[[], bool]) -> None:
        self._source = source
        self._lifecycle = lifecycle
        self._still_good = still_good

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while True:
            if self._lifecycle.closing.is_set() or not self._still_good():
                raise StopAsyncIteration
            news = await self._source.take()
            if news:
                return news
            if self._source.over:
                raise StopAsyncIteration
            with trio.move_on_after(KEEP_ALIVE_SECONDS) as quiet:
                await self._source.watch.wait()
            if quiet.cancelled_caught:
                return _KEEP_ALIVE


def event_stream(source: Source, lifecycle: Lifecycle) -> Response:
    """Return the response that streams `source`, for as long as the caller would still be let in."""
    return Response(
        b"" if request.method == "HEAD" else EventStream(source, lifecycle, still_good()),
        content_type="text/event-stream",
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )
