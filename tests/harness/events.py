"""The event log of a server under test, as its command line shows it."""

import json
from typing import Any

from tests.harness.server import Server


def events(server: Server, *types: str) -> list[dict[str, Any]]:
    """Return the events of these types, oldest first."""
    wanted = [part for type_ in types for part in ("--type", type_)]
    listed = server.cli("events", "list", "--json", "--limit", "10000", "--oldest", *wanted)
    assert listed.returncode == 0, listed.stderr
    return [json.loads(line) for line in listed.stdout.splitlines()]
