"""`agentstack projections`: the state of the read models, and making them anew."""

import sqlite3

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn
from rich.table import Table

from agentstack.cli.folder import console, data_folder, open_reader
from agentstack.settings import load_settings
from agentstack.vaults import open_own_vault
from eventlog.folder import FolderLock
from projections.store import FILE_NAME, MAKE_ANEW
from projections.views import rebuild


@click.group()
def projections() -> None:
    """Look after the read models."""


@projections.command()
def status() -> None:
    """Show how far each saved read model is; also while the server runs."""
    folder = data_folder()
    head = open_reader(folder).head().position
    table = Table("projection", "version", "position", "behind")
    if (folder / FILE_NAME).exists():
        connection = sqlite3.connect(f"{(folder / FILE_NAME).as_uri()}?mode=ro", uri=True)
        for name, version, position in connection.execute("SELECT name, version, position FROM projections"):
            shown = "to be made anew" if version == MAKE_ANEW else str(version)
            table.add_row(name, shown, str(position), str(head - position))
        connection.close()
    console.print(table)
    console.print(f"The log is at position {head}.")


@projections.command("rebuild")
def rebuild_all() -> None:
    """Make all read models anew from the log. The server must not be running."""
    folder = data_folder()
    lock = FolderLock(folder)
    try:
        vault = open_own_vault(load_settings(), folder)
        reader = open_reader(folder, vault)
        head = reader.head().position
        with Progress("Replaying", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console) as bar:
            task = bar.add_task("", total=head)
            views = rebuild(folder, reader, lambda position: bar.update(task, completed=position), vault)
            bar.update(task, completed=head)
    finally:
        lock.close()
    rows = sum(len(t) for p in views.all for t in p.tables)
    console.print(f"Rebuilt {len(views.all)} projections ({rows} rows) up to position {head}.")
