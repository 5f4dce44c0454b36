"""What a backup of an installation holds, and putting one back. All of it blocks."""

import shutil
import time
from pathlib import Path
from typing import Any

from agentstack import __version__
from agentstack.settings import MASTER, Settings
from agentstack.vaults import is_kept_here
from domain.catalogue import EVENT_TYPES
from eventlog.backup.archive import Contents, Manifest, read_backup, scratch_folder, write_backup
from eventlog.codec import EventMapper
from eventlog.errors import EventLogError
from eventlog.folder import keeping_secrets
from eventlog.log import FILE_NAME as LOG
from eventlog.reader import Reader
from eventlog.vault import FILE_NAME as VAULT
from eventlog.vault import Vault

SECRETS, HOMES = "secrets", "users"
_RESTORING, _VERIFYING = ".restoring", ".agent-stack-verify-"


class NotEmptyError(EventLogError):
    """There is something where a backup is to be restored."""


def create(folder: Path, to: Path, *, passphrase: str, homes: bool) -> Manifest:
    """Write a backup of a data folder, which may be in use. Without `homes` only their files' names are kept."""
    reader = Reader(folder / LOG, EventMapper(EVENT_TYPES))
    try:
        head = reader.head()
        about = {
            "version": __version__,
            "at": int(time.time()),
            "log": reader.identity().hex(),
            "position": head.position,
            "homes": homes,
        }
    finally:
        reader.close()
    agents_files = {HOMES: folder / HOMES} if (folder / HOMES).is_dir() else {}
    contents = Contents(
        log=folder / LOG,
        vault=folder / VAULT,
        folders={SECRETS: folder / SECRETS} if (folder / SECRETS).is_dir() else {},
        foreign=agents_files if homes else {},
        listed={} if homes else agents_files,
    )
    with keeping_secrets(folder):
        return write_backup(to, contents, about, passphrase)


def check(backup: Path, settings: Settings, *, passphrase: str) -> dict[str, Any]:
    """Unpack a backup beside itself, verify it in every respect, and return what it says of itself."""
    with scratch_folder(backup.parent, _VERIFYING) as into:
        manifest = read_backup(backup, into, passphrase)
        return {**manifest.about, **_verified(into, settings), "files": len(manifest.digests)}


def restore(backup: Path, settings: Settings, *, passphrase: str) -> dict[str, Any]:
    """Put a backup into the data folder, which must be empty. It appears there when all of it was verified.

    Raises NotEmptyError, and the errors of a bad backup.
    """
    folder = settings.stack_data_root.absolute()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    scratch = folder / _RESTORING
    shutil.rmtree(scratch, ignore_errors=True)  # Of an attempt that was cut short.
    if any(folder.iterdir()):
        raise NotEmptyError(
            f"The data folder {folder} is not empty. Restore into an empty one: move this one away, or set "
            "STACK_DATA_ROOT."
        )
    scratch.mkdir(mode=0o700)
    try:
        manifest = read_backup(backup, scratch, passphrase)
        told = {**manifest.about, **_verified(scratch, settings), "files": len(manifest.digests)}
        # The log comes last: without it, the folder is not taken for an installation.
        for path in sorted(scratch.iterdir(), key=lambda p: p.name == LOG):
            path.rename(folder / path.name)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return told


def _verified(folder: Path, settings: Settings) -> dict[str, Any]:
    """Verify the chain, and that the master key opens the vault if it is known here."""
    reader = Reader(folder / LOG, EventMapper(EVENT_TYPES))
    try:
        told: dict[str, Any] = {"events": reader.verify(), "head": reader.head().hash.hex()}
    finally:
        reader.close()
    master = _master(folder, settings)
    if master:
        vault = Vault(folder, master)
        told["keys"] = len(vault.owners)
        vault.close()
    return told


def _master(folder: Path, settings: Settings) -> str:
    """Return the master key: that in the backup, else that of the settings; "" when neither has one."""
    kept = folder / SECRETS / MASTER
    if is_kept_here(settings):
        return kept.read_text(encoding="utf-8").strip() if kept.exists() else ""
    if settings.agent_stack_master_key_file:
        return settings.agent_stack_master_key_file.read_text(encoding="utf-8").strip()
    return settings.agent_stack_master_key
