"""`agentstack events`: looking into the log, also while the server runs. Secrets are masked."""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import click
import orjson
from rich.table import Table
from rich.text import Text

from agentstack.cli.folder import as_json, console, data_folder, open_reader
from agentstack.replaying import parse_moment
from domain.users.rules import normal_email
from eventlog.bounds import MAX_INTEGER
from eventlog.described import described
from eventlog.envelope import Recorded
from eventlog.filter import Filter
from eventlog.reader import EXPORT_BATCH, Reader
from projections.views import Views, find_unreadable

_POLL_SECONDS = 0.5


@click.group()
def events() -> None:
    """Look into the event log."""


def _filtered(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say which events are meant."""
    options: tuple[Callable[[Any], Any], ...] = (
        click.option("--until", help="Only before this time."),
        click.option("--since", help="Only from this time on, for example 2026-11-25T14:30 (UTC)."),
        click.option("--correlation", help="Only of this request or job."),
        click.option("--user", help="Only about or by this user: an id or an address."),
        click.option(
            "--after", default=0, type=click.IntRange(0, MAX_INTEGER), help="Only positions after this one."
        ),
        click.option("--type", "types", multiple=True, help="Only this type, such as runner.failed. Repeatable."),
        click.option("--prefix", help="Only streams that begin so, for example conversation:"),
        click.option("--stream", help="Only this stream, for example user:01h..."),
    )
    for option in options:
        command = option(command)
    return command


def _filter(reader: Reader, *, newest: bool, given: dict[str, Any]) -> Filter:
    user = given["user"]
    if user and "@" in user:
        views = Views()
        views.catch_up(reader)
        found = views.users.by_email(normal_email(user))
        if found is None:
            raise click.ClickException(f"There is no account with the address {user}.")
        user = found.id
    since, until = (parse_moment(given[n], reader) if given[n] else None for n in ("since", "until"))
    return Filter(
        after=max(given["after"], since or 0),
        until=until,
        stream=given["stream"],
        stream_prefix=given["prefix"],
        types=given["types"],
        user=user,
        correlation=given["correlation"],
        newest_first=newest,
    )


@events.command("list")
@_filtered
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000))
@click.option("--newest/--oldest", default=True, help="Which end to begin from (default: the newest).")
@as_json
def list_events(limit: int, newest: bool, json_: bool, **given: Any) -> None:
    """List events, one a line."""
    reader = open_reader()
    found = reader.events(_filter(reader, newest=newest, given=given), limit)
    _print(found[::-1] if newest else found, json_)


@events.command()
@_filtered
def export(**given: Any) -> None:
    """Print all events that fit as JSON, one a line, oldest first."""
    reader = open_reader()
    wanted = _filter(reader, newest=False, given=given)
    is_marked = find_unreadable(data_folder(), reader).is_marked
    while found := reader.stored(wanted, EXPORT_BATCH):
        click.echo(b"\n".join(map(orjson.dumps, reader.exported(found, is_marked))))
        wanted = replace(wanted, after=found[-1].position)


@events.command("unreadable")
@as_json
def list_unreadable(json_: bool) -> None:
    """List the events that cannot be read as they were written, and why."""
    found = find_unreadable(data_folder(), open_reader())
    if json_:
        for event in found.listed():
            about = {"position": event.position, "stream": event.stream, "type": event.type}
            click.echo(orjson.dumps({**about, "owner": event.owner, "problem": event.problem}))
        return
    table = Table("position", "type", "stream", "what is wrong, and what it means")
    for event in found.listed():
        table.add_row(str(event.position), event.type, event.stream, event.problem)
    console.print(table)
    console.print(f"{found.count} in all." if found.count else "There are none that matter today.")


@events.command()
@click.option("--type", "types", multiple=True, help="Only this type. Repeatable.")
@click.option(
    "--lines",
    default=10,
    show_default=True,
    type=click.IntRange(0, 10_000),
    help="How many earlier events to begin with.",
)
@as_json
def tail(types: tuple[str, ...], lines: int, json_: bool) -> None:
    """Follow the log, until Ctrl-C."""
    reader = open_reader()
    position = reader.head().position
    earlier = reader.events(Filter(until=position, types=types, newest_first=True), lines) if lines else []
    _print(earlier[::-1], json_)
    while True:
        time.sleep(_POLL_SECONDS)
        found = reader.events(Filter(after=position, types=types))
        _print(found, json_)
        if found:
            position = found[-1].position


@events.command()
@click.argument("position", type=click.IntRange(1, MAX_INTEGER))
def show(position: int) -> None:
    """Show one event in full."""
    found = open_reader().events(Filter(after=position - 1, until=position))
    if not found:
        raise click.ClickException(f"There is no event at position {position}.")
    console.print_json(orjson.dumps(_described(found[0])).decode())


@events.command("streams")
@click.argument("prefix", default="")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000))
def list_streams(prefix: str, limit: int) -> None:
    """List streams whose name begins with PREFIX."""
    table = Table("stream", "version", "last position", "last change")
    for stream, version, position, at in open_reader().streams(prefix, limit):
        table.add_row(stream, str(version), str(position), _time(at / 1e6))
    console.print(table)


def _described(record: Recorded[Any]) -> dict[str, Any]:
    return {**described(record), "time": _time(record.time)}


def _print(found: list[Recorded[Any]], json_: bool) -> None:
    for record in found:
        shown = _described(record)
        if json_:
            click.echo(orjson.dumps(shown))
            continue
        payload = f"{shown['problem']} " * bool(shown["problem"]) + orjson.dumps(shown["payload"]).decode()
        line = Text.assemble(
            (f"{record.position:>8} ", "dim"),
            (f"{_time(record.time)} ", "dim"),
            (f"{record.type:<22} ", "bold cyan"),
            (f"{record.stream} ", "green"),
            (f"by {record.origin.actor} ", "dim"),
            payload if len(payload) <= 300 else payload[:299] + "…",
        )
        console.print(line, soft_wrap=True)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
