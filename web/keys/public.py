"""Which addresses are public: whoever is on the internet reaches the same thing there.

It is a list of what is public, not of what is not: what nobody has given out yet, or what leads into an address of
another kind, is not. The blocks are those of IANA's registries of special-purpose addresses.
"""

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address

_SPECIAL_IPV4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # This network.
            "10.0.0.0/8",
            "100.64.0.0/10",  # Shared by the customers of a provider; some clouds' metadata.
            "127.0.0.0/8",
            "168.63.129.16/32",  # Azure's services for one virtual machine.
            "169.254.0.0/16",  # Of one link; most clouds' metadata.
            "172.16.0.0/12",
            "192.0.0.0/24",  # Of protocols; a cloud's metadata.
            "192.0.2.0/24",  # For examples, as the next ones of 198 and 203.
            "192.88.99.0/24",  # Relays of 6to4.
            "192.168.0.0/16",
            "198.18.0.0/15",  # For measurements.
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",  # Of groups.
            "240.0.0.0/4",  # Reserved.
        ),
    )
)
_GIVEN_OUT_IPV6 = IPv6Network("2000::/3")
_SPECIAL_IPV6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # Of protocols, Teredo among them.
            "2001:db8::/32",  # For examples, as 3fff::/20.
            "2002::/16",  # 6to4: leads to the IPv4 address in it.
            "3fff::/20",
        ),
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")
"""Where a network without IPv4 reaches its addresses: the last four bytes are one."""
_ISATAP, _ANY_ISATAP = 0x0000_5EFE, 0xFDFF_FFFF
"""What stands before an IPv4 address, in the last half of an address of a tunnel that leads there."""
_FOREIGN: dict[int, Address] = {4: IPv4Address("192.0.2.1"), 6: IPv6Address("2001:db8::1")}
"""Addresses that no machine has. One that may listen on them may listen anywhere, and tells nothing."""


def is_public(address: Address) -> bool:
    """Tell whether an address is public, and not this machine's own."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return is_public(address.ipv4_mapped)
        if address in _NAT64:
            return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
        if (int(address) >> 32) & _ANY_ISATAP == _ISATAP:
            return False
        listed = address in _GIVEN_OUT_IPV6 and not any(address in block for block in _SPECIAL_IPV6)
    else:
        listed = not any(address in block for block in _SPECIAL_IPV4)
    return listed and not _is_own(address)


def _is_own(address: Address) -> bool:
    """Tell whether this machine has an address: a program may listen on it. Nothing is sent."""
    return _may_listen_on(address) and not _may_listen_on(_FOREIGN[address.version])


def _may_listen_on(address: Address) -> bool:
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True
