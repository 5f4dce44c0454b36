"""The connection to runners on the hot path, with a hook before each read.

A burst of small chunks from an agent should leave as one write, a single chunk at once. So chunks are gathered,
and what was gathered is written out just before the socket is read again: that is when the burst is over.
"""

from collections.abc import Awaitable, Callable

import httpcore2

from supervisors.wire.client import HEAD_READ_BYTES, MAX_ANSWER_HEAD_BYTES
from supervisors.wire.streams import WrappedStream, WrappingBackend

# The library's own limit is three times as high, and so many headers take a while.
httpcore2.AsyncHTTP11Connection.MAX_INCOMPLETE_EVENT_SIZE = MAX_ANSWER_HEAD_BYTES

Hook = Callable[[], Awaitable[None]]

_KEPT_SECONDS = 60.0


class HookedStream(WrappedStream, httpcore2.AsyncNetworkStream):
    """A network stream that awaits `before_read`, when there is one, before it reads."""

    def __init__(self, stream: httpcore2.AsyncNetworkStream) -> None:
        super().__init__(stream)
        self.before_read: Hook | None = None

    # The library's signature, its timeout included.
    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        """Flush, then read."""
        if self.before_read:
            await self.before_read()
        else:  # The head: the library goes through all of it in one go.
            max_bytes = min(max_bytes, HEAD_READ_BYTES)
        data: bytes = await self._stream.read(max_bytes, timeout)
        return data


class HookedBackend(WrappingBackend, httpcore2.AsyncNetworkBackend):
    """Connects over TCP and wraps the streams."""


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
        self._backend = HookedBackend(httpcore2.TrioBackend(), HookedStream)
        super().__init__(max_connections=None, max_keepalive_connections=100, keepalive_expiry=_KEPT_SECONDS)

    def create_connection(self, origin: httpcore2.Origin) -> Connection:
        """Return a connection to be made."""
        return Connection(origin, keepalive_expiry=_KEPT_SECONDS, network_backend=self._backend)
