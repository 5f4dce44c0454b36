"""eventlog.backup: taken while the log is in use, and interrupted in every way."""

import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from eventlog.backup import snapshot
from eventlog.backup.archive import read_backup, write_backup
from eventlog.envelope import StreamAppend
from eventlog.errors import EventLogError
from eventlog.filter import Filter
from eventlog.log import EventLog, open_log
from eventlog.reader import Reader
from eventlog.vault import Vault
from tests.eventlog.backup_setup import Files, tree
from tests.eventlog.things import ORIGIN
from tests.eventlog.things_sealed import MASTER, Told, sealed_mapper
from tests.harness.server import ROOT


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Return an installation with two events and a home."""
    files = Files.under(tmp_path)
    files.tell("one", "two")
    (files.homes / "ada").mkdir()
    (files.homes / "ada" / "notes.txt").write_text("from the agent")
    return files


def _unpacked(files: Files, name: str = "unpacked") -> Path:
    into = files.backups.parent / name
    into.mkdir()
    read_backup(files.backup, into)
    return into


def _texts(folder: Path) -> list[str]:
    """Verify what was unpacked, and return what the events say: erased ones would say nothing."""
    with closing(Vault(folder, MASTER)) as vault:
        reader = Reader(folder / "events.db", sealed_mapper(vault))
        found = reader.events(Filter(), -1)
        assert reader.verify() == len(found)
        assert not [r for r in found if r.erased]
        reader.close()
    return [r.event.text for r in found]


def test_a_backup_holds_the_log_the_vault_and_the_folders(files: Files) -> None:
    manifest = files.write()
    assert manifest.about == {"n": 1}
    assert set(manifest.digests) == {"events.db", "vault.db", "users", "users/ada", "users/ada/notes.txt"}
    into = _unpacked(files)
    assert _texts(into) == ["one", "two"]
    assert (into / "users" / "ada" / "notes.txt").read_text() == "from the agent"
    assert not [p for p in into.iterdir() if p.name not in {"events.db", "vault.db", "users"}]


def test_a_backup_is_for_its_owner_only_and_nothing_lies_beside_it(files: Files) -> None:
    files.write()
    assert [p.name for p in files.backups.iterdir()] == ["one.backup"]
    assert files.backup.stat().st_mode & 0o777 == 0o600


def test_taking_a_backup_changes_nothing_of_what_is_backed_up(files: Files) -> None:
    def kept() -> dict[str, tuple[int, str | bytes]]:
        return {name: found for name, found in tree(files.data).items() if not name.endswith(("-wal", "-shm"))}

    before = kept()
    files.write()
    assert kept() == before


async def test_a_backup_that_is_taken_while_events_come_is_whole(files: Files) -> None:
    """Users come as well, each with a key of their own, which the backup must hold."""
    enough = trio.Event()

    async def write(log: EventLog, vault: Vault) -> None:
        n = 0
        while not enough.is_set():
            n += 1
            await trio.to_thread.run_sync(vault.create, f"u{n}")
            text = f"{n} " * 50
            await log.append(StreamAppend(f"w:{n}", 0, [Told(text=text)] * 3, f"u{n}"), origin=ORIGIN)

    sizes = []
    with closing(Vault(files.data, MASTER)) as vault:
        async with open_log(files.data, sealed_mapper(vault)) as log, trio.open_nursery() as nursery:
            nursery.start_soon(write, log, vault)
            for n in range(6):
                before = log.position
                await log.wait_past(before)
                await trio.to_thread.run_sync(files.write)
                texts = await trio.to_thread.run_sync(_texts, _unpacked(files, f"unpacked-{n}"))
                assert before <= len(texts) <= log.position
                assert len(texts) % 3 == 2, "appends are whole"
                sizes.append(len(texts))
            enough.set()
    assert sizes == sorted(sizes)
    assert sizes[-1] > sizes[0]


# -- a user who is deleted meanwhile ----------------------------------------------------------------------


def _between(monkeypatch: pytest.MonkeyPatch, what: Callable[[Path, int], None]) -> list[str]:
    """Have something happen after each copy of a database; return the names of what is copied."""
    real, copied = snapshot._copy, []

    def copy(database: Path, to: Path) -> None:
        real(database, to)
        copied.append(database.name)
        what(database, len(copied))

    monkeypatch.setattr(snapshot, "_copy", copy)
    return copied


def test_if_a_key_is_destroyed_in_between_both_are_copied_again(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(Vault(files.data, MASTER)) as vault:
        vault.create("bob")

        def destroy(_: Path, count: int) -> None:
            if count == 1:
                vault.destroy("bob")

        copied = _between(monkeypatch, destroy)
        files.write()
    assert copied == ["events.db", "vault.db"] * 2
    with closing(Vault(_unpacked(files), MASTER)) as copy:
        assert copy.owners == {"ada"}


def test_if_a_user_came_and_went_in_between_both_are_copied_again(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copied log knows that somebody came and not that they went: their key would be missed at a start."""
    real = snapshot._destroyed
    with closing(Vault(files.data, MASTER)) as vault:

        def come(path: Path) -> int:
            before = real(path)
            if path == files.vault and not copied:
                vault.create("eve")
            return before

        def go(_: Path, count: int) -> None:
            if count == 1:
                assert "eve" in vault
                vault.destroy("eve")

        copied = _between(monkeypatch, go)
        monkeypatch.setattr(snapshot, "_destroyed", come)
        files.write()
    assert copied == ["events.db", "vault.db"] * 2


def test_if_keys_are_destroyed_all_the_time_it_says_so(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    files.write()
    old = files.backup.read_bytes()
    with closing(Vault(files.data, MASTER)) as vault:
        for n in range(30):
            vault.create(f"u{n}")
        _between(monkeypatch, lambda _, count: vault.destroy(f"u{count}"))
        with pytest.raises(EventLogError, match="try again"):
            files.write()
    assert files.backup.read_bytes() == old
    assert [p.name for p in files.backups.iterdir()] == ["one.backup"]


# -- interrupted ------------------------------------------------------------------------------------------

_CHILD = """
import os, sys, time
from pathlib import Path
from eventlog.backup import archive
from tests.eventlog.backup_setup import Files

def stop(*_):
    print("here", flush=True)
    while True:
        time.sleep(60)

point = sys.argv[2]
if point == "copying":
    real = archive.copy_log_and_vault
    archive.copy_log_and_vault = lambda *a: (real(*a), stop())
elif point == "writing":
    real_add = archive._add
    archive._add = lambda tar, path, *a: stop() if path.name == "notes.txt" else real_add(tar, path, *a)
else:
    os.fsync = stop
folder = Path(sys.argv[1])
Files(folder / "data", folder / "backups").write(sys.argv[3])
"""
POINTS = ["copying", "writing", "flushing"]


def _killed(files: Files, point: str, passphrase: str = "") -> None:
    """Have another process make a backup, and kill it at a point of that."""
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(files.data.parent), point, passphrase], cwd=ROOT, stdout=subprocess.PIPE
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"here\n"
    finally:
        child.send_signal(signal.SIGKILL)
        child.communicate()


@pytest.mark.parametrize("point", POINTS)
def test_a_kill_in_the_middle_leaves_the_old_backup_whole(files: Files, point: str) -> None:
    files.write()
    old = files.backup.read_bytes()
    _killed(files, point)
    assert files.backup.read_bytes() == old
    assert _texts(_unpacked(files, "old")) == ["one", "two"]
    files.write()
    assert _texts(_unpacked(files, "new")) == ["one", "two"]


@pytest.mark.parametrize("point", POINTS)
def test_what_a_kill_has_left_is_removed_by_the_next_backup(files: Files, point: str) -> None:
    """A scheduled backup that is killed every day must not fill the disk with copies of the log."""
    _killed(files, point)
    files.write()
    assert [p.name for p in files.backups.iterdir()] == ["one.backup"]


def test_nothing_readable_lies_beside_an_encrypted_backup_even_after_a_kill(files: Files) -> None:
    _killed(files, "writing", "a long passphrase")
    found = [p for p in files.backups.rglob("*") if p.is_file() and b"SQLite format 3" in p.read_bytes()]
    assert found == []


@contextmanager
def _room_for(size: int) -> Iterator[None]:
    """Let no file become larger than that: the same as a disk that is full, for whoever writes one."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("passphrase", ["", "a long passphrase"])
@pytest.mark.parametrize("size", [0, 50_000, 500_000])
def test_a_full_disk_leaves_the_old_backup_and_nothing_else(files: Files, size: int, passphrase: str) -> None:
    """It shows when the databases are copied, or when the file is written."""
    (files.homes / "large").write_bytes(bytes(3_000_000))
    files.write(passphrase)
    old = files.backup.read_bytes()
    with _room_for(size), pytest.raises((OSError, EventLogError)):
        files.write(passphrase)
    assert files.backup.read_bytes() == old
    assert [p.name for p in files.backups.iterdir()] == ["one.backup"]


def test_a_folder_that_is_not_there_is_named(files: Files) -> None:
    with pytest.raises(FileNotFoundError) as refused:
        write_backup(files.backups / "none" / "one.backup", files.contents(), {})
    assert "none" in str(refused.value)


@pytest.mark.parametrize("what", ["log", "vault"])
def test_a_database_that_is_damaged_or_missing_makes_no_backup(files: Files, what: str) -> None:
    files.write()
    old = files.backup.read_bytes()
    path: Any = getattr(files, what)
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(Exception, match="not a database"):
        files.write()
    path.unlink()
    with pytest.raises(Exception, match="unable to open"):
        files.write()
    assert files.backup.read_bytes() == old
    assert [p.name for p in files.backups.iterdir()] == ["one.backup"]
