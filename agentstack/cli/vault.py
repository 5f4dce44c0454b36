"""`agentstack vault`: the keys with which what users write is encrypted."""

import secrets
from contextlib import closing
from pathlib import Path

import click

from agentstack.cli.folder import console, data_folder
from agentstack.settings import Settings, load_settings, read_key_file
from agentstack.vaults import is_kept_here, kept_key, next_key, open_own_vault, write_key
from eventlog.folder import FolderLock, changing_secrets


@click.group()
def vault() -> None:
    """Look after the keys that encrypt what users write."""


@vault.command()
def status() -> None:
    """Show how many keys there are, and where the master key is from. Also while the server runs."""
    settings = load_settings()
    folder = data_folder(settings)
    opened = open_own_vault(settings, folder)
    console.print(
        f"{len(opened.owners)} users have a key in {opened.path}. Master key: {_where(settings, folder)}."
    )
    opened.close()


@vault.command()
@click.option(
    "--new-key-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The new master key, when yours is in the environment or a file. Made when it is in the data folder.",
)
def rotate(new_key_file: Path | None) -> None:
    """Wrap all keys with another master key. The server must not be running."""
    settings = load_settings()
    folder = data_folder(settings)
    here = is_kept_here(settings)
    if not here and new_key_file is None:
        raise click.ClickException(
            "Your master key is in the environment or in a file of yours: put the new one into another file, and "
            "name it with --new-key-file. Afterwards set it in the place of the old one."
        )
    with closing(FolderLock(folder)), changing_secrets(folder):
        fresh = read_key_file(new_key_file, "--new-key-file") if new_key_file else secrets.token_urlsafe(48)
        opened = open_own_vault(settings, folder)
        try:
            if here:  # Before the vault changes, so that there is never a vault without its key.
                write_key(next_key(folder), fresh)
            count = opened.rotate(fresh)
        finally:
            opened.close()
        if here:
            next_key(folder).replace(kept_key(folder))
    console.print(f"{count} keys are wrapped with the new master key.")
    if not here:
        console.print("Set it in the place of the old one before the next start.")


def _where(settings: Settings, folder: Path) -> str:
    if settings.agent_stack_master_key:
        return "the variable AGENT_STACK_MASTER_KEY"
    return str(settings.agent_stack_master_key_file or kept_key(folder))
