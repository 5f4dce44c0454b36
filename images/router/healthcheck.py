"""Exit with 0 when the router in this container answers `/healthz`. Needs nothing but Python's own library."""

import os
import sys
from http.client import HTTPConnection

SECONDS = 4.0
_ANY = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 These are asked, not listened on.


def main() -> int:
    """Ask where the router listens; empty settings are not set, as everywhere in agent-stack."""
    host = os.environ.get("ROUTER_BIND_HOST", "")
    port = int(os.environ.get("ROUTER_PORT") or 18000)
    connection = HTTPConnection(_ANY.get(host, host), port, timeout=SECONDS)
    try:
        connection.request("GET", "/healthz")
        status = connection.getresponse().status
    except OSError as error:
        sys.stdout.write(f"{host}:{port}: {error}\n")
        return 1
    sys.stdout.write(f"{status}\n")
    return 0 if status == 200 else 1


if __name__ == "__main__":
    sys.exit(main())
