"""The HTTP client for agents, reading so little at a time that nothing in it holds the loop for long.

The library goes through all that one read has brought without a pause, until the head of an answer is complete:
thousands of `100 Continue`, for one.
"""

from typing import Any

import httpcore
import httpx

from supervisors.wire.streams import WrappedStream, WrappingBackend

HEAD_READ_BYTES = 2048
"""Bytes that are read at a time for as long as a head has not ended."""
MAX_ANSWER_HEAD_BYTES = 32 * 1024
"""Of the head of an answer: a few thousand headers at the most."""
_READ_BYTES = 8192
_KEPT_CONNECTIONS = 50

httpcore.AsyncHTTP11Connection.MAX_INCOMPLETE_EVENT_SIZE = MAX_ANSWER_HEAD_BYTES


class _Stream(WrappedStream, httpcore.AsyncNetworkStream):
    """A network stream that reads little at a time, and less until it has sent a request and read for a while."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        super().__init__(stream)
        self._head_bytes = 0

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        """Read."""
        most = HEAD_READ_BYTES if self._head_bytes < MAX_ANSWER_HEAD_BYTES else _READ_BYTES
        data: bytes = await self._stream.read(min(max_bytes, most), timeout)
        self._head_bytes += len(data)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Write."""
        self._head_bytes = 0  # A request: a head follows.
        await super().write(buffer, timeout)

    async def start_tls(
        self,
        ssl_context: Any,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        """Encrypt."""
        return _Stream(await self._stream.start_tls(ssl_context, server_hostname, timeout))


class _Backend(WrappingBackend, httpcore.AsyncNetworkBackend):
    """Connects over TCP and wraps the streams."""


def make_client(*, timeout: float | None = 5.0) -> httpx.AsyncClient:
    """Return a client that heeds no proxy of the environment and follows no redirect."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=_KEPT_CONNECTIONS)
    transport = httpx.AsyncHTTPTransport(trust_env=False, limits=limits)
    transport._pool._network_backend = _Backend(httpcore.TrioBackend(), _Stream)  # noqa: SLF001 - there is no other way
    return httpx.AsyncClient(transport=transport, trust_env=False, follow_redirects=False, timeout=timeout)
