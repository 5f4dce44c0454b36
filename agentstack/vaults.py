"""Opening the vault of an installation, with the master key from wherever that is kept."""

import os
from pathlib import Path

from agentstack.settings import MASTER, Settings, master_key
from eventlog.errors import WrongMasterKeyError
from eventlog.log import FILE_NAME
from eventlog.vault import Vault, open_vault


def open_own_vault(settings: Settings, folder: Path, *, shared: bool = False) -> Vault:
    """Open the vault of a data folder. Blocking. Raises SettingsError and the errors of `eventlog.vault`.

    `shared` says that a server may be making keys in it meanwhile. A rotation that was cut short in its last step,
    the putting in place of the new key, is finished.
    """
    try:
        return open_vault(folder, folder / FILE_NAME, master_key(settings, folder), shared=shared)
    except WrongMasterKeyError:
        if not is_kept_here(settings) or not next_key(folder).exists():
            raise
        found = open_vault(folder, folder / FILE_NAME, next_key(folder).read_text(encoding="utf-8").strip())
        next_key(folder).replace(kept_key(folder))
        return found


def is_kept_here(settings: Settings) -> bool:
    """Tell whether the master key is in the data folder."""
    return not (settings.agent_stack_master_key or settings.agent_stack_master_key_file)


def kept_key(folder: Path) -> Path:
    """Return the file in a data folder that holds the master key."""
    return folder / "secrets" / MASTER


def next_key(folder: Path) -> Path:
    """Return the file that holds the next master key while keys are being wrapped with it."""
    return kept_key(folder).with_suffix(".new")


def write_key(path: Path, key: str) -> None:
    """Write a key into a file that nobody else may read, on disk when this returns."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(key + "\n")
        file.flush()
        os.fsync(descriptor)
