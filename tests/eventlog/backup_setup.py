"""An installation's files in small, to be backed up."""

import os
import sqlite3
import stat
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import trio

from eventlog.backup.archive import Contents, Manifest, write_backup
from eventlog.envelope import StreamAppend
from eventlog.log import open_log
from eventlog.vault import Vault
from tests.eventlog.things import ORIGIN
from tests.eventlog.things_sealed import MASTER, Told, sealed_mapper


@dataclass(frozen=True)
class Files:
    """The folder of an installation, and where its backups go."""

    data: Path
    backups: Path

    @classmethod
    def under(cls, folder: Path) -> "Files":
        """Make empty folders."""
        found = cls(folder / "data", folder / "backups")
        for path in (found.data, found.homes, found.backups):
            path.mkdir()
        return found

    @property
    def log(self) -> Path:
        """The log."""
        return self.data / "events.db"

    @property
    def vault(self) -> Path:
        """The vault."""
        return self.data / "vault.db"

    @property
    def homes(self) -> Path:
        """The agents' homes."""
        return self.data / "users"

    @property
    def backup(self) -> Path:
        """Where a backup is written."""
        return self.backups / "one.backup"

    def contents(self) -> Contents:
        """Return what goes into a backup."""
        return Contents(self.log, self.vault, {}, {"users": self.homes})

    def write(self, passphrase: str = "") -> Manifest:
        """Write a backup."""
        return write_backup(self.backup, self.contents(), {"n": 1}, passphrase)

    def tell(self, *texts: str) -> None:
        """Write some events of ada's."""

        async def write() -> None:
            with closing(Vault(self.data, MASTER)) as vault:
                vault.create("ada")
                async with open_log(self.data, sealed_mapper(vault)) as log:
                    events = [Told(text=text) for text in texts]
                    await log.append(StreamAppend("a", 0, events, "ada"), origin=ORIGIN)

        trio.run(write)

    def bare(self) -> None:
        """Make the smallest databases that can be backed up: bytes are what matters."""
        for path, table in ((self.log, "events (n)"), (self.vault, "keys (owner)")):
            with closing(sqlite3.connect(path)) as connection:
                connection.execute(f"CREATE TABLE {table}")


def tree(folder: Path) -> dict[str, tuple[int, str | bytes]]:
    """Return mode and content of everything in a folder; of a link, what it leads to."""
    found: dict[str, tuple[int, str | bytes]] = {}
    for root, folders, files in os.walk(os.fsencode(folder)):
        for name in (*folders, *files):
            path = os.path.join(root, name)  # noqa: PTH118 - names may be any bytes
            mode = stat.S_IMODE(os.lstat(path).st_mode)
            key = os.fsdecode(path)[len(str(folder)) + 1 :]
            if os.path.islink(path):  # noqa: PTH114
                found[key] = (0, os.fsdecode(os.readlink(path)))  # noqa: PTH115
            elif os.path.isdir(path):  # noqa: PTH112
                found[key] = (mode, "folder")
            elif os.path.isfile(path):  # noqa: PTH113
                with open(path, "rb") as file:  # noqa: PTH123
                    found[key] = (mode, file.read())
            else:
                found[key] = (mode, "something else")
    return found
