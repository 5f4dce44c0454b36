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
from web.auth.address import Address, client_address, is_trusted
from web.services import WebSettings

NO_NAME = "bad_host"
_KEPT = 64
_DEFAULT_PORTS = {"http": "80", "https": "443"}
_LABEL = r"[a-z0-9_-]{1,63}"
_AUTHORITY = re.compile(rf"(?P<name>\[[0-9a-f:.]{{2,45}}\]|{_LABEL}(?:\.{_LABEL})*\.?):?(?P<port>\d{{0,5}})")
_PLAIN = re.compile(r"[a-z0-9.-]+(:\d{1,5})?")
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

        A policy knows no names in brackets, or with underscores: then it is the whole server.
        """
        hosts = {self.host, *(urlsplit(origin).netloc for origin in self.origins)}
        sources = sorted(host + path for host in hosts if _PLAIN.fullmatch(host))
        return " ".join(sources if _PLAIN.fullmatch(self.host) else [*sources, "'self'"])


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
        """Return how a request named this server.

        Raises Misdirected for a name that is not one of its own, with the reason `NO_NAME` for what cannot be one.
        Header names are lower case; `peer` is the address at the other end of the connection.
        """
        host = headers.get("host", "")
        if not self._is_trusted(peer):
            return self._known(host, "", "")
        return self._known(host, headers.get("x-forwarded-host", ""), headers.get("x-forwarded-proto", ""))

    def _looked_up(self, host: str, forwarded_host: str, forwarded_scheme: str) -> Addressed:
        host, forwarded = host.strip().lower(), forwarded_host.rpartition(",")[2].strip().lower()
        self._check(host)
        if forwarded:
            self._check(forwarded)
            if _split(forwarded)[1] or _split(forwarded)[0] != _split(host)[0]:  # It may lack the port.
                host = forwarded
        is_tls = forwarded_scheme.rpartition(",")[2].strip().lower() == "https"
        return Addressed(host, self._origins(host, is_tls=is_tls))

    def _check(self, host: str) -> None:
        if not host:
            return  # Browsers always send one.
        shown, _ = _split(host)
        if not shown:
            raise Misdirected("The Host header is neither a name nor an IP address.", code=NO_NAME)
        if self._is_ours(shown):
            return
        if _plain(shown) == self._settings.agents_address:
            told = "is where agents listen. Open agent-stack by another address, such as 127.0.0.1 on this machine."
        else:
            told = (
                "is not a name of this agent-stack. If it should be one, its admin sets "
                f"ALLOWED_HOSTS={shown}, or PUBLIC_ORIGIN to what the address bar shows before the path, and "
                "restarts it. Its IP address works without that."
            )
        raise Misdirected(f"{shown!r} {told}", host=shown)

    def _is_ours(self, name: str) -> bool:
        if _address(name):
            return _plain(name) != self._settings.agents_address
        return bool(name) and (_is_loopback(name) or name == self._public_name or self._is_listed(name))

    def _is_listed(self, name: str) -> bool:
        return name in self._settings.allowed_hosts or name.endswith(self._wildcards)

    def _origins(self, host: str, *, is_tls: bool) -> frozenset[str]:
        """Return the origins that pages of ours may have which were asked for under this name."""
        found = {self._public} - {""}
        name, port = _split(host)
        if not name or (name == self._public_name and not self._is_listed(name)):  # Whose scheme is known.
            return frozenset(found)
        is_tls = is_tls or port == _DEFAULT_PORTS["https"]
        if is_tls or self._settings.cookie_secure or self._is_listed(name):
            found.add(normal_origin(f"https://{host}"))
        if not is_tls and (_is_loopback(name) or not self._settings.cookie_secure):
            found.add(normal_origin(f"http://{host}"))
        return frozenset(found)

    def _is_trusted(self, peer: str) -> bool:
        address = client_address(peer, "", ())
        return address is not None and is_trusted(address, self._settings.trusted_proxies)


def must_name_us(method: str, path: str, headers: Mapping[str, str], cookie: str) -> bool:
    """Tell whether a request could do harm under a foreign name. `cookie` is the name of our own.

    One that shows a token, and no cookie of ours, has nothing that a foreign page could borrow.
    """
    if f"{cookie}=" in headers.get("cookie", ""):
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
    if name.startswith("[") and _address(name):
        name = f"[{ip_address(name.strip('[]'))}]"
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
    if name.startswith("[") != isinstance(address, IPv6Address):
        return None
    return (address.ipv4_mapped if isinstance(address, IPv6Address) else None) or address


def _plain(name: str) -> str:
    """Return a name or address in the one form in which it is compared."""
    return str(_address(name) or name)


def _is_loopback(name: str) -> bool:
    address = _address(name)
    return address.is_loopback if address else name == "localhost" or name.endswith(".localhost")
