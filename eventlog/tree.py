"""Going through folders that are not ours: as deep and as wide as whoever writes into them likes."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def below(folder: Path) -> Iterator[Path]:
    """Yield what is in a folder, each folder before its contents, in the order of their names. Blocking.

    Links are not followed. What may not be looked into, or lies so deep that its name is too long to be asked for,
    is yielded and passed over.
    """
    left = [_entries(folder)]
    while left:
        entry = next(left[-1], None)
        if entry is None:
            left.pop()
            continue
        yield Path(entry.path)
        with suppress(OSError):  # Where a file system does not tell, it is asked, by a name that may be too long.
            if entry.is_dir(follow_symlinks=False):
                left.append(_entries(entry.path))


def _entries(folder: str | Path) -> Iterator["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            return iter(sorted(entries, key=lambda entry: entry.name))
    except OSError:
        return iter(())
