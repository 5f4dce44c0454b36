"""Opening an existing data folder from the command line."""

from pathlib import Path

import click
from rich.console import Console

from agentstack.settings import Settings, load_settings
from domain.catalogue import EVENT_TYPES
from eventlog.codec import EventMapper
from eventlog.log import FILE_NAME
from eventlog.reader import Reader

console = Console()
as_json = click.option("--json", "json_", is_flag=True, help="Print JSON, one object a line.")


def data_folder(settings: Settings | None = None) -> Path:
    """Return the data folder. Raises ClickException when there is none yet."""
    folder = (settings or load_settings()).stack_data_root.absolute()
    if not (folder / FILE_NAME).exists():
        raise click.ClickException(
            f"There is no event log in {folder}. Start the server once (agentstack serve), or set STACK_DATA_ROOT."
        )
    return folder


def open_reader(folder: Path | None = None) -> Reader:
    """Return a reader of the log, which may be in use by a running server."""
    return Reader((folder or data_folder()) / FILE_NAME, EventMapper(EVENT_TYPES))
