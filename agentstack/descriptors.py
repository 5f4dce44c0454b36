"""Open files: as many as the system allows, and some of them kept back for what must go on."""

import resource

from agentstack.settings import Settings
from web.auth.address import client_address, is_trusted, site
from web.connections import Connections

_RESERVE = 256
"""For the log, the engine, agents' output and their ports, whatever clients do."""
_FOR_EACH = 2
"""A connection of a client may need one to an agent."""
_UNLIMITED = 1 << 20


def raise_limit() -> int:
    """Raise this process's limit of open files to what it may have, and return that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _UNLIMITED if hard == resource.RLIM_INFINITY else hard
    if soft != wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def connections_within(limit: int) -> int:
    """Return how many connections of clients a limit of open files leaves room for."""
    return max(16, (limit - min(_RESERVE, limit // 2)) // _FOR_EACH)


def client_connections(settings: Settings) -> Connections:
    """Return the bounds of clients' connections; to know them, it raises the limit of open files."""

    def site_of(address: str) -> str:
        found = client_address(address, "", ())
        return "" if found is None or is_trusted(found, settings.trusted_proxies) else site(found)

    return Connections(
        most=connections_within(raise_limit()), per_site=settings.connections_per_address, site_of=site_of
    )
