"""web.auth.address: a client has the address that it has, whatever it says."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from web.auth.address import client_address, site

TRUSTED = (ip_network("10.0.0.0/8"), ip_network("::1/128"))
PROXIES = st.one_of(st.just("::1"), st.integers(0, 2**24 - 1).map(lambda n: str(IPv4Address(10 * 2**24 + n))))
CLIENTS = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).filter(
    lambda a: not any((getattr(a, "ipv4_mapped", None) or a) in network for network in TRUSTED)
)
CLAIMS = st.lists(
    st.one_of(
        st.ip_addresses().map(str),
        PROXIES,
        st.text(max_size=20),
        st.sampled_from(["", "unknown", "_hidden", "1.2.3.4:80", "[2001:db8::1]:443", "for=1.2.3.4", " , ", "\t"]),
    ),
    max_size=6,
).map(", ".join)


def _normal(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    return (address.ipv4_mapped if isinstance(address, IPv6Address) else None) or address


@given(client=CLIENTS, claims=CLAIMS, proxies=st.lists(PROXIES, min_size=1, max_size=4))
def test_behind_trusted_proxies_a_client_has_the_address_that_the_first_of_them_saw(
    client: IPv4Address | IPv6Address, claims: str, proxies: list[str]
) -> None:
    """Each proxy adds whom it was called by, and the last one calls us. What the client wrote stands before."""
    *others, last = proxies
    chain = ", ".join([*([claims] if claims else []), str(client), *others])
    assert client_address(last, chain, TRUSTED) == _normal(client)


@given(client=CLIENTS, claims=CLAIMS)
def test_a_client_that_calls_us_itself_has_its_own_address(client: IPv4Address | IPv6Address, claims: str) -> None:
    assert client_address(str(client), claims, TRUSTED) == _normal(client)


@given(peer=st.one_of(CLIENTS.map(str), PROXIES), claims=CLAIMS)
def test_when_no_proxy_is_trusted_nothing_is_believed(peer: str, claims: str) -> None:
    assert client_address(peer, claims, ()) == _normal(ip_address(peer))


@pytest.mark.parametrize("peer", ["", "unix:", "nonsense", "<local>"])
@given(claims=CLAIMS)
def test_a_peer_without_an_address_has_none_whatever_it_says(peer: str, claims: str) -> None:
    assert client_address(peer, claims, TRUSTED) is None


@pytest.mark.parametrize(
    "added",
    ["203.0.113.7:5678", "[2001:db8::7]:443", "unknown", "_a8f3"],
    ids=["with a port", "with brackets and a port", "unknown", "obfuscated"],
)
@given(claims=CLAIMS)
def test_what_a_client_writes_is_not_believed_either_when_its_proxy_writes_what_is_no_address(
    added: str, claims: str
) -> None:
    """Some proxies add a port, or say `unknown`: what stands before that is still the client's own words."""
    assert client_address("10.0.0.1", f"{claims}, {added}", TRUSTED) == client_address("10.0.0.1", added, TRUSTED)


def test_an_address_of_version_4_within_one_of_version_6_is_that_of_version_4() -> None:
    assert client_address("::ffff:10.0.0.1", "203.0.113.7", TRUSTED) == IPv4Address("203.0.113.7")
    assert client_address("::ffff:203.0.113.7", "1.2.3.4", TRUSTED) == IPv4Address("203.0.113.7")


def test_a_proxy_that_says_nothing_is_the_client() -> None:
    assert client_address("10.0.0.1", "", TRUSTED) == IPv4Address("10.0.0.1")


@given(host=st.integers(0, 2**64 - 1), other=st.integers(0, 2**64 - 1), network=st.integers(0, 2**64 - 1))
def test_a_whole_network_of_version_6_counts_as_one_place(host: int, other: int, network: int) -> None:
    one, two = IPv6Address(network << 64 | host), IPv6Address(network << 64 | other)
    assert site(one) == site(two)
    assert site(one) != site(IPv6Address((network ^ 1) << 64 | host))


@given(one=st.ip_addresses(v=4), two=st.ip_addresses(v=4))
def test_each_address_of_version_4_is_a_place_of_its_own(one: IPv4Address, two: IPv4Address) -> None:
    assert (site(one) == site(two)) is (one == two)
    assert site(None) != site(one)
