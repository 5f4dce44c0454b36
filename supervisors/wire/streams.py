"""Network streams of HTTP clients, wrapped for how they are read.

The two clients in use have libraries with one interface, in classes of their own: this is mixed into either.
"""

from collections.abc import Callable, Iterable
from typing import Any

import trio

# The methods below have the libraries' signatures, timeouts included (ASYNC109).


class WrappedStream:
    """A network stream, of which a subclass says how it is read."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

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


class WrappingBackend:
    """Connects as `backend` does, and wraps the streams."""

    def __init__(self, backend: Any, wrap: Callable[[Any], Any]) -> None:
        self._backend = backend
        self._wrap = wrap

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> Any:
        """Connect."""
        return self._wrap(await self._backend.connect_tcp(host, port, timeout, local_address, socket_options))

    async def sleep(self, seconds: float) -> None:
        """Sleep."""
        await trio.sleep(seconds)
