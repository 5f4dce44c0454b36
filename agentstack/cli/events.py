"""`agentstack events`: looking into the log, also while the server runs. Secrets are masked."""

import time
from datetime import UTC, datetime
from typing import Any

import click
import orjson
from rich.table import Table
from rich.text import Text

from agentstack.cli.folder import as_json, console, open_reader
from eventlog.envelope import Recorded
from eventlog.reader import Filter, Reader

_POLL_SECONDS = 0.5
MASK = "••••••••"


@click.group()
def events() -> None:
    """Look into the event log."""


@events.command("list")
@click.option("--stream", help="Only this stream, for example user:01h...")
@click.option("--prefix", help="Only streams that begin so, for example conversation:")
@click.option("--type", "types", multiple=True, help="Only this type, for example runner.failed. Repeatable.")
@click.option("--after", default=0, help="Only positions after this one.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000))
@click.option("--newest/--oldest", default=True, help="Which end to begin from (default: the newest).")
@as_json
def list_events(
    stream: str | None,
    prefix: str | None,
    types: tuple[str, ...],
    after: int,
    limit: int,
    newest: bool,
    json_: bool,
) -> None:
    """List events, one a line."""
    wanted = Filter(after=after, stream=stream, stream_prefix=prefix, types=types, newest_first=newest)
    found = open_reader().events(wanted, limit)
    _print(found[::-1] if newest else found, json_)


@events.command()
@click.option("--type", "types", multiple=True, help="Only this type. Repeatable.")
@click.option("--lines", default=10, show_default=True, help="How many earlier events to begin with.")
@as_json
def tail(types: tuple[str, ...], lines: int, json_: bool) -> None:
    """Follow the log, until Ctrl-C."""
    reader = open_reader()
    earlier = reader.events(Filter(types=types, newest_first=True), lines) if lines else []
    _print(earlier[::-1], json_)
    position = max([reader.head().position, *(r.position for r in earlier)])
    while True:
        time.sleep(_POLL_SECONDS)
        found = reader.events(Filter(after=position, types=types))
        _print(found, json_)
        if found:
            position = found[-1].position


@events.command()
@click.argument("position", type=click.IntRange(1))
def show(position: int) -> None:
    """Show one event in full."""
    found = open_reader().events(Filter(after=position - 1, until=position))
    if not found:
        raise click.ClickException(f"There is no event at position {position}.")
    console.print_json(orjson.dumps(described(found[0])).decode())


@events.command("streams")
@click.argument("prefix", default="")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000))
def list_streams(prefix: str, limit: int) -> None:
    """List streams whose name begins with PREFIX."""
    table = Table("stream", "version", "last position", "last change")
    for stream, version, position, at in open_reader().streams(prefix, limit):
        table.add_row(stream, str(version), str(position), _time(at / 1e6))
    console.print(table)


@events.command()
def verify() -> None:
    """Check the whole hash chain of the log."""
    reader: Reader = open_reader()
    count = reader.verify()
    console.print(f"The log verifies: {count} events, head {reader.head().hash.hex()[:16]}.")


def described(record: Recorded[Any]) -> dict[str, Any]:
    """Return an event with its envelope, secrets masked."""
    payload = record.event.model_dump()
    masked = {k: MASK if k in record.event.SECRET else v for k, v in payload.items()}
    return {
        "position": record.position,
        "stream": record.stream,
        "version": record.version,
        "type": record.type,
        "time": _time(record.time),
        "actor": record.origin.actor,
        "correlation": record.origin.correlation,
        "causation": record.origin.causation,
        "payload": masked,
    }


def _print(found: list[Recorded[Any]], json_: bool) -> None:
    for record in found:
        shown = described(record)
        if json_:
            click.echo(orjson.dumps(shown))
            continue
        payload = orjson.dumps(shown["payload"]).decode()
        line = Text.assemble(
            (f"{record.position:>8} ", "dim"),
            (f"{shown['time']} ", "dim"),
            (f"{record.type:<22} ", "bold cyan"),
            (f"{record.stream} ", "green"),
            (f"by {record.origin.actor} ", "dim"),
            payload if len(payload) <= 300 else payload[:299] + "…",
        )
        console.print(line, soft_wrap=True)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
