"""`agentstack serve`."""

import errno
from functools import partial
from pathlib import Path

import click
import trio

from agentstack import root
from agentstack.cli.folder import data_folder
from agentstack.logs import configure_logging
from agentstack.settings import SettingsError, load_settings


@click.command()
@click.option(
    "--data", type=click.Path(path_type=Path, file_okay=False), help="Data folder, instead of STACK_DATA_ROOT."
)
@click.option("--read-only", is_flag=True, help="Only show what is there: nothing can be changed or started.")
def serve(data: Path | None, read_only: bool) -> None:
    """Run the server until Ctrl-C or SIGTERM."""
    settings = load_settings(**({"stack_data_root": data} if data else {}))
    if read_only:
        data_folder(settings)
    configure_logging(settings.log_level, settings.log_format)
    try:
        trio.run(partial(root.serve, settings, read_only=read_only))
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
