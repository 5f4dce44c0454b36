"""Where a request comes from, seen through the reverse proxies that the admin trusts."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

from web.services import Network

Address = IPv4Address | IPv6Address
_SITE_BITS = 64
"""Whoever has one IPv6 address has a whole network of this size."""


def client_address(peer: str, forwarded_for: str, trusted: Sequence[Network]) -> Address | None:
    """Return the client's address: the last one in the chain that no trusted proxy stands for.

    None when there is none, as over a Unix socket. What a client itself writes into X-Forwarded-For is never
    believed: the chain is read from its end, for as long as it leads through trusted proxies and is readable.
    """
    address = _parsed(peer)
    for hop in reversed(forwarded_for.split(",")):
        if address is None or not is_trusted(address, trusted):
            return address
        found = _parsed(_without_port(hop.strip()))
        if found is None:
            return address
        address = found
    return address


def is_trusted(address: Address, trusted: Sequence[Network]) -> bool:
    """Tell whether a trusted proxy has this address."""
    return any(address in network for network in trusted)


def client_site(peer: str, forwarded_for: str, trusted: Sequence[Network]) -> str:
    """Return where a request comes from, in the form in which it is counted."""
    return site(client_address(peer, forwarded_for, trusted))


def site(address: Address | None) -> str:
    """Return what is counted as one place: an IPv4 address, or the network of an IPv6 address."""
    if isinstance(address, IPv6Address):
        return f"{int(address) >> (128 - _SITE_BITS):x}::/{_SITE_BITS}"
    return str(address)


def _without_port(hop: str) -> str:
    """Return the address of `1.2.3.4:5555` or `[2001:db8::9]:443`, as some proxies write it."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    host, _, port = hop.partition(":")
    return host if port.isdecimal() and "." in host else hop


def _parsed(text: str) -> Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
