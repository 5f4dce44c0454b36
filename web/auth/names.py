"""Under which names this server is known, and which pages are its own.

A page of another site can make a browser ask this server under a name of that site (DNS rebinding). Then the
browser takes both for one site. So a request must name the server as the admin has named it, or by an address,
which nobody can rebind.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

from domain.errors import Misdirected
from web.auth.address import Address, client_address
from web.services import WebSettings

_KEPT = 64
_DEFAULT_PORTS = {"http": "80", "https": "443"}
_AUTHORITY = re.compile(r"(?P<name>\[[0-9a-f:.]{2,45}\]|[^\s\[\]:/?#@]{1,253}):?(?P<port>\d{0,5})")
_PLAIN = re.compile(r"[a-z0-9._-]+(:\d{1,5})?")
_TOKENS_COUNT = re.compile(r"/v1(/.*)?|/api/.*|/auth/(me|logout)", re.DOTALL)
"""Where a request must show a token, or a cookie, to get anything."""


@dataclass(frozen=True, slots=True)
class Addressed:
    """How a request named this server."""

    host: str
    """Name and port as in the `Host` header, or as a trusted proxy has passed them on. "" when there is none."""
    origins: frozenset[str]
    """The origins of this server's own pages, as its client sees them."""

    def policy_sources(self, path: str) -> str:
        """Return the sources of a content security policy that mean this server, below a path.

        A policy knows no names in brackets: then it is the whole server.
        """
        hosts = {self.host, *(urlsplit(origin).netloc for origin in self.origins)}
        return " ".join(sorted(h + path for h in hosts if _PLAIN.fullmatch(h))) or "'self'"


UNNAMED = Addressed("", frozenset())


class Names:
    """The names under which this server may be asked."""

    def __init__(self, settings: WebSettings) -> None:
        self._settings = settings
        self._known = lru_cache(maxsize=_KEPT)(self._looked_up)  # A few come again and again.
        self._public = normal_origin(settings.public_origin)
        self._public_name = _split(urlsplit(self._public).netloc)[0] if self._public else ""
        self._wildcards = tuple(n.removeprefix("*") for n in settings.allowed_hosts if n.startswith("*."))

    def addressed(self, headers: Mapping[str, str], peer: str) -> Addressed:
        """Return how a request named this server. Raises Misdirected for a name that is not one of its own.

        Header names are lower case; `peer` is the address at the other end of the connection.
        """
        host = headers.get("host", "")
        if not self._is_trusted(peer):
            return self._known(host, "", "")
        return self._known(host, headers.get("x-forwarded-host", ""), headers.get("x-forwarded-proto", ""))

    def _looked_up(self, host: str, forwarded_host: str, forwarded_scheme: str) -> Addressed:
        host, forwarded = host.strip().lower(), forwarded_host.rpartition(",")[2].strip().lower()
        self._check(host)
        if forwarded and _split(forwarded)[0] != _split(host)[0]:
            self._check(forwarded)
            host = forwarded
        is_tls = forwarded_scheme.rpartition(",")[2].strip().lower() == "https"
        return Addressed(host, self._origins(host, is_tls=is_tls))

    def _check(self, host: str) -> None:
        name, _ = _split(host)
        if not host or self._is_ours(name):
            return  # Browsers always send a host.
        shown = name[:253] or "?"
        if name == self._settings.agents_address:
            told = "is where agents listen. Open agent-stack by another address, such as 127.0.0.1 on this machine."
        else:
            told = (
                "is not a name of this agent-stack. If it should be one, its admin sets "
                f"PUBLIC_ORIGIN=https://{shown}, or ALLOWED_HOSTS={shown}, and restarts it. "
                "Its IP address works without that."
            )
        raise Misdirected(f"{shown!r} {told}", host=shown)

    def _is_ours(self, name: str) -> bool:
        if _address(name):
            return name != self._settings.agents_address
        return bool(name) and (_is_loopback(name) or name == self._public_name or self._is_listed(name))

    def _is_listed(self, name: str) -> bool:
        return name in self._settings.allowed_hosts or name.endswith(self._wildcards)

    def _origins(self, host: str, *, is_tls: bool) -> frozenset[str]:
        """Return the origins that pages of ours may have which were asked for under this name."""
        found = {self._public} - {""}
        name, port = _split(host)
        if not name or name == self._public_name:  # Whose scheme is known.
            return frozenset(found)
        is_tls = is_tls or port == _DEFAULT_PORTS["https"]
        if is_tls or self._settings.cookie_secure or self._is_listed(name):
            found.add(normal_origin(f"https://{host}"))
        if not is_tls and (_is_loopback(name) or not self._settings.cookie_secure):
            found.add(normal_origin(f"http://{host}"))
        return frozenset(found)

    def _is_trusted(self, peer: str) -> bool:
        address = client_address(peer, "", ())
        return any(address in network for network in self._settings.trusted_proxies) if address else False


def must_name_us(method: str, path: str, headers: Mapping[str, str]) -> bool:
    """Tell whether a request could do harm under a foreign name.

    One that shows a token, and no cookie, has nothing that a foreign page could borrow.
    """
    if "cookie" in headers:
        return True
    if path.startswith("/v1/") and method == "OPTIONS":
        return False  # It asks what is allowed, and shows nothing yet.
    return not (_shows_token(headers) and _TOKENS_COUNT.fullmatch(path))


def _shows_token(headers: Mapping[str, str]) -> bool:
    return headers.get("authorization", "").lower().startswith("bearer ")


def normal_origin(origin: str) -> str:
    """Return an origin in lower case and without the usual port of its scheme, "" for what is none."""
    scheme, _, rest = origin.strip().lower().partition("://")
    name, port = _split(rest)
    if scheme not in _DEFAULT_PORTS or not name:
        return ""
    return f"{scheme}://{name}" + (f":{port}" if port not in {"", _DEFAULT_PORTS[scheme]} else "")


def _split(host: str) -> tuple[str, str]:
    """Return name and port of `name:port`, both "" for what is neither."""
    found = _AUTHORITY.fullmatch(host)
    if found is None:
        return "", ""
    return found["name"].rstrip("."), found["port"].lstrip("0")


def _address(name: str) -> Address | None:
    """Return the address that a name is; one of the sixth version stands in brackets."""
    try:
        address = ip_address(name.strip("[]"))
    except ValueError:
        return None
    return address if name.startswith("[") == isinstance(address, IPv6Address) else None


def _is_loopback(name: str) -> bool:
    address = _address(name)
    return address.is_loopback if address else name == "localhost" or name.endswith(".localhost")
