"""Settings that are addresses, networks, origins and names."""

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address, ip_network
from typing import Annotated, Any

import httpx
from pydantic import AfterValidator, BeforeValidator
from pydantic_settings import NoDecode


def _host(value: str) -> str:
    if value != "localhost":
        ip_address(value)
    return value


def _networks(value: Any) -> Any:
    return tuple(ip_network(part) for part in _parts(value)) if isinstance(value, str) else value


def _origins(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    parts = _parts(value)
    wrong = [p for p in parts if not re.fullmatch(r"https?://[^/\s*]+", p)]
    if wrong:
        raise ValueError(f"{wrong[0]!r} is not an origin such as https://chat.example.org")
    return parts


def _one_origin(value: Any) -> Any:
    found = _origins(value.lower().rstrip("/ ")) if isinstance(value, str) else value
    if len(found) > 1:
        raise ValueError("must be one origin; more names go into ALLOWED_HOSTS")
    scheme, separator, name = (found[0] if found else "").partition("://")
    return f"{scheme}{separator}{_ascii(name)}"


def _names(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    parts = tuple(_ascii(p.lower().rstrip(".")) for p in _parts(value))
    wrong = [p for p in parts if not re.fullmatch(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*", p)]
    if wrong:
        raise ValueError(f"{wrong[0]!r} is not a name such as chat.example.org or *.example.org, without a port")
    return parts


def _ascii(name: str) -> str:
    """Return a name as browsers send it. Raises ValueError."""
    if name.isascii():
        return name
    wildcard, rest = ("*.", name[2:]) if name.startswith("*.") else ("", name)
    try:
        return wildcard + httpx.URL(f"https://{rest}").netloc.decode()
    except httpx.InvalidURL:
        raise ValueError(f"{name!r} is not a name") from None


def _loopback(address: IPv4Address) -> IPv4Address:
    if not address.is_loopback:
        raise ValueError("must be an address of this machine only, such as 127.0.0.2")
    return address


def _parts(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())


Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_networks)]
Host = Annotated[str, AfterValidator(_host)]
Loopback = Annotated[IPv4Address, AfterValidator(_loopback)]
Origin = Annotated[str, BeforeValidator(_one_origin)]
Origins = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_origins)]
HostNames = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_names)]
