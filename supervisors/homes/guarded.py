"""Writing into a folder that an agent can write to as well.

The agent may have put a link anywhere in it. So every step of a path is opened without following links, relative to
the folder before it: nothing outside the home is ever touched, whatever the names in it lead to.
"""

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

Owner = tuple[int, int]
"""User id and group id."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def opened(root: Path, parts: Sequence[str], owner: Owner | None) -> Iterator[int]:
    """Open the folder `parts` below `root`, made where it is missing. Raises OSError at a link on the way."""
    current = os.open(root, _FOLDER)
    try:
        for part in parts:
            try:
                inner = os.open(part, _FOLDER, dir_fd=current)
            except FileNotFoundError:
                os.mkdir(part, 0o700, dir_fd=current)
                inner = os.open(part, _FOLDER, dir_fd=current)
                if owner:
                    os.fchown(inner, *owner)
            os.close(current)
            current = inner
        yield current
    finally:
        os.close(current)


def write(root: Path, relative: str, data: bytes, owner: Owner | None) -> None:
    """Replace a file below `root` as a whole, readable by its owner only."""
    *folders, name = relative.split("/")
    with opened(root, folders, owner) as folder:
        fresh = f".{name}.{secrets.token_hex(8)}"
        descriptor = os.open(fresh, _NEW_FILE, 0o600, dir_fd=folder)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                if owner:
                    os.fchown(descriptor, *owner)
            os.replace(fresh, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            os.unlink(fresh, dir_fd=folder)
            raise


def give_to(root: Path, owner: Owner) -> None:
    """Make a folder and all in it belong to `owner`; links themselves, not what they lead to."""
    for _, folders, files, descriptor in os.fwalk(root, follow_symlinks=False):
        for name in (*folders, *files):
            os.chown(name, *owner, dir_fd=descriptor, follow_symlinks=False)
    os.chown(root, *owner, follow_symlinks=False)
