"""Sockets and bytes: for requests that no well-behaved client sends."""

import socket
from collections.abc import Iterable

import h2.config
import h2.connection

from tests.harness.server import Server


def connect(server: Server) -> socket.socket:
    """Return a connected socket."""
    connection = socket.create_connection(("127.0.0.1", server.port))
    connection.settimeout(10)
    return connection


def head(server: Server, line: str, *headers: str) -> bytes:
    """Return the head of an HTTP/1.1 request with its Host header."""
    lines = [line, f"Host: 127.0.0.1:{server.port}", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def exchange(server: Server, *parts: bytes) -> bytes:
    """Send the parts and return all that comes back until the server closes the connection."""
    with connect(server) as connection:
        for part in parts:
            connection.sendall(part)
        return read_all(connection)


def read_all(connection: socket.socket) -> bytes:
    """Return what comes until the other side closes. A reset counts as a close."""
    data = b""
    try:
        while more := connection.recv(65536):
            data += more
    except ConnectionResetError:
        pass
    return data


def read_until(connection: socket.socket, mark: bytes) -> bytes:
    """Return what comes up to and with `mark`, perhaps some more."""
    data = b""
    while mark not in data:
        more = connection.recv(65536)
        assert more, f"closed before {mark!r}: {data!r}"
        data += more
    return data


def http2_request(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the bytes of an HTTP/2 connection with one request, whose headers are sent unchecked."""
    config = h2.config.H2Configuration(
        client_side=True,
        header_encoding=None,
        validate_outbound_headers=False,
        normalize_outbound_headers=False,
    )
    connection = h2.connection.H2Connection(config)
    connection.initiate_connection()
    connection.send_headers(1, list(headers), end_stream=True)
    return bytes(connection.data_to_send())
