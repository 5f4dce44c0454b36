"""Opening an existing data folder from the command line."""

from pathlib import Path

import click
from rich.console import Console

from agentstack.settings import Settings, load_settings
from agentstack.vaults import open_own_vault
from domain.catalogue import EVENT_TYPES
from eventlog.codec import EventMapper
from eventlog.log import FILE_NAME
from eventlog.reader import Reader
from eventlog.vault import Vault

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


def open_without_keys(folder: Path) -> Reader:
    """Return a reader of the log that shows what is encrypted as erased: verifying needs no key."""
    return Reader(folder / FILE_NAME, EventMapper(EVENT_TYPES))


def open_reader(folder: Path | None = None, vault: Vault | None = None) -> Reader:
    """Return a reader of the log, which may be in use by a running server. Without a vault, it opens that too."""
    settings = load_settings()
    found = folder or data_folder(settings)
    mapper = EventMapper(EVENT_TYPES, vault or open_own_vault(settings, found, shared=True))
    return Reader(found / FILE_NAME, mapper)
