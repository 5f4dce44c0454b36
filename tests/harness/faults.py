"""What a server under test has complained about."""

import re
from typing import Any

from tests.harness.server import Server

_ABANDONED = re.compile(
    r"^Exception ignored in: <async_generator .*\n(?:Traceback.*\n(?: .*\n)+)?ResourceWarning: .*\n", re.M
)


def faults(server: Server) -> list[dict[str, Any]]:
    """Return its log lines at level error and above; whatever it printed besides log lines counts too."""
    found = [r for r in server.records() if r["level"] in {"error", "critical"}]
    text = _ABANDONED.sub("", server.errors())
    stray = [line for line in text.splitlines() if line and not line.startswith("{")]
    return [*found, *({"level": "error", "message": line} for line in stray)]


def abandoned_generators(server: Server) -> list[str]:
    """Return the warnings about generators that were left to the garbage collector."""
    return _ABANDONED.findall(server.errors())
