"""eventlog.backup.archive: several backups into one folder at once, and what is removed from it."""

import tarfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from eventlog.backup.archive import read_backup, write_backup
from tests.eventlog.backup_setup import Files
from tests.harness.waiting import PATIENCE_SECONDS


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Return an installation with the smallest databases, and a home with a file."""
    files = Files.under(tmp_path)
    files.bare()
    (files.homes / "ada").mkdir()
    (files.homes / "ada" / "notes.txt").write_text("kept")
    return files


@contextmanager
def _half_written(files: Files, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have a backup stand half written during the block, and finish it afterwards."""
    reached, go_on = threading.Event(), threading.Event()
    real = tarfile.TarFile.gettarinfo

    def wait_once(tar: tarfile.TarFile, path: Path, name: str) -> tarfile.TarInfo:
        if path.name == "notes.txt" and not reached.is_set():
            reached.set()
            go_on.wait()
        return real(tar, path, name)

    monkeypatch.setattr(tarfile.TarFile, "gettarinfo", wait_once)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(write_backup, files.backup, files.contents(), {"who": "the first"})
        try:
            assert reached.wait(PATIENCE_SECONDS)
            yield
        finally:
            go_on.set()
        first.result()


def _made_by(files: Files) -> str:
    """Check the backup that is there, and return who has made it."""
    into = files.backups.parent / f"unpacked-{len(list(files.backups.parent.iterdir()))}"
    into.mkdir()
    manifest = read_backup(files.backup, into)
    assert (into / "users" / "ada" / "notes.txt").read_text() == "kept"
    return str(manifest.about["who"])


def test_of_two_backups_into_one_file_at_once_each_is_whole(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    with _half_written(files, monkeypatch):
        write_backup(files.backup, files.contents(), {"who": "the second"})
        assert _made_by(files) == "the second"
    assert _made_by(files) == "the first"
    assert list(files.backups.iterdir()) == [files.backup]


def test_only_what_a_killed_backup_has_left_is_removed(files: Files) -> None:
    (files.backups / ".agent-stack-backup-k1ll3d").write_text("half")
    foreign = {".one.partial", ".one.backup.partial", ".folder.partial", ".verify-mine", "agent-stack-backup-1"}
    for name in foreign - {".folder.partial"}:
        (files.backups / name).write_text("mine")
    (files.backups / ".folder.partial").mkdir()
    (files.backups / ".folder.partial" / "in it").write_text("mine")
    files.write()
    assert {p.name for p in files.backups.iterdir()} == {files.backup.name, *foreign}
    assert (files.backups / ".folder.partial" / "in it").read_text() == "mine"
