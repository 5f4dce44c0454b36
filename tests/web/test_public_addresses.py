"""web.keys.public: which addresses a user may have this server go to."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from web.keys.public import is_public

PUBLIC = ["1.1.1.1", "8.8.8.8", "172.15.0.1", "172.32.0.1", "192.0.1.1", "223.255.255.255", "2606:4700::1111"]
EMBEDDED = ["::ffff:{}", "64:ff9b::{}"]
"""What leads to an IPv4 address, which counts in its place."""
NOT_PUBLIC = [
    *("0.0.0.0", "0.1.2.3", "10.1.2.3", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.0.1"),
    *("168.63.129.16", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.0.9"),
    *("192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1"),
    *("224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255"),
]
NOT_PUBLIC_IPV6 = [
    *("::", "::1", "::7f00:1", "::8.8.8.8", "64:ff9b:1::808:808", "100::1", "fc00::1", "fd00:ec2::254"),
    *("fe80::1", "fec0::1", "ff02::1", "ff0e::1", "2001::1", "2001:0:4136:e378::1", "2001:10::1", "2001:20::1"),
    *("2606:4700::5efe:7f00:1", "2606:4700::200:5efe:a00:1", "::ffff:0:7f00:1", "200::1"),
    *("2001:db8::1", "2002:808:808::1", "2002:7f00:1::1", "3fff::1", "4000::1", "5f00::1", "8000::1"),
]


@pytest.mark.parametrize("address", PUBLIC)
def test_what_everybody_reaches_is_public(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize("address", [*NOT_PUBLIC, *NOT_PUBLIC_IPV6])
def test_what_only_this_server_or_its_network_reaches_is_not(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("way", EMBEDDED)
def test_an_address_within_another_counts_itself(way: str) -> None:
    for address in NOT_PUBLIC:
        assert not is_public(IPv6Address(way.format(address))), address
    for address in (a for a in PUBLIC if ":" not in a):
        assert is_public(IPv6Address(way.format(address))), address


@given(st.ip_addresses(v=4))
def test_nothing_is_public_that_the_library_knows_to_be_private(address: IPv4Address) -> None:
    assert not is_public(address) or (address.is_global and not address.is_multicast)


@given(st.ip_addresses(v=6))
def test_nothing_beyond_what_was_given_out_is_public(address: IPv6Address) -> None:
    embeds = any(address in IPv6Network(way.format("0.0.0.0/96")) for way in ("::ffff:{}", "64:ff9b::{}"))
    assert not is_public(address) or embeds or (address in IPv6Network("2000::/3") and address.is_global)


def test_this_machines_own_address_is_not_public(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be one of the internet's, with services that are for this machine alone."""
    monkeypatch.setattr("web.keys.public._SPECIAL_IPV4", ())
    assert not is_public(IPv4Address("127.0.0.1"))
    assert not is_public(IPv4Address("127.0.0.2"))
    assert is_public(IPv4Address("8.8.8.8"))
