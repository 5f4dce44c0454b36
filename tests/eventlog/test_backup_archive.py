"""eventlog.backup.archive: any file an agent can make, and any way in which a backup can be damaged."""

import hashlib
import io
import os
import socket
import stat
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from random import Random

import orjson
import pytest

from eventlog.backup.archive import BadBackupError, Contents, read_backup, write_backup
from eventlog.errors import EventLogError
from tests.eventlog.backup_setup import Files, tree
from tests.harness.server import ROOT

STRANGE = [
    "with space",
    "-rf",
    "*?[x]",
    "new\nline",
    "tab\there",
    "quote\"'`$(x)",
    "\u2603 snow",
    "e\u0301",
    "\u202eright to left",
    "..hidden",
    "...",
    "manifest.json",
    "events.db",
    "n" * 255,
    "a\\b",
    "#\x7f\x01",
]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Return an installation with the smallest databases, and one home."""
    files = Files.under(tmp_path)
    files.bare()
    (files.homes / "ada").mkdir(mode=0o700)
    return files


def _unpacked(files: Files, passphrase: str = "") -> dict[str, tuple[int, str | bytes]]:
    """Return the tree of homes as it is when a backup is unpacked."""
    into = files.backups.parent / "unpacked"
    into.mkdir()
    read_backup(files.backup, into, passphrase)
    return tree(into / "users")


def _survives(files: Files) -> None:
    before = tree(files.homes)
    files.write()
    assert _unpacked(files) == before


def test_digests_are_those_of_the_files(files: Files) -> None:
    (files.homes / "ada" / "a").write_bytes(b"one")
    (files.homes / "ada" / "b").write_bytes(b"")
    manifest = files.write()
    digests = {n: d for n, d in manifest.digests.items() if n.startswith("users/")}
    contents = {"ada": b"", "ada/a": b"one", "ada/b": b""}
    assert digests == {f"users/{n}": hashlib.sha256(b).hexdigest() for n, b in contents.items()}
    into = files.backups.parent / "unpacked"
    into.mkdir()
    assert read_backup(files.backup, into) == manifest
    for name, digest in manifest.digests.items():
        if (into / name).is_dir():
            continue
        assert hashlib.sha256((into / name).read_bytes()).hexdigest() == digest


def test_files_with_strange_names_come_back(files: Files) -> None:
    for name in STRANGE:
        (files.homes / "ada" / name).write_text(name)
        (files.homes / f"{name[:200]}-folder").mkdir()
        (files.homes / f"{name[:200]}-folder" / name).write_text("deep")
    _survives(files)


def test_names_that_are_no_text_come_back(files: Files) -> None:
    """File names on Linux are bytes: an agent unpacks an old zip file, and there is one that is not UTF-8."""
    with open(os.fsencode(files.homes) + b"/ada/caf\xe9.txt", "wb") as file:  # noqa: PTH123
        file.write(b"latin")
    _survives(files)


def test_a_listing_takes_names_that_are_no_text(files: Files) -> None:
    with open(os.fsencode(files.homes) + b"/ada/caf\xe9.txt", "wb") as file:  # noqa: PTH123
        file.write(b"latin")
    write_backup(files.backup, Contents(files.log, files.vault, {}, listed={"users": files.homes}), {})


def test_modes_and_folders_come_back(files: Files) -> None:
    home = files.homes / "ada"
    for mode in (0o600, 0o644, 0o755, 0o700, 0o400, 0o664, 0o666):
        (home / f"{mode:o}").write_text("x")
        (home / f"{mode:o}").chmod(mode)
    for mode in (0o700, 0o755, 0o500, 0o770, 0o777):
        (home / f"folder-{mode:o}").mkdir()
        (home / f"folder-{mode:o}").chmod(mode)
    (home / "deep" / "er" / "est").mkdir(parents=True)
    _survives(files)


def test_links_come_back_as_links_wherever_they_lead(files: Files) -> None:
    home = files.homes / "ada"
    (home / "file").write_text("x")
    (home / "folder").mkdir()
    targets = ["file", "folder", "nothing", "/etc/passwd", "/etc", "../..", ".", "loop", "\u2603", "t" * 300]
    for n, target in enumerate(targets):
        (home / f"link-{n}").symlink_to(target)
    (home / "loop").symlink_to("loop")
    (files.homes / "linked-home").symlink_to("ada")
    _survives(files)


def test_of_two_names_of_one_file_each_comes_back(files: Files) -> None:
    """`git clone`, `uv` and `pnpm` make such."""
    home = files.homes / "ada"
    (home / "first").write_text("shared")
    (home / "second").hardlink_to(home / "first")
    (home / "deep").mkdir()
    (home / "deep" / "third").hardlink_to(home / "first")
    _survives(files)


def test_what_is_no_file_is_left_out_and_stops_nothing(files: Files) -> None:
    """A socket, as a program in the home has made one, and a pipe."""
    home = files.homes / "ada"
    (home / "kept").write_text("x")
    os.mkfifo(home / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(home / "socket"))
        files.write()
    assert set(_unpacked(files)) == {"ada", "ada/kept"}


def test_a_file_that_shrinks_or_grows_or_goes_meanwhile_stops_nothing(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = files.homes / "ada"
    for name in ("grows", "goes", "shrinks", "stays"):
        (home / name).write_bytes(b"before")
    real = tarfile.TarFile.gettarinfo

    def change(tar: tarfile.TarFile, path: Path, name: str) -> tarfile.TarInfo:
        if path.name == "goes":
            path.unlink()
        found = real(tar, path, name)
        if path.name == "grows":
            path.write_bytes(b"before and after")
        if path.name == "shrinks":
            monkeypatch.setattr(
                Path, "stat", lambda p, real_stat=Path.stat, **options: _shrunk(p, real_stat(p, **options))
            )
        return found

    monkeypatch.setattr(tarfile.TarFile, "gettarinfo", change)
    files.write()
    monkeypatch.undo()
    found = {name: content for name, (_, content) in _unpacked(files).items()}
    assert found["ada/stays"] == b"before"
    assert str(found["ada/grows"], "ascii").startswith("before")  # type: ignore[arg-type]
    assert "ada/goes" not in found
    assert found["ada/shrinks"] == b"bef\0\0\0"


def _shrunk(path: Path, status: os.stat_result) -> os.stat_result:
    if path.name == "shrinks":
        path.write_bytes(b"bef")
    return status


def test_folders_that_may_not_be_written_to_come_back_for_a_router_that_is_not_root(files: Files) -> None:
    """As those that `go mod download` leaves."""
    module = files.homes / "ada" / "mod"
    module.mkdir()
    (module / "file.go").write_text("package x")
    module.chmod(0o555)
    files.write()
    script = (
        "import os, sys; from pathlib import Path; from eventlog.backup.archive import read_backup;"
        "os.getuid() or (os.setgid(65534), os.setuid(65534));"
        "read_backup(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        copy, into = Path(folder, "copy"), Path(folder, "into")
        copy.write_bytes(files.backup.read_bytes())
        into.mkdir()
        into.chmod(0o777)
        command = [sys.executable, "-c", script, str(copy), str(into)]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
        module = into / "users" / "ada" / "mod"
        assert (module / "file.go").read_text() == "package x"
        assert stat.S_IMODE(module.stat().st_mode) == 0o555
        module.chmod(0o755)  # So that it can be removed.


# -- damage -----------------------------------------------------------------------------------------------


def _furnish(files: Files) -> None:
    """Put something of each kind into the home."""
    home = files.homes / "ada"
    (home / "file").write_bytes(os.urandom(3000))
    (home / "empty").write_bytes(b"")
    (home / ("long" * 40)).write_text("a long name")
    (home / "\u2603 folder").mkdir()
    (home / "\u2603 folder" / "in it").write_text("x")
    (home / "link").symlink_to("file")
    (home / "far").symlink_to("../" * 50 + "somewhere")


def _damage(files: Files, positions: list[int], passphrase: str = "") -> list[str]:
    """Flip one bit at each place; return what was not found: another tree, or an error that is no EventLogError."""
    good = files.backup.read_bytes()
    into = files.backups.parent / "unpacked"
    into.mkdir()
    read_backup(files.backup, into, passphrase)
    expected = tree(into)
    wrong = []
    for n, position in enumerate(positions):
        changed = bytearray(good)
        changed[position] ^= 1 << (position % 8)
        files.backup.write_bytes(changed)
        into = files.backups.parent / f"unpacked-{n}"
        into.mkdir()
        try:
            read_backup(files.backup, into, passphrase)
        except EventLogError:
            continue
        except Exception as error:
            wrong.append(f"at {position}: {error!r}")
            continue
        found = tree(into)
        if found != expected:
            names = {name for name, _ in found.items() ^ expected.items()}
            wrong.append(f"at {position}: {sorted(names)} is not what was backed up")
    return wrong


def _places(data: bytes, count: int) -> list[int]:
    """Return places in a file: most of them where there is something."""
    random = Random(7)
    full = [n for n, byte in enumerate(data) if byte]
    return sorted({*random.sample(full, min(count, len(full))), *random.sample(range(len(data)), 50)})


def test_a_flipped_bit_is_found_or_does_no_harm(files: Files) -> None:
    _furnish(files)
    files.write()
    wrong = _damage(files, _places(files.backup.read_bytes(), 700))
    assert not wrong, "\n".join(wrong)


def test_a_backup_that_was_cut_short_is_found_out_wherever_that_was(files: Files) -> None:
    _furnish(files)
    files.write()
    good = files.backup.read_bytes()
    end = len(good.rstrip(b"\0"))
    for n, size in enumerate([0, 1, 511, 512, 513, *range(1024, end, 1777), end - 1]):
        files.backup.write_bytes(good[:size])
        into = files.backups.parent / f"cut-{n}"
        into.mkdir()
        with pytest.raises(BadBackupError):
            read_backup(files.backup, into)


@pytest.mark.parametrize("content", [b"", b"\0" * 10240, b"no backup at all" * 100, b"SQLite format 3\0" * 64])
def test_what_is_no_backup_is_refused(files: Files, content: bytes) -> None:
    files.backup.write_bytes(content)
    with pytest.raises(BadBackupError):
        read_backup(files.backup, files.backups)


# -- made by somebody else --------------------------------------------------------------------------------


def _made(files: Files, *members: tarfile.TarInfo, content: bytes = b"evil") -> None:
    """Write a backup with other members, and with a manifest that says that all is well."""
    digests = {
        m.name: hashlib.sha256(content if m.isreg() else m.linkname.encode()).hexdigest()
        for m in members
        if not m.isdev() and not m.islnk()
    }
    body = orjson.dumps({"format": 1, "about": {}, "digests": digests, "listed": {}})
    with tarfile.open(files.backup, "w") as tar:
        for member in members:
            member.size = len(content) if member.isreg() else 0
            tar.addfile(member, io.BytesIO(content))
        manifest = tarfile.TarInfo("manifest.json")
        manifest.size = len(body)
        tar.addfile(manifest, io.BytesIO(body))


def _member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE])
@pytest.mark.parametrize(
    "name", ["../evil", "/tmp/evil-of-a-backup", "users/../../evil", "users/ada/../../../evil", "..", "/"]
)
def test_names_that_lead_out_are_refused(files: Files, name: str, kind: bytes) -> None:
    into = files.backups.parent / "into"
    into.mkdir()
    before = tree(files.backups.parent)
    _made(files, _member(name, kind, "x"))
    with pytest.raises(BadBackupError):
        read_backup(files.backup, into)
    assert {n for n in tree(files.backups.parent) if not n.endswith(".backup")} == set(before)
    assert not Path("/tmp/evil-of-a-backup").exists()


@pytest.mark.parametrize("target", ["../../outside", "OUTSIDE", "."])
def test_nothing_is_written_through_a_link_of_the_backup(files: Files, target: str) -> None:
    outside, into = files.backups.parent / "outside", files.backups.parent / "into"
    outside.mkdir()
    (into / "users").mkdir(parents=True)
    target = target.replace("OUTSIDE", str(outside))
    _made(files, _member("users/link", tarfile.SYMTYPE, target), _member("users/link/evil"))
    if target == ".":
        read_backup(files.backup, into)  # That stays inside.
    else:
        with pytest.raises(BadBackupError, match="leads out"):
            read_backup(files.backup, into)
    assert list(outside.iterdir()) == []


def test_a_file_does_not_replace_what_a_link_of_the_same_name_leads_to(files: Files) -> None:
    outside, into = files.backups.parent / "outside", files.backups.parent / "into"
    outside.write_text("mine")
    into.mkdir()
    _made(files, _member("link", tarfile.SYMTYPE, str(outside)), _member("link"))
    with pytest.raises((BadBackupError, OSError)):
        read_backup(files.backup, into)
    assert outside.read_text() == "mine"


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.BLKTYPE, tarfile.LNKTYPE])
def test_devices_and_pipes_are_not_made(files: Files, kind: bytes) -> None:
    into = files.backups.parent / "into"
    into.mkdir()
    _made(files, _member("odd", kind, "events.db"))
    read_backup(files.backup, into)
    assert list(into.iterdir()) == []


@pytest.mark.parametrize("change", ["added", "missing", "format", "no about", "no json", "twice"])
def test_a_manifest_that_does_not_fit_is_refused(files: Files, change: str) -> None:
    into = files.backups.parent / "into"
    into.mkdir()
    digest = hashlib.sha256(b"x").hexdigest()
    body = {"format": 1, "about": {}, "digests": {"a": digest}, "listed": {}}
    if change == "added":
        body["digests"] = {"a": digest, "b": digest}
    if change == "missing":
        body["digests"] = {}
    if change == "format":
        body["format"] = 2
    if change == "no about":
        del body["about"]
    data = b"{" if change == "no json" else orjson.dumps([] if change == "twice" else body)
    with tarfile.open(files.backup, "w") as tar:
        for name, content in (("a", b"x"), ("manifest.json", data)):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    with pytest.raises(BadBackupError):
        read_backup(files.backup, into)
