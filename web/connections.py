"""How many connections there may be: altogether, and from one address."""

import math
from collections.abc import Callable
from typing import Protocol

import structlog
import trio

from domain.limits.bucket import Buckets, Rate

QUIET_SECONDS = 60.0
"""A warning is not repeated for so long, however many connections are refused."""

_logger = structlog.get_logger("web.connections")


class Connection(Protocol):
    """What is counted."""

    is_idle: bool
    """Whether no request is under way on it."""

    def give_up(self) -> None:
        """Close it soon."""


class Connections:
    """The connections that are open, those of each site in the order in which they came.

    Where there is no room for a new one, an old one that is idle makes room: it is closed, as a client must expect
    of an idle connection at any time. Only when none of them is idle, the new one is refused. `most` bounds all of
    them, and `per_site` those of one site, which `site_of` makes of an address; "" is a site without a bound.
    0 means any number.
    """

    def __init__(self, *, most: int = 0, per_site: int = 0, site_of: Callable[[str], str] = lambda _: "") -> None:
        self._most = most or math.inf
        self._per_site = per_site or math.inf
        self._site_of = site_of
        self._open: dict[str, dict[Connection, None]] = {}
        self._total = 0
        self._warnings = Buckets(Rate(1, QUIET_SECONDS))

    def statistics(self) -> dict[str, int]:
        """Return how many connections are open, and from how many sites."""
        return {"connections": self._total, "sites": len(self._open)}

    def enter(self, connection: Connection, address: str) -> str | None:
        """Count a new connection, and return its site; None when it has to be refused."""
        site = self._site_of(address)
        own = self._open.get(site, {})
        full = bool(site) and len(own) >= self._per_site
        if full or self._total >= self._most:
            # Of all who fill the house, those make room who have the most of it.
            crowd = (site, own) if full else max(self._open.items(), key=lambda item: len(item[1]))
            idle = next((c for c in crowd[1] if c.is_idle), None)
            self._warn(site if full else "", refused=idle is None)
            if idle is None:
                return None
            self.leave(idle, crowd[0])
            idle.give_up()
        self._open.setdefault(site, {})[connection] = None
        self._total += 1
        return site

    def leave(self, connection: Connection, site: str) -> None:
        """Count a connection no longer. Does nothing twice."""
        own = self._open.get(site, {})
        if connection in own:
            del own[connection]
            self._total -= 1
            if not own:
                del self._open[site]

    def _warn(self, site: str, *, refused: bool) -> None:
        if not self._warnings.take("full", trio.current_time()):
            _logger.warning(
                "connections_full",
                address=site or "any",
                refused=refused,
                connections=self._total,
                hint="CONNECTIONS_PER_ADDRESS bounds those of one address, unless it is one of TRUSTED_PROXIES"
                if site
                else "the limit of open files bounds all of them",
            )
