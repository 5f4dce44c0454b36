"""The connection to runners on the hot path, with a hook before each read.

A burst of small chunks from an agent should leave as one write, a single chunk at once. So chunks are gathered,
and what was gathered is written out just before the socket is read again: that is when the burst is over.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import httpcore2
import trio

from supervisors.wire.client import HEAD_READ_BYTES, MAX_ANSWER_HEAD_BYTES

# The library's own limit is three times as high, and so many headers take a while.
httpcore2.AsyncHTTP11Connection.MAX_INCOMPLETE_EVENT_SIZE = MAX_ANSWER_HEAD_BYTES

Hook = Callable[[], Awaitable[None]]

_KEPT_SECONDS = 60.0


# The methods below have the library's signatures, timeouts included (ASYNC109).


class HookedStream(httpcore2.AsyncNetworkStream):
    """A network stream that awaits `before_read`, when there is one, before it reads."""

    def __init__(self, stream: httpcore2.AsyncNetworkStream) -> None:
        self._stream = stream
        self.before_read: Hook | None = None

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        """Flush, then read."""
        if self.before_read:
            await self.before_read()
        else:  # The head: the library goes through all of it in one go.
            max_bytes = min(max_bytes, HEAD_READ_BYTES)
        return await self._stream.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Write."""
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        """Close, whatever happens meanwhile."""
        with trio.CancelScope(shield=True):
            await self._stream.aclose()

    def get_extra_info(self, info: str) -> Any:
        """Return what the network stream knows."""
        return self._stream.get_extra_info(info)


class HookedBackend(httpcore2.AsyncNetworkBackend):
    """Connects over TCP and wraps the streams."""

    def __init__(self) -> None:
        self._backend = httpcore2.TrioBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect."""
        return HookedStream(await self._backend.connect_tcp(host, port, timeout, local_address, socket_options))

    async def sleep(self, seconds: float) -> None:
        """Sleep."""
        await trio.sleep(seconds)


class Connection(httpcore2.AsyncHTTPConnection):
    """A connection that is not used again when a runner sent more than the answer it had promised.

    The library would take what is left over for the answer to the next request.
    """

    def has_expired(self) -> bool:
        """Return whether the pool has to close this connection, which is idle."""
        http11 = self._connection  # Neither name is public; a test shows that they still mean this.
        return super().has_expired() or (
            isinstance(http11, httpcore2.AsyncHTTP11Connection) and bool(http11._h11_state.trailing_data[0])  # noqa: SLF001
        )


class ConnectionPool(httpcore2.AsyncConnectionPool):
    """Connections to runners, without a limit: every stream needs one, and leases bound the rest."""

    def __init__(self) -> None:
        self._backend = HookedBackend()
        super().__init__(max_connections=None, max_keepalive_connections=100, keepalive_expiry=_KEPT_SECONDS)

    def create_connection(self, origin: httpcore2.Origin) -> Connection:
        """Return a connection to be made."""
        return Connection(origin, keepalive_expiry=_KEPT_SECONDS, network_backend=self._backend)
