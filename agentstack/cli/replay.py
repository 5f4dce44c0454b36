"""`agentstack replay`: how things were at a moment, and what changed between two."""

from dataclasses import asdict
from pathlib import Path

import click
import orjson
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

from agentstack.cli.folder import as_json, console, data_folder, open_reader
from agentstack.replaying import parse_moment, replay_into
from agentstack.settings import load_settings
from eventlog.reader import Reader
from projections.difference import Difference, differences
from projections.views import Views


@click.command()
@click.option("--to", "moment", help="A position, or a time such as 2026-11-25T14:30 (UTC).")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="A new folder for what is made.")
@click.option("--diff", nargs=2, metavar="A B", help="Print what changed between two moments instead.")
@as_json
def replay(moment: str | None, out: Path | None, diff: tuple[str, str] | None, json_: bool) -> None:
    """Build all read models as they were at a moment (--to, --out), or compare two moments (--diff).

    Look at what was built with: agentstack serve --read-only --data OUT
    """
    if bool(diff) == bool(moment and out):
        raise click.UsageError("Give either --to with --out, or --diff with two moments.")
    settings = load_settings()
    folder = data_folder(settings)
    reader = open_reader(folder)
    with Progress(
        "Replaying", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console, disable=json_
    ) as bar:
        task = bar.add_task("", total=None)

        def progressed(position: int) -> None:
            bar.update(task, completed=position)

        if diff:
            first, second = sorted(parse_moment(text, reader) for text in diff)
            bar.update(task, total=second)
            found = differences(reader, first, second, progressed)
        else:
            position = parse_moment(str(moment), reader)
            bar.update(task, total=position)
            last, rows = replay_into(settings, folder, position, Path(str(out)), progressed)
    if diff:
        _print(found, reader, json_)
    elif json_:
        click.echo(orjson.dumps({"position": last, "rows": rows, "folder": str(out)}))
    else:
        console.print(f"{out} holds everything as it was at position {last} ({rows} rows).")
        if last < position:
            console.print(
                f"The events from {last + 1} on were appended at once, the one at {position} among them: there are "
                "all of them or none. `agentstack replay --diff` looks between them."
            )
        console.print(f"Look at it: agentstack serve --read-only --data {out}")


def _print(found: dict[str, list[Difference]], reader: Reader, json_: bool) -> None:
    if json_:
        for listed in found.values():
            for one in listed:
                click.echo(orjson.dumps(asdict(one)))
        return
    views = Views()
    views.catch_up(reader)
    if not found:
        console.print("Nothing changed.")
    for user_id in sorted(found):
        user = views.users.find(user_id)
        console.print(f"\n[bold]{escape(user.email) if user else user_id or 'nobody in particular'}[/]")
        for one in found[user_id]:
            mark = {"added": "[green]+[/]", "removed": "[red]-[/]", "changed": "[yellow]~[/]"}[one.what]
            console.print(f"  {mark} {one.table} {escape(one.key)}", highlight=False)
            for name, value in one.fields.items():
                shown = f"{value[0]!r} -> {value[1]!r}" if one.what == "changed" else repr(value)
                console.print(f"      {name}: {shown}", highlight=False, markup=False)
