"""`agentstack backup`: one file with everything, made while the server runs."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import orjson
from rich.markup import escape

from agentstack.backups import installation
from agentstack.cli.folder import as_json, console, data_folder
from agentstack.settings import Settings, SettingsError, load_settings

_FILE = click.Path(path_type=Path, dir_okay=False)
_there = click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
_passphrase = click.option(
    "--passphrase-file", type=_FILE, help="File with the passphrase; BACKUP_PASSPHRASE_FILE unless given."
)
_LEAST_PASSPHRASE = 12


@click.group()
def backup() -> None:
    """Make, check and restore backups."""


@backup.command()
@click.argument("file", type=_FILE)
@_passphrase
@click.option("--homes/--no-homes", default=True, help="Whether the agents' files go in, or only a list of them.")
@click.option("--gently", is_flag=True, help="At the lowest priority.")
@as_json
def create(file: Path, passphrase_file: Path | None, homes: bool, gently: bool, json_: bool) -> None:
    """Write a backup into FILE; also while the server runs. Nothing of FILE changes until the new one is whole."""
    settings = load_settings()
    folder = data_folder(settings)
    if gently:
        os.nice(19)
    passphrase = _read(settings, passphrase_file)
    manifest = installation.create(folder, file.absolute(), passphrase=passphrase, homes=homes)
    left_out = [os.fsencode(name).decode(errors="replace") for name in manifest.left_out]
    size = file.stat().st_size
    told = {**manifest.about, "files": len(manifest.digests), "left_out": left_out, "bytes": size}
    if json_:
        click.echo(orjson.dumps(told))
        return
    about = "encrypted" if passphrase else "NOT encrypted: it holds the keys to everything"
    console.print(f"{file}: {size / 1e6:.1f} MB, up to position {told['position']}, {about}.")
    if left_out:
        told_first = f"since agent-stack may not read them; the first: {escape(left_out[0])}"
        console.print(f"[yellow]{len(left_out)} left out[/], {told_first}")


@backup.command()
@_there
@_passphrase
@as_json
def verify(file: Path, passphrase_file: Path | None, json_: bool) -> None:
    """Unpack a backup beside itself and check all of it: digests, hash chain, vault."""
    settings = load_settings()
    _print(
        "is good",
        file,
        installation.check(file.absolute(), settings, passphrase=_read(settings, passphrase_file)),
        json_,
    )


@backup.command()
@_there
@_passphrase
@as_json
def restore(file: Path, passphrase_file: Path | None, json_: bool) -> None:
    """Put a backup into the data folder (STACK_DATA_ROOT), which must be empty."""
    settings = load_settings()
    told = installation.restore(file.absolute(), settings, passphrase=_read(settings, passphrase_file))
    _print(f"is restored into {settings.stack_data_root}", file, told, json_)


def _read(settings: Settings, given: Path | None) -> str:
    path = given or settings.backup_passphrase_file
    if path is None:
        return ""
    try:
        passphrase = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"The passphrase file {path} cannot be read: {error}") from None
    if len(passphrase) < _LEAST_PASSPHRASE:
        raise SettingsError(f"The passphrase in {path} is too short: use {_LEAST_PASSPHRASE} characters or more.")
    return passphrase


def _print(what: str, file: Path, told: dict[str, Any], json_: bool) -> None:
    if json_:
        click.echo(orjson.dumps(told))
        return
    at = datetime.fromtimestamp(told["at"], UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    keys = f", {told['keys']} keys" if "keys" in told else "; the master key to try the vault with is not here"
    console.print(f"{file} of {at} {what}: {told['events']} events{keys}, {told['files']} files.")
