"""Server-sent events, in the one form in which all our streams are sent."""

from collections.abc import Callable
from typing import Protocol, Self

import orjson
import trio
from quart import Response, request

from domain.errors import TooMany, Unavailable
from supervisors.signals import Watch
from supervisors.wire.transit import Hold
from web.context import still_good, take_stream_seat, when_shut_out
from web.services import Lifecycle

KEEP_ALIVE_SECONDS = 15.0
_CROWDED_SECONDS = 0.2
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

    The streams of one user have their turn one after the other, and share what memory the user may take: one long
    message to many streams holds up nobody else. It queues nothing: a slow reader is asked for less often and then
    gets all the news at once.
    """

    def __init__(
        self,
        source: Source,
        lifecycle: Lifecycle,
        still_good: Callable[[], bool],
        lock: trio.Lock | None = None,
        hold: Hold | None = None,
    ) -> None:
        self._source = source
        self._lifecycle = lifecycle
        self._still_good = still_good
        self._lock = lock or trio.Lock()
        self._hold = hold

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while True:
            if self._lifecycle.closing.is_set() or not self._still_good():
                raise StopAsyncIteration
            if self._hold:
                self._hold.become(0)  # What was returned before has been sent.
            async with self._lock:
                news = await self._source.take()
                await self._find_room(news)
            if news:
                return news
            if self._source.over:
                raise StopAsyncIteration
            with trio.move_on_after(KEEP_ALIVE_SECONDS) as quiet:
                await self._source.watch.wait()
            if quiet.cancelled_caught:
                return _KEEP_ALIVE

    async def _find_room(self, news: bytes) -> None:
        while self._hold:
            try:
                self._hold.become(len(news))
            except (TooMany, Unavailable):  # Others of the user's streams wait for their readers, or are cut soon.
                await trio.sleep(_CROWDED_SECONDS)
            else:
                return


def event_stream(source: Source, lifecycle: Lifecycle) -> Response:
    """Return the response that streams `source`, for as long as the caller would still be let in.

    Raises TooMany when the caller has too many open.
    """
    is_head = request.method == "HEAD"
    when_shut_out(source.watch.wake)  # It then ends as any other, and not in the middle.
    return Response(
        b"" if is_head else EventStream(source, lifecycle, still_good(), *take_stream_seat()),
        content_type="text/event-stream",
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )
