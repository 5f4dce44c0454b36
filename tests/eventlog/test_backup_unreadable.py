"""eventlog.backup.archive: files and folders that whoever makes the backup may not read."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from eventlog.backup.archive import Contents, read_backup, write_backup
from tests.eventlog.backup_setup import Files

NOBODY = 65534


@contextmanager
def _as_nobody() -> Iterator[None]:
    """Be somebody for whom modes count, also if the tests run as root."""
    before = os.getresuid()
    try:
        if before[1] == 0:
            os.setresuid(NOBODY, NOBODY, 0)
        yield
    finally:
        os.setresuid(*before)


@pytest.fixture
def files() -> Iterator[Files]:
    """Return an installation with a home and a secret, of the user who makes its backup."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        with _as_nobody():
            files = Files.under(Path(folder))
            files.bare()
            for path in (files.homes / "ada" / "open.txt", files.data / "secrets" / "master"):
                path.parent.mkdir()
                path.write_text("kept")
            yield files


def _shut(path: Path, mode: int = 0) -> None:
    path.mkdir()
    (path / "inside").write_text("x")
    path.chmod(mode)


def test_what_an_agent_lets_nobody_read_is_left_out_and_named_and_the_rest_comes_back(files: Files) -> None:
    home = files.homes / "ada"
    (home / "shut.txt").write_text("x")
    (home / "shut.txt").chmod(0)
    _shut(home / "shut")
    _shut(home / "listed only", 0o400)
    manifest = files.write()
    shut = ["listed only", "listed only/inside", "shut", "shut.txt"]
    assert manifest.left_out == [f"users/ada/{name}" for name in shut]
    assert set(manifest.digests) == {"events.db", "vault.db", "users", "users/ada", "users/ada/open.txt"}
    into = files.backups.parent / "unpacked"
    into.mkdir()
    assert read_backup(files.backup, into) == manifest
    assert (into / "users" / "ada" / "open.txt").read_text() == "kept"


def test_a_listing_goes_on_after_what_may_not_be_looked_at(files: Files) -> None:
    _shut(files.homes / "ada" / "listed only", 0o400)
    _shut(files.homes / "ada" / "shut")
    contents = Contents(files.log, files.vault, {}, listed={"users": files.homes})
    assert [e["path"] for e in write_backup(files.backup, contents, {}).listed["users"]] == ["ada/open.txt"]


@pytest.mark.parametrize("what", ["file", "folder", "all of it"])
def test_a_secret_that_may_not_be_read_fails_the_backup(files: Files, what: str) -> None:
    secrets = files.data / "secrets"
    if what == "file":
        (secrets / "master").chmod(0)
    elif what == "folder":
        _shut(secrets / "more")
    else:
        secrets.chmod(0)
    with pytest.raises(PermissionError):
        write_backup(files.backup, Contents(files.log, files.vault, {"secrets": secrets}), {})
    assert list(files.backups.iterdir()) == []


def test_folders_too_deep_for_names_are_left_out_and_the_rest_comes_back(files: Files) -> None:
    """Whatever an agent has built, everybody else has a backup."""
    home = files.homes / "ada"
    at = os.open(home, os.O_RDONLY)
    for name in ("d" * 200, "e"):
        for _ in range(1100):
            os.mkdir(name, dir_fd=at)
            inner = os.open(name, os.O_RDONLY, dir_fd=at)
            os.close(at)
            at = inner
    os.close(at)
    try:
        manifest = files.write()
        assert len(manifest.left_out) == 1
        into = files.backups.parent / "unpacked"
        into.mkdir()
        assert read_backup(files.backup, into) == manifest
        assert (into / "users" / "ada" / "open.txt").read_text() == "kept"
    finally:
        subprocess.run(["rm", "-rf", str(files.data), str(files.backups.parent / "unpacked")], check=True)
