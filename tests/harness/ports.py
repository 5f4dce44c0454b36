"""Ports for what is under test.

They lie below those that the kernel gives to outgoing connections: one of those could take a port between the
moment it was found free and the moment a server listens on it.
"""

import random
import socket
from collections.abc import Iterator
from functools import cache

AGENTS_HOST = "127.0.0.2"
"""Where agents listen, when the settings do not say otherwise."""
_FIRST, _LAST, _SIZE = 20000, 32700, 100


class PortBlock:
    """A hundred ports, `first` to `last`, that no other test has while this object lives, in whatever process.

    The claim is a UDP socket on the first port: it ends with the processes that have it, however they end, and TCP
    does not mind. A server gets `claim` too: one that outlives its killed tests still has its ports to itself.
    """

    def __init__(self) -> None:
        firsts = range(_FIRST, _LAST - _SIZE + 1, _SIZE)
        for first in random.sample(firsts, len(firsts)):
            claim = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                claim.bind(("127.0.0.1", first))
            except OSError:
                claim.close()
                continue
            self.claim = claim
            self.first, self.last = first, first + _SIZE - 1
            return
        raise AssertionError(f"every block of ports between {_FIRST} and {_LAST} is claimed")

    def __del__(self) -> None:
        if hasattr(self, "claim"):
            self.claim.close()


_SPARE = 25


def free_port() -> int:
    """Return a port of the loopback address that nobody listens on, not the same one soon again.

    The next few ports are this process's own as well, for tests that want a short range.
    """
    for port in _ports_of_this_process():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise AssertionError("the ports go round for ever")


@cache
def _ports_of_this_process() -> Iterator[int]:
    return _round(PortBlock())


def _round(block: PortBlock) -> Iterator[int]:
    while True:
        yield from range(block.first, block.last + 1 - _SPARE)
