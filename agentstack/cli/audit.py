"""`agentstack audit`: proof that nobody has changed the log. Works beside a running server."""

import sqlite3
from pathlib import Path

import click
import orjson
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from agentstack.checkpoints import signer
from agentstack.cli.folder import as_json, console, data_folder, open_without_keys
from eventlog.checkpoint import Checkpoint, read_note
from eventlog.errors import BrokenChainError


@click.group()
def audit() -> None:
    """Prove that the log was not changed."""


@audit.command()
@click.option(
    "--against",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A checkpoint that `audit head` printed earlier: nothing before it may have changed since.",
)
@click.option(
    "--key", help="The verifier key that the checkpoint is signed with; this installation's unless given."
)
@as_json
def verify(against: Path | None, key: str | None, json_: bool) -> None:
    """Check the whole hash chain. Exits with 1, and names the first bad position, when it does not hold."""
    folder = data_folder()
    reader = open_without_keys(folder)
    checkpoint: Checkpoint | None = None
    if against:
        note = against.read_text(encoding="utf-8", errors="replace")
        checkpoint = read_note(note, key or signer(folder, reader).verifier_key)
    try:
        if checkpoint:
            reader.check_commit(checkpoint.position, checkpoint.hash)
        with Progress(
            "Verifying", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console, disable=json_
        ) as bar:
            task = bar.add_task("", total=reader.head().position)
            count = reader.verify(on_progress=lambda position: bar.update(task, completed=position))
        head, emptied = reader.head(), reader.emptied()
    except (BrokenChainError, sqlite3.DatabaseError) as error:
        if json_:
            position = error.position if isinstance(error, BrokenChainError) else 0
            click.echo(orjson.dumps({"ok": False, "position": position, "problem": str(error)}))
            raise SystemExit(1) from None
        raise
    if json_:
        against_position = checkpoint and checkpoint.position
        told = {
            "ok": True,
            "events": count,
            "emptied": emptied,
            "head": head.hash.hex(),
            "against": against_position,
        }
        click.echo(orjson.dumps(told))
        return
    console.print(f"The log verifies: {count} events, head {head.hash.hex()[:16]}.")
    if emptied:
        console.print(f"Of {emptied} of them the contents are gone, as after `agentstack compact`.")
    if checkpoint:
        console.print(f"Nothing up to position {checkpoint.position}, where the checkpoint was made, has changed.")


@audit.command()
def head() -> None:
    """Print a signed checkpoint of the log. Keep it elsewhere: `audit verify --against` compares with it."""
    folder = data_folder()
    reader = open_without_keys(folder)
    click.echo(signer(folder, reader).note(reader.head()), nl=False)


@audit.command("key")
def show_key() -> None:
    """Print the verifier key, with which anybody can check the signature of a checkpoint."""
    folder = data_folder()
    click.echo(signer(folder, open_without_keys(folder)).verifier_key)
