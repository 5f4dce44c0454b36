"""`agentstack backends`: the declaration of agents."""

import json
from pathlib import Path

import click
from rich.table import Table

from agentstack.cli.folder import console
from agentstack.declaration import backends_path, read_backends
from agentstack.settings import load_settings
from domain.backends.registry import json_schema
from supervisors.engines.protocol import EngineError
from supervisors.homes.home import Homes


@click.group()
def backends() -> None:
    """Check the file that declares agents."""


@backends.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
def check(file: Path | None) -> None:
    """Check a backends file and its home templates: FILE, or the one that is in use."""
    path = file or backends_path(load_settings())
    found = read_backends(path)
    homes = Homes(path.absolute().parent)
    mistakes = []
    for backend in found:
        try:
            homes.check(backend)
        except EngineError as error:
            mistakes.append(str(error))
    if mistakes:
        raise click.ClickException("\n".join(mistakes))
    table = Table("backend", "engine", "runs", "models")
    for backend in found:
        runs = backend.image or (backend.build.image if backend.build else backend.command[0])
        off = " (disabled)" if backend.disabled else ""
        table.add_row(f"{backend.name}{off}", backend.engine, runs, ", ".join(backend.models))
    console.print(table)
    console.print(f"{path} is in order.")


@backends.command()
def schema() -> None:
    """Print the JSON schema of a backends file."""
    click.echo(json.dumps(json_schema(), indent=2))
