"""A client that is as rude as a test needs it."""

import json
import socket
from typing import Any, Self

from tests.harness.server import Server


class RawClient:
    """One TCP connection; use as a context manager. `small` makes its receive buffer as small as possible."""

    def __init__(self, server: Server, *, small: bool = False) -> None:
        self._socket = socket.socket()
        if small:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.settimeout(60)
        self._socket.connect(("127.0.0.1", server.port))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def head(self, path: str, token: str, length: int, *more: str) -> None:
        """Send the head of a POST request."""
        lines = [
            f"POST {path} HTTP/1.1",
            "Host: localhost",
            f"Authorization: Bearer {token}",
            "Content-Type: application/json",
            f"Content-Length: {length}",
            *more,
        ]
        self.send("\r\n".join([*lines, "", ""]).encode())

    def post(self, path: str, token: str, body: dict[str, Any]) -> None:
        """Send a whole POST request."""
        data = json.dumps(body).encode()
        self.head(path, token, len(data))
        self.send(data)

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._socket.sendall(data)

    def read_until(self, end: bytes) -> bytes:
        """Read up to and including some bytes, or all there is when the server closes the connection."""
        got = bytearray()
        while end not in got and (more := self._socket.recv(1)):
            got += more
        return bytes(got)

    def read_all(self) -> bytes:
        """Read until the server closes the connection."""
        got = bytearray()
        while more := self._socket.recv(65536):
            got += more
        return bytes(got)

    def close(self) -> None:
        """Vanish."""
        self._socket.close()
