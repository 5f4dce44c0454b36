"""A backup file: a tar with the databases, folders beside them, and a manifest with the digest of each member.

It is written beside its place and takes it when it is whole and on disk: a backup that is cut short leaves the one
before as it was. What such a one has left is removed by the next; of two at once, each has a file of its own.
"""

import errno
import fcntl
import hashlib
import io
import json
import os
import shutil
import stat
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from eventlog.backup.cipher import MAGIC, DecryptingFile, EncryptingFile, PassphraseError
from eventlog.backup.snapshot import copy_log_and_vault
from eventlog.errors import EventLogError
from eventlog.tree import below

MANIFEST = "manifest.json"
_FORMAT = 1
_BLOCK = 1 << 20
_MODE = 0o777
_OUT_OF_REACH = frozenset({errno.ENAMETOOLONG, errno.ELOOP})
"""Why what an agent has written cannot be read: it is left out, and is no reason to have no backup."""
_PARTIAL, _SCRATCH = ".agent-stack-backup-", ".backup-"


class BadBackupError(EventLogError):
    """The file is not a backup, or was damaged."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What goes into a backup: the log, its vault, and folders by the name that they have in it.

    What cannot be read in `foreign` folders is left out, and told. Of `listed` folders only the names, sizes and
    times of their files are kept.
    """

    log: Path
    vault: Path
    folders: Mapping[str, Path]
    foreign: Mapping[str, Path] = field(default_factory=dict)
    listed: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup says of itself. `about` is the caller's; `digests` are SHA-256 in hex by member."""

    about: dict[str, Any]
    digests: dict[str, str]
    listed: dict[str, list[dict[str, Any]]]
    left_out: list[str]
    """What could not be read."""


def write_backup(to: Path, contents: Contents, about: dict[str, Any], passphrase: str = "") -> Manifest:
    """Write a backup file, for nobody else to read. Raises OSError, EventLogError when the disk refuses. Blocking.

    The databases are copied beside the log at first: in the clear, they are nowhere else.
    """
    with _partial(to) as file, scratch_folder(contents.log.parent, _SCRATCH) as scratch:
        copies = copy_log_and_vault(contents.log, contents.vault, scratch)
        if passphrase:
            with EncryptingFile(file, passphrase) as encrypted:
                return _write(cast(BinaryIO, encrypted), copies, contents, about)
        return _write(file, copies, contents, about)


def read_backup(backup: Path, into: Path, passphrase: str = "") -> Manifest:
    """Unpack a backup into an empty folder and check every member. Blocking.

    Raises BadBackupError or PassphraseError; then the folder may hold a part of it.
    """
    with backup.open("rb") as file:
        encrypted = file.read(len(MAGIC)) == MAGIC
        file.seek(0)
        if encrypted and not passphrase:
            raise PassphraseError("the backup is encrypted: give its passphrase")
        source = cast(BinaryIO, DecryptingFile(file, passphrase)) if encrypted else file
        try:
            found, data = _unpack(source, into)
        except (tarfile.TarError, EOFError, ValueError) as error:  # ValueError: a name that can be none.
            raise BadBackupError(f"{backup} is not a backup, or was damaged: {error}") from None
    try:
        told = json.loads(data)
        manifest = Manifest(told["about"], told["digests"], told["listed"], told.get("left_out", []))
    except (ValueError, KeyError, TypeError):
        raise BadBackupError(f"{backup} has no manifest: it was cut short, or is not a backup") from None
    if told.get("format") != _FORMAT:
        raise BadBackupError(f"{backup} was made by another version: format {told.get('format')}")
    for name in sorted(manifest.digests.keys() | found.keys()):
        if manifest.digests.get(name) != found.get(name):
            raise BadBackupError(f"{backup} was damaged: {name} is not what was backed up")
    return manifest


def _write(file: BinaryIO, copies: tuple[Path, Path], contents: Contents, about: dict[str, Any]) -> Manifest:
    digests: dict[str, str] = {}
    left_out: list[str] = []
    with tarfile.open(fileobj=file, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for path in copies:
            _add(tar, path, path.name, digests)
        for name, folder in (*contents.folders.items(), *contents.foreign.items()):
            for path in (folder, *below(folder)):
                member = str(Path(name) / path.relative_to(folder))
                try:
                    _add(tar, path, member, digests)
                except OSError as error:
                    is_out_of_reach = isinstance(error, PermissionError) or error.errno in _OUT_OF_REACH
                    if name not in contents.foreign or not is_out_of_reach:
                        raise
                    left_out.append(member)
        listed = {name: list(_listing(folder)) for name, folder in contents.listed.items()}
        manifest = Manifest(about, digests, listed, left_out)
        body = {"format": _FORMAT, **asdict(manifest)}
        data = json.dumps(body, indent=2).encode()  # Names of files may be no text, which this can write.
        info = tarfile.TarInfo(MANIFEST)
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
    return manifest


def _add(tar: tarfile.TarFile, path: Path, name: str, digests: dict[str, str]) -> None:
    """Add a file, a folder or a link; a file that is being changed with the length that it had at first."""
    try:
        if stat.S_ISSOCK(path.lstat().st_mode):  # There is no such thing in a tar.
            return
        info = tar.gettarinfo(path, name)
    except FileNotFoundError:  # It was removed meanwhile.
        return
    if info.islnk():
        info.type, info.linkname = tarfile.REGTYPE, ""  # Of two names of one file, each is a file.
    if not info.isreg():
        if info.isdir() and not os.access(path, os.R_OK | os.X_OK):
            raise PermissionError(path)
        if info.isdir() or info.issym():
            tar.addfile(info)
            digests[name] = _digest_of(info)
        return
    info.size = path.stat().st_size
    try:
        with path.open("rb") as source:
            hashed = _Hashed(source, info.size)
            tar.addfile(info, cast(BinaryIO, hashed))
    except FileNotFoundError:
        return
    digests[name] = hashed.digest.hexdigest()


def _digest_of(info: tarfile.TarInfo) -> str:
    """Return the digest of a link, which is that of its target, or of a folder."""
    return hashlib.sha256(info.linkname.encode(errors="surrogateescape")).hexdigest()


class _Hashed:
    """Exactly `size` bytes of a file, zeros where it has become shorter, and their digest."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._left = size
        self.digest = hashlib.sha256()

    def read(self, size: int) -> bytes:
        wanted = min(size, self._left)
        data = self._file.read(wanted).ljust(wanted, b"\0")
        self._left -= wanted
        self.digest.update(data)
        return data


def _unpack(source: BinaryIO, into: Path) -> tuple[dict[str, str], bytes]:
    """Return the digests of what was unpacked, and the manifest."""
    digests: dict[str, str] = {}
    manifest = b""
    folders: list[tarfile.TarInfo] = []
    with tarfile.open(fileobj=source, mode="r|") as tar:
        for info in tar:
            if info.name == MANIFEST:
                member = tar.extractfile(info)
                manifest = member.read() if member else b""
                continue
            path = PurePosixPath(info.name)
            inside = (into / path).parent.resolve().is_relative_to(into.resolve())
            if path.is_absolute() or ".." in path.parts or not inside:
                raise BadBackupError(f"the backup holds a name that leads out of its folder: {info.name}")
            if info.isreg():
                digests[info.name] = _extract(tar, info, into / path)
            elif info.issym():
                (into / path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                (into / path).symlink_to(info.linkname)
                _own(into / path, info)
                digests[info.name] = _digest_of(info)
            elif info.isdir():
                (into / path).mkdir(mode=0o700, parents=True, exist_ok=True)
                folders.append(info)
                digests[info.name] = _digest_of(info)
    for info in reversed(folders):  # When they are full: some may not be written to.
        _own(into / info.name, info)
        (into / info.name).chmod(info.mode & _MODE)
        os.utime(into / info.name, (info.mtime, info.mtime))
    return digests, manifest


def _own(path: Path, info: tarfile.TarInfo) -> None:
    if os.getuid() == 0:
        os.chown(path, info.uid, info.gid, follow_symlinks=False)


def _extract(tar: tarfile.TarFile, info: tarfile.TarInfo, to: Path) -> str:
    to.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    source, digest = tar.extractfile(info), hashlib.sha256()
    descriptor = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        while source and (data := source.read(_BLOCK)):
            digest.update(data)
            file.write(data)
    _own(to, info)
    to.chmod(info.mode & _MODE)
    os.utime(to, (info.mtime, info.mtime))
    return digest.hexdigest()


def _listing(folder: Path) -> Iterator[dict[str, Any]]:
    for path in below(folder):
        try:
            status = path.lstat()
        except OSError:  # It was removed meanwhile, or may not be looked at.
            continue
        if stat.S_ISREG(status.st_mode):
            yield {"path": str(path.relative_to(folder)), "size": status.st_size, "mtime": int(status.st_mtime)}


@contextmanager
def _partial(to: Path) -> Iterator[BinaryIO]:
    """A file for its owner alone that takes the place `to` when it is whole and on disk, or else is removed."""
    _remove_left(to.parent, f"{_PARTIAL}*")
    path, descriptor = _new_file(to.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(descriptor)
            path.replace(to)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _new_file(folder: Path) -> tuple[Path, int]:
    """Return a file of mode 0600 that is there and locked. In between, another process may take it for a rest."""
    while True:
        descriptor, name = tempfile.mkstemp(dir=folder, prefix=_PARTIAL)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if Path(name).exists():
            return Path(name), descriptor
        os.close(descriptor)


@contextmanager
def scratch_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """A folder to work in, removed at the end; after a kill, by the next that is made with the prefix."""
    _remove_left(parent, f"{prefix}*")
    with tempfile.TemporaryDirectory(dir=parent, prefix=prefix) as scratch, _locked(Path(scratch)):
        yield Path(scratch)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock on something that nobody else has. Raises BlockingIOError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _remove_left(folder: Path, pattern: str) -> None:
    """Remove what a process that was killed has left: nobody holds its lock any more."""
    for path in folder.glob(pattern):
        with suppress(OSError), _locked(path):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
