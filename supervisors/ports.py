"""Ports for runners."""

import errno
import socket
from collections.abc import Iterator, Sequence

from supervisors.engines.protocol import EngineError


class PortPool:
    """Hands out ports of a range that nobody listens on at any of the `hosts`. Both ends are included."""

    def __init__(self, first: int, last: int, hosts: Sequence[str]) -> None:
        self._hosts = tuple(dict.fromkeys(hosts))
        self._first = first
        self._last = last
        self._reserved: set[int] = set()
        self._next = first

    def __repr__(self) -> str:
        return f"<PortPool {self._first}..{self._last}, {len(self._reserved)} reserved>"

    def reserve(self) -> int:
        """Return a free port and keep it from others until it is released.

        Raises EngineError when none is free, or when the machine does not have one of the addresses.
        The search goes round the range, so a port that was just given back rests for as long as possible.
        """
        for port in self._candidates():
            if port not in self._reserved and all(_is_free(host, port) for host in self._hosts):
                self._reserved.add(port)
                self._next = port + 1 if port < self._last else self._first
                return port
        raise EngineError(
            f"No free port between {self._first} and {self._last}. "
            "Widen BACKEND_PORT_START..BACKEND_PORT_END or stop some runners."
        )

    def hold(self, port: int) -> None:
        """Count a port as reserved: an adopted runner has it."""
        self._reserved.add(port)

    def release(self, port: int) -> None:
        """Give a port back."""
        self._reserved.discard(port)

    def _candidates(self) -> Iterator[int]:
        yield from range(self._next, self._last + 1)
        yield from range(self._first, self._next)


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise EngineError(
                    f"This machine has no address {host} for agents to listen on. Add it (on macOS: sudo ifconfig "
                    f"lo0 alias {host}), or set BACKEND_HOST to another address of this machine only."
                ) from None
            return False
    return True
