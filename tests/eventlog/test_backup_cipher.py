"""eventlog.backup.cipher: backups with a passphrase."""

import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventlog.backup import cipher
from eventlog.backup.archive import BadBackupError, read_backup
from eventlog.backup.cipher import MAGIC, DecryptingFile, EncryptingFile, PassphraseError
from eventlog.errors import EventLogError
from tests.eventlog.backup_setup import Files

PASSPHRASE = "a passphrase of some length"
HEAD = len(MAGIC) + 16
CHUNK = (1 << 20) + 16


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Return an installation with two and a half chunks of what cannot be guessed, backed up with a passphrase."""
    files = Files.under(tmp_path)
    files.bare()
    (files.homes / "ada").write_bytes(b"planted" + os.urandom(2_600_000))
    files.write(PASSPHRASE)
    return files


@pytest.fixture
def into(tmp_path: Path) -> Path:
    """Return an empty folder."""
    (tmp_path / "into").mkdir()
    return tmp_path / "into"


def test_an_encrypted_backup_comes_back_with_its_passphrase(files: Files, into: Path) -> None:
    read_backup(files.backup, into, PASSPHRASE)
    assert (into / "users" / "ada").read_bytes() == (files.homes / "ada").read_bytes()


def test_nothing_of_it_can_be_read(files: Files) -> None:
    data = files.backup.read_bytes()
    assert data.startswith(MAGIC)
    for text in (b"planted", b"users", b"events.db", b"manifest", b"SQLite"):
        assert text not in data


def test_two_backups_of_the_same_have_nothing_in_common(files: Files) -> None:
    first = files.backup.read_bytes()
    files.write(PASSPHRASE)
    second = files.backup.read_bytes()
    assert len(first) == len(second)
    assert sum(a == b for a, b in zip(first[HEAD : HEAD + 4096], second[HEAD : HEAD + 4096], strict=True)) < 100


@pytest.mark.parametrize("wrong", ["another passphrase", PASSPHRASE + " ", PASSPHRASE.upper(), "\u2603" * 12])
def test_a_wrong_passphrase_is_refused(files: Files, into: Path, wrong: str) -> None:
    with pytest.raises(PassphraseError, match="passphrase is wrong"):
        read_backup(files.backup, into, wrong)
    assert list(into.iterdir()) == []


def test_a_missing_passphrase_is_asked_for(files: Files, into: Path) -> None:
    with pytest.raises(PassphraseError, match="give its passphrase"):
        read_backup(files.backup, into)


def test_a_backup_that_is_not_encrypted_needs_no_passphrase(files: Files, into: Path) -> None:
    files.write()
    read_backup(files.backup, into, PASSPHRASE)
    assert (into / "users" / "ada").exists()


def _chunks(data: bytes) -> list[bytes]:
    found = [data[n : n + CHUNK] for n in range(HEAD, len(data), CHUNK)]
    assert len(found) == 3
    return found


CHANGES: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "the first two swapped": lambda c: [c[1], c[0], c[2]],
    "the last two swapped": lambda c: [c[0], c[2], c[1]],
    "the first dropped": lambda c: c[1:],
    "one dropped": lambda c: [c[0], c[2]],
    "the last dropped": lambda c: c[:-1],
    "all but the first dropped": lambda c: c[:1],
    "all dropped": lambda _: [],
    "one twice": lambda c: [c[0], c[1], c[1], c[2]],
    "the last twice": lambda c: [*c, c[2]],
    "an empty one added": lambda c: [*c, b""[:0] + bytes(16)],
    "some bytes added": lambda c: [*c, b"more"],
    "the end cut off": lambda c: [*c[:-1], c[-1][:-1]],
    "the last cut to its tag": lambda c: [*c[:-1], c[-1][-16:]],
    "the last cut to a few bytes": lambda c: [*c[:-1], c[-1][:5]],
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_of_chunks_is_found(files: Files, into: Path, what: str) -> None:
    data = files.backup.read_bytes()
    files.backup.write_bytes(data[:HEAD] + b"".join(CHANGES[what](_chunks(data))))
    with pytest.raises((PassphraseError, BadBackupError)):
        read_backup(files.backup, into, PASSPHRASE)


def test_a_chunk_of_another_backup_with_the_same_passphrase_is_found(files: Files, into: Path) -> None:
    first = _chunks(files.backup.read_bytes())
    files.write(PASSPHRASE)
    data = files.backup.read_bytes()
    second = _chunks(data)
    files.backup.write_bytes(data[:HEAD] + second[0] + first[1] + second[2])
    with pytest.raises(PassphraseError, match="changed or cut short"):
        read_backup(files.backup, into, PASSPHRASE)


@pytest.mark.parametrize(
    "size", [0, 1, len(MAGIC) - 1, len(MAGIC), len(MAGIC) + 1, HEAD - 1, HEAD, HEAD + 1, HEAD + 16]
)
def test_a_head_that_was_cut_short_is_found(files: Files, into: Path, size: int) -> None:
    files.backup.write_bytes(files.backup.read_bytes()[:size])
    with pytest.raises(EventLogError):
        read_backup(files.backup, into, PASSPHRASE)


@pytest.mark.parametrize(
    "place", [0, len(MAGIC) - 1, len(MAGIC), HEAD - 1, HEAD, HEAD + 100, HEAD + CHUNK - 1, HEAD + CHUNK, -17, -1]
)
def test_a_flipped_bit_is_found_wherever_it_is(files: Files, into: Path, place: int) -> None:
    data = bytearray(files.backup.read_bytes())
    data[place] ^= 4
    files.backup.write_bytes(data)
    with pytest.raises(EventLogError):
        read_backup(files.backup, into, PASSPHRASE)


# -- the file itself, with small chunks -------------------------------------------------------------------


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make chunks of eight bytes, and guesses cheap."""
    monkeypatch.setattr(cipher, "_CHUNK", 8)
    monkeypatch.setattr(cipher, "_COST", 2)


@pytest.mark.usefixtures("small")
@settings(max_examples=200, deadline=None)
@given(parts=st.lists(st.binary(max_size=30)), reads=st.lists(st.integers(0, 20), min_size=1))
def test_whatever_is_written_in_parts_is_read_in_parts(parts: list[bytes], reads: list[int]) -> None:
    file = io.BytesIO()
    with EncryptingFile(file, PASSPHRASE) as encrypting:
        for part in parts:
            assert encrypting.write(part) == len(part)
    file.seek(0)
    decrypting, found = DecryptingFile(file, PASSPHRASE), b""
    for size in reads:
        read = decrypting.read(size)
        assert len(read) <= size
        found += read
    found += decrypting.read()
    assert found == b"".join(parts)
    assert decrypting.read(1) == b""


@pytest.mark.usefixtures("small")
@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=60), cut=st.integers(1, 80))
def test_an_end_that_was_cut_off_is_always_found(data: bytes, cut: int) -> None:
    file = io.BytesIO()
    with EncryptingFile(file, PASSPHRASE) as encrypting:
        encrypting.write(data)
    whole = file.getvalue()
    if cut > len(whole) - HEAD:
        return
    with pytest.raises(PassphraseError):
        DecryptingFile(io.BytesIO(whole[:-cut]), PASSPHRASE).read()
