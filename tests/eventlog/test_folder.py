"""eventlog.folder."""

import os
import stat
from pathlib import Path

import pytest

from eventlog.errors import BrokenChainError, DataFolderInUseError, UnsafeFileSystemError
from eventlog.folder import (
    FolderLock,
    changing_secrets,
    file_system_of,
    keeping_secrets,
    refuse_network_file_system,
)
from eventlog.log import open_log
from tests.eventlog.things import MAPPER, append


def test_a_second_lock_is_refused_with_the_pid_of_the_holder(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    with pytest.raises(DataFolderInUseError, match=rf"\(pid {os.getpid()}\)"):
        FolderLock(tmp_path)
    lock.close()


def test_a_lock_that_was_given_back_can_be_taken_again(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("123456789012345")  # A longer pid than any of today.
    FolderLock(tmp_path).close()
    lock = FolderLock(tmp_path)
    assert (tmp_path / "lock").read_text() == str(os.getpid())
    lock.close()


async def test_a_second_log_on_a_folder_is_refused(tmp_path: Path) -> None:
    async with open_log(tmp_path, MAPPER):
        with pytest.raises(DataFolderInUseError):
            async with open_log(tmp_path, MAPPER):
                raise AssertionError("unreachable")
    async with open_log(tmp_path, MAPPER) as log:
        await append(log, "a", 0, 1)


async def test_a_log_that_could_not_be_opened_gives_the_folder_back(tmp_path: Path) -> None:
    async with open_log(tmp_path, MAPPER) as log:
        await append(log, "a", 0, 1)
    recorder_file = tmp_path / "events.db"
    good = recorder_file.read_bytes()
    recorder_file.write_bytes(good.replace(b'{"n":1,', b'{"n":2,'))
    with pytest.raises(BrokenChainError):
        async with open_log(tmp_path, MAPPER):
            raise AssertionError("unreachable")
    recorder_file.write_bytes(good)
    async with open_log(tmp_path, MAPPER) as log:
        assert log.position == 1


def test_any_number_at_once_may_rely_on_the_secrets_and_nobody_changes_them_meanwhile(tmp_path: Path) -> None:
    refused = pytest.raises(DataFolderInUseError, match="backup of it is being made")
    with keeping_secrets(tmp_path), keeping_secrets(tmp_path), refused, changing_secrets(tmp_path):
        raise AssertionError("unreachable")
    with changing_secrets(tmp_path):
        pass


def test_while_the_secrets_are_being_changed_nobody_relies_on_them_or_changes_them_too(tmp_path: Path) -> None:
    with changing_secrets(tmp_path):
        with pytest.raises(DataFolderInUseError, match="master key is being changed"), keeping_secrets(tmp_path):
            raise AssertionError("unreachable")
        with pytest.raises(DataFolderInUseError), changing_secrets(tmp_path):
            raise AssertionError("unreachable")
    with keeping_secrets(tmp_path):
        pass


async def test_the_log_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    async with open_log(tmp_path, MAPPER) as log:
        await append(log, "a", 0, 1)
        modes = {f.name: stat.S_IMODE(f.stat().st_mode) for f in tmp_path.iterdir()}
    assert modes["events.db"] == modes["lock"] == 0o600


def _mounts(tmp_path: Path, *lines: str) -> Path:
    file = tmp_path / "mounts"
    file.write_text("".join(f"{line}\n" for line in lines))
    return file


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "ceph"])
def test_a_network_file_system_is_refused(tmp_path: Path, kind: str) -> None:
    mounts = _mounts(tmp_path, "/dev/sda1 / ext4 rw 0 0", f"far:/x {tmp_path} {kind} rw 0 0")
    with pytest.raises(UnsafeFileSystemError, match=rf"\({kind}\).*STACK_DATA_ROOT"):
        refuse_network_file_system(tmp_path / "data", mounts)


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "tmpfs", "overlay", "zfs"])
def test_a_local_file_system_is_accepted(tmp_path: Path, kind: str) -> None:
    mounts = _mounts(tmp_path, "far:/x / nfs4 rw 0 0", f"/dev/sda1 {tmp_path} {kind} rw 0 0")
    refuse_network_file_system(tmp_path / "data", mounts)


def test_the_deepest_mount_counts_whatever_the_order(tmp_path: Path) -> None:
    lines = [f"x {tmp_path}/a/b nfs rw 0 0", "x / ext4 rw 0 0", f"x {tmp_path}/a xfs rw 0 0"]
    mounts = _mounts(tmp_path, *lines)
    assert file_system_of(tmp_path / "a" / "b" / "c", mounts) == "nfs"
    assert file_system_of(tmp_path / "a" / "bc", mounts) == "xfs"
    assert file_system_of(tmp_path, mounts) == "ext4"


def test_a_mount_point_with_a_space_is_understood(tmp_path: Path) -> None:
    mounts = _mounts(tmp_path, "x / ext4 rw 0 0", f"x {tmp_path}/my\\040data nfs rw 0 0")
    assert file_system_of(tmp_path / "my data" / "x", mounts) == "nfs"


def test_a_link_is_followed_to_the_file_system_that_holds_it(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "near").symlink_to(tmp_path / "far")
    mounts = _mounts(tmp_path, "x / ext4 rw 0 0", f"x {tmp_path}/far nfs rw 0 0")
    assert file_system_of(tmp_path / "near", mounts) == "nfs"


def test_a_network_file_system_under_an_automount_is_found(tmp_path: Path) -> None:
    mounts = _mounts(
        tmp_path, "x / ext4 rw 0 0", f"systemd-1 {tmp_path} autofs rw 0 0", f"far:/x {tmp_path} nfs4 rw 0 0"
    )
    assert file_system_of(tmp_path / "data", mounts) == "nfs4"


def test_where_the_system_does_not_tell_the_folder_is_accepted(tmp_path: Path) -> None:
    assert file_system_of(tmp_path, tmp_path / "none") == ""
    refuse_network_file_system(tmp_path, tmp_path / "none")
