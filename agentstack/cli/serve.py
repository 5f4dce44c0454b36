"""`agentstack serve`."""

import errno
from functools import partial

import click
import trio

from agentstack import root
from agentstack.logs import configure_logging
from agentstack.settings import SettingsError, load_settings


@click.command()
def serve() -> None:
    """Run the server until Ctrl-C or SIGTERM."""
    settings = load_settings()
    configure_logging(settings.log_level, settings.log_format)
    try:
        trio.run(partial(root.serve, settings))
    except* OSError as group:
        if any(_port_taken(e) for e in group.exceptions):
            raise SettingsError(
                f"Port {settings.router_port} on {settings.router_bind_host} is taken. "
                "Stop what listens there, or set ROUTER_PORT to another port."
            ) from None
        raise


def _port_taken(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return any(_port_taken(e) for e in error.exceptions)
    return isinstance(error, OSError) and error.errno == errno.EADDRINUSE
