"""Consistent copies of the log and its vault, while another process writes to both."""

import sqlite3
from contextlib import closing
from pathlib import Path

from eventlog.errors import EventLogError

_ATTEMPTS = 10


def copy_log_and_vault(log: Path, vault: Path, into: Path) -> tuple[Path, Path]:
    """Copy both databases into a folder; every key of the copied log is in the copied vault. Blocking.

    A key is made before the first event that needs it, so the vault is copied after the log. If a key was destroyed
    in between, the copied log does not know of that deletion yet: then both are copied again. Raises EventLogError.
    """
    log_copy, vault_copy = into / log.name, into / vault.name
    try:
        for _ in range(_ATTEMPTS):
            before = _destroyed(vault)
            _copy(log, log_copy)
            _copy(vault, vault_copy)
            if before == _destroyed(vault_copy):
                return log_copy, vault_copy
    except sqlite3.Error as error:
        raise EventLogError(f"the log and the vault cannot be copied to {into}: {error}") from error
    raise EventLogError("users are being deleted faster than a backup can be taken; try again")


def _copy(database: Path, to: Path) -> None:
    """Copy a database in one step: it reads one state of it, and nobody waits for that."""
    to.unlink(missing_ok=True)
    to.touch(0o600)
    with closing(_opened(database)) as source, closing(sqlite3.connect(to)) as target:
        source.backup(target)
        target.execute("PRAGMA journal_mode=DELETE")


def _destroyed(vault: Path) -> int:
    """Return how many keys have ever been destroyed."""
    with closing(_opened(vault)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _opened(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)
