"""What lies in the data folder. Blocking."""

import shutil
import stat
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from eventlog.tree import below

_KINDS = {
    "events.db": "log",
    "events.db-wal": "write-ahead log",
    "vault.db": "vault",
    "views.db": "read models",
    "users": "homes",
    "runners": "runners",
    "backups": "backups",
    "secrets": "secrets",
}
"""By the first part of a path; what is not among them is `other`."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Files of one kind: bytes and how many there are."""

    kind: str
    bytes: int
    files: int


@dataclass(frozen=True, slots=True)
class DiskUse:
    """Bytes in the data folder by kind, the largest first, and bytes that are free beside it."""

    total: int
    free: int
    kinds: list[Kind]


class Disk:
    """Measures a data folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def measure(self) -> DiskUse:
        """Look at every file; what an agent removes meanwhile is passed over."""
        sizes: defaultdict[str, int] = defaultdict(int)
        files: defaultdict[str, int] = defaultdict(int)
        for path in below(self._folder):
            try:
                status = path.lstat()
            except OSError:
                continue
            if not stat.S_ISDIR(status.st_mode):
                kind = _KINDS.get(path.relative_to(self._folder).parts[0], "other")
                sizes[kind] += status.st_size
                files[kind] += 1
        kinds = [Kind(kind, size, files[kind]) for kind, size in sizes.items()]
        kinds.sort(key=lambda k: k.bytes, reverse=True)
        return DiskUse(sum(sizes.values()), shutil.disk_usage(self._folder).free, kinds)
