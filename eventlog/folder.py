"""The data folder: fit for a database, and open in one process only."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eventlog.errors import DataFolderInUseError, UnsafeFileSystemError

# SQLite's write-ahead log needs shared memory and locks that these do not give.
_NETWORK_FILE_SYSTEMS = frozenset(
    {"9p", "afs", "ceph", "cifs", "fuse.glusterfs", "fuse.sshfs", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4"}
    | {"smb3", "smbfs"}
)


def file_system_of(path: Path, mounts: Path = Path("/proc/mounts")) -> str:
    """Return the type of the file system that holds `path`, "" where the system does not tell."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    resolved = path.resolve()
    best: tuple[int, str] = (-1, "")
    for line in lines:
        _, mount_point, kind, *_ = line.split(" ")
        root = Path(mount_point.replace("\\040", " "))
        if resolved.is_relative_to(root) and len(root.parts) >= best[0]:
            best = (len(root.parts), kind)  # Of two on one point, the later one covers the other.
    return best[1]


def refuse_network_file_system(path: Path, mounts: Path = Path("/proc/mounts")) -> None:
    """Raise UnsafeFileSystemError when `path` lies on a network file system."""
    kind = file_system_of(path, mounts)
    if kind in _NETWORK_FILE_SYSTEMS:
        raise UnsafeFileSystemError(
            f"The data folder {path} is on a network file system ({kind}), where SQLite can lose data. "
            "Set STACK_DATA_ROOT to a folder on a local disk."
        )


class FolderLock:
    """An exclusive lock on a data folder, held until closed or until the process ends, however it ends."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "lock"
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._file, 32).decode(errors="replace").strip() or "unknown"
            os.close(self._file)
            raise DataFolderInUseError(
                f"The data folder {folder} is in use by another agent-stack process (pid {holder}). "
                "Stop that one first, or set STACK_DATA_ROOT to another folder."
            ) from None
        os.ftruncate(self._file, 0)
        os.write(self._file, str(os.getpid()).encode())

    def close(self) -> None:
        """Let another process have the folder."""
        os.close(self._file)


@contextmanager
def keeping_secrets(folder: Path) -> Iterator[None]:
    """While this lasts, the vault and the master key kept beside it belong together. For any number at once."""
    with _locked_folder(folder, fcntl.LOCK_SH, "Its master key is being changed"):
        yield


@contextmanager
def changing_secrets(folder: Path) -> Iterator[None]:
    """The vault or the master key is being changed, and nobody copies the two."""
    with _locked_folder(folder, fcntl.LOCK_EX, "A backup of it is being made"):
        yield


@contextmanager
def _locked_folder(folder: Path, kind: int, otherwise: str) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataFolderInUseError(
                f"The data folder {folder} is in use. {otherwise}: try again when that is done."
            ) from None
        yield
    finally:
        os.close(descriptor)
