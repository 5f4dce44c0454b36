"""`agentstack import-legacy`: from the earlier agent-stack."""

from dataclasses import asdict
from functools import partial
from pathlib import Path

import click
import orjson
import trio
from rich.markup import escape
from rich.table import Table

from agentstack.cli.folder import as_json, console
from agentstack.legacy.importing import Report, import_legacy
from agentstack.root import prepare_folder
from agentstack.settings import load_settings


@click.command("import-legacy")
@click.argument("database", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--users-root",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of the earlier users' homes, to be copied.",
)
@click.option("--dry-run", is_flag=True, help="Only look, and report.")
@as_json
def import_command(database: Path, users_root: Path | None, dry_run: bool, json_: bool) -> None:
    """Bring in DATABASE, the router.db of the earlier agent-stack, into an empty data folder.

    Ids, times and order stay; passwords keep working. Either all of it is brought in, or nothing.
    """
    settings = load_settings()
    prepare_folder(settings)
    report = trio.run(partial(import_legacy, settings, database, users_root, dry_run=dry_run))
    if json_:
        click.echo(orjson.dumps(asdict(report)))
    else:
        _print(report, dry_run=dry_run)
    if report.homes or (report.problems and report.done != "already"):
        raise SystemExit(1)


def _print(report: Report, *, dry_run: bool) -> None:
    table = Table("table", "rows", "brought in")
    for name, count in report.counts.items():
        table.add_row(name, str(count), "yes")
    for name, count in report.left.items():
        table.add_row(name, str(count), "no: the earlier router's own" if name == "runners" else "no: not here yet")
    console.print(table)
    for old, new in report.slugs.items():
        console.print(f"The short name {escape(old)} becomes {new}, since it could be taken for another agent's.")
    for line in report.homes:
        console.print(f"[yellow]Not copied:[/] {escape(line)}", soft_wrap=True)
    if report.homes:
        console.print("No part of these homes is there. Mend what is told, and import again: that copies them.")
    if report.done == "already":
        console.print("This was brought in before: nothing was changed.")
    elif report.problems:
        for problem in report.problems:
            console.print(f"[red]-[/] {escape(problem)}")
        console.print(f"{len(report.problems)} problem(s): nothing was brought in.")
    elif dry_run:
        console.print(f"It can be brought in, as {report.events} events. Nothing was changed.")
    else:
        console.print(f"Brought in as {report.events} events.")
