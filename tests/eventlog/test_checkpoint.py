"""eventlog.checkpoint, and what it proves together with the hash chain."""

import base64
import hashlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
import trio
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from eventlog import chain
from eventlog.checkpoint import BadCheckpointError, Signer, read_note
from eventlog.envelope import StoredRecord
from eventlog.errors import BrokenChainError
from eventlog.filter import Filter
from eventlog.log import EventLog, open_log
from eventlog.reader import Head, Reader
from tests.eventlog.things import MAPPER, append

SEED, OTHER_SEED = b"s" * 32, b"t" * 32
IDENTITY, OTHER_LOG = b"i" * 16, b"j" * 16
HEAD = Head(1234, hashlib.sha256(b"head").digest(), 1_700_000_000_000_000)
SIGNER = Signer(SEED, IDENTITY)
NOTE, KEY = SIGNER.note(HEAD), SIGNER.verifier_key


# -- notes ------------------------------------------------------------------------------------------------


def test_a_checkpoint_says_how_the_log_ended() -> None:
    found = read_note(NOTE, KEY)
    assert (found.log, found.position, found.hash) == (SIGNER.log, HEAD.position, HEAD.hash)
    assert SIGNER.log == f"agent-stack/{IDENTITY.hex()}"


def test_a_log_without_events_has_a_checkpoint_too() -> None:
    found = read_note(SIGNER.note(Head(0, chain.GENESIS, 0)), KEY)
    assert (found.position, found.hash) == (0, bytes(32))


def test_the_note_has_the_form_of_a_signed_note_of_c2sp() -> None:
    """By its specification, without our code: text, an empty line, then lines of dash, name and signature."""
    text, _, signatures = NOTE.partition("\n\n")
    text += "\n"
    assert NOTE.endswith("\n")
    origin, size, root, *more = text.rstrip("\n").split("\n")
    assert (origin, size, more) == (SIGNER.log, "1234", [])
    assert base64.b64decode(root, validate=True) == HEAD.hash
    (line,) = signatures.splitlines()
    dash, name, encoded = line.split(" ")
    assert dash == "\N{EM DASH}"
    assert not set(name) & set(" +\n")
    signature = base64.b64decode(encoded, validate=True)
    key_name, key_id, encoded_key = KEY.split("+", 2)
    key = base64.b64decode(encoded_key, validate=True)
    assert (key_name, key[0], len(key)) == (name, 1, 33)
    assert hashlib.sha256(f"{name}\n".encode() + key).digest()[:4].hex() == key_id
    assert signature[:4].hex() == key_id
    Ed25519PublicKey.from_public_bytes(key[1:]).verify(signature[4:], text.encode())
    with pytest.raises(InvalidSignature):
        Ed25519PublicKey.from_public_bytes(key[1:]).verify(signature[4:], text.encode() + b"\n")


def test_the_same_head_has_the_same_note() -> None:
    assert Signer(SEED, IDENTITY).note(HEAD) == NOTE
    assert Signer(SEED, IDENTITY).verifier_key == KEY


def test_signatures_of_others_below_ours_do_no_harm() -> None:
    witness = "\N{EM DASH} witness.example.org " + base64.b64encode(b"w" * 68).decode()
    text, _, ours = NOTE.partition("\n\n")
    assert read_note(f"{NOTE}{witness}\n", KEY).position == 1234
    assert read_note(f"{text}\n\n{witness}\n{ours}", KEY).position == 1234


@pytest.mark.parametrize(
    "key", [Signer(OTHER_SEED, IDENTITY), Signer(SEED, OTHER_LOG), Signer(OTHER_SEED, OTHER_LOG)]
)
def test_a_note_is_not_taken_with_the_key_of_another_installation_or_log(key: Signer) -> None:
    with pytest.raises(BadCheckpointError):
        read_note(NOTE, key.verifier_key)


def test_a_note_about_another_log_is_not_taken_even_if_the_key_is_the_same() -> None:
    """Somebody renames the log in the text and in the signature's line."""
    with pytest.raises(BadCheckpointError):
        read_note(NOTE.replace(IDENTITY.hex(), OTHER_LOG.hex()), KEY)
    with pytest.raises(BadCheckpointError):
        read_note(NOTE.replace(IDENTITY.hex(), OTHER_LOG.hex(), 1), KEY)


@given(place=st.integers(0, len(NOTE) - 1), character=st.characters(codec="utf-8"))
def test_a_changed_character_anywhere_is_found(place: int, character: str) -> None:
    changed = NOTE[:place] + character + NOTE[place + 1 :]
    if changed.rstrip("\n") == NOTE.rstrip("\n"):
        return
    try:
        found = read_note(changed, KEY)
    except BadCheckpointError:
        return
    # Only what says nothing may differ: how a line ends, or unused bits of the base64 of the signature.
    assert (found.log, found.position, found.hash) == (SIGNER.log, HEAD.position, HEAD.hash)
    assert place > NOTE.index("\n\n")


@given(text=st.text())
@settings(max_examples=200)
def test_any_other_text_is_no_checkpoint(text: str) -> None:
    with pytest.raises(BadCheckpointError):
        read_note(text, KEY)


@given(key=st.text() | st.binary().map(lambda b: f"{SIGNER.log}+00000000+{base64.b64encode(b).decode()}"))
@settings(max_examples=200)
def test_any_other_text_is_no_key(key: str) -> None:
    with pytest.raises(BadCheckpointError):
        read_note(NOTE, key)


@pytest.mark.parametrize("key", ["", "+", "++", "a+b+\u00e4", f"{SIGNER.log}+0+\u2603", "name", "n+0+AQ=="])
def test_what_is_no_key_is_said_to_be_none(key: str) -> None:
    with pytest.raises(BadCheckpointError):
        read_note(NOTE, key)


@pytest.mark.parametrize(
    "note",
    [
        f"{SIGNER.log}\n",
        f"{SIGNER.log}\n12\n",
        f"{SIGNER.log}\nmany\n{base64.b64encode(HEAD.hash).decode()}\n",
        f"{SIGNER.log}\n12\nno base64\n",
        f"{SIGNER.log}\n12\n{base64.b64encode(b'short').decode()}\n",
        f"other\n12\n{base64.b64encode(HEAD.hash).decode()}\n",
        "\n",
    ],
)
def test_a_signed_text_that_is_no_checkpoint_is_refused(note: str) -> None:
    raw_key = base64.b64decode(KEY.split("+", 2)[2])
    signature = hashlib.sha256(f"{SIGNER.log}\n".encode() + raw_key).digest()[:4] + SIGNER._key.sign(note.encode())
    signed = f"{note}\n\N{EM DASH} {SIGNER.log} {base64.b64encode(signature).decode()}\n"
    with pytest.raises(BadCheckpointError):
        read_note(signed, KEY)


# -- what it proves ---------------------------------------------------------------------------------------


@pytest.fixture
def log_file(tmp_path: Path) -> Path:
    """Return a log of ten commits with two events each."""

    async def write() -> None:
        async with open_log(tmp_path, MAPPER) as log:
            for n in range(10):
                await append(log, f"a:{n}", 0, n, n)

    trio.run(write)
    return tmp_path / "events.db"


@pytest.fixture
def reader(log_file: Path) -> Iterator[Reader]:
    """Return a reader of it."""
    reader = Reader(log_file, MAPPER)
    yield reader
    reader.close()


def _rechain(path: Path) -> None:
    """Make the chain fit whatever is in the table, as someone who knows the program would."""
    with closing(sqlite3.connect(path)) as c, c:
        columns = "position, originator_id, originator_version, topic, state, at, actor, correlation, causation"
        rows = c.execute(f"SELECT {columns}, digest, owner FROM stored_events ORDER BY position").fetchall()
        records = {r[0]: StoredRecord(*r) for r in rows}
        for position, record in records.items():
            if record.state:
                digest = hashlib.sha256(record.state).digest()
                records[position] = record._replace(digest=digest)
                c.execute("UPDATE stored_events SET digest=? WHERE position=?", (digest, position))
        previous = chain.GENESIS
        for last, first in c.execute(
            "SELECT last_position, first_position FROM commits ORDER BY last_position"
        ).fetchall():
            previous = chain.link(previous, [records[p] for p in range(first, last + 1)])
            c.execute("UPDATE commits SET hash=? WHERE last_position=?", (previous, last))


def test_a_checkpoint_fits_its_own_log_however_long_it_has_become(tmp_path: Path, reader: Reader) -> None:
    head = reader.head()
    reader.check_commit(head.position, head.hash)
    reader.check_commit(0, chain.GENESIS)

    async def go_on() -> None:
        async with open_log(tmp_path, MAPPER) as log:
            await append(log, "b", 0, 1)

    trio.run(go_on)
    assert reader.head().hash != head.hash
    reader.check_commit(head.position, head.hash)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE stored_events SET actor='user:other' WHERE position=3",
        """UPDATE stored_events SET state=CAST('{"n":9,"text":""}' AS BLOB) WHERE position=3""",
        "UPDATE stored_events SET at=at-1 WHERE position=1; UPDATE commits SET at=at-1 WHERE first_position=1",
        "UPDATE stored_events SET owner='other' WHERE position=20",
    ],
)
def test_a_log_that_was_changed_and_chained_anew_verifies_but_fits_no_earlier_checkpoint(
    log_file: Path, reader: Reader, change: str
) -> None:
    head = reader.head()
    with closing(sqlite3.connect(log_file)) as connection:
        connection.executescript(change)
    _rechain(log_file)
    assert reader.verify() == 20
    with pytest.raises(BrokenChainError, match="since the checkpoint") as found:
        reader.check_commit(head.position, head.hash)
    assert found.value.position == head.position


def test_what_was_appended_after_the_checkpoint_may_be_anything_that_verifies(
    log_file: Path, reader: Reader
) -> None:
    with reader._connection() as c:
        (middle,) = c.execute("SELECT hash FROM commits WHERE last_position=10").fetchone()
    with closing(sqlite3.connect(log_file)) as connection, connection:
        connection.execute("UPDATE stored_events SET actor='user:other' WHERE position=11")
    _rechain(log_file)
    reader.check_commit(10, middle)
    assert reader.verify() == 20


@pytest.mark.parametrize("last", [18, 0])
def test_a_log_that_was_cut_off_in_every_respect_fits_no_later_checkpoint(
    log_file: Path, reader: Reader, last: int
) -> None:
    head = reader.head()
    with closing(sqlite3.connect(log_file)) as connection, connection:
        connection.execute("DELETE FROM stored_events WHERE position > ?", (last,))
        connection.execute("DELETE FROM commits WHERE last_position > ?", (last,))
        connection.execute("UPDATE sqlite_sequence SET seq = ?", (last,))
    assert reader.verify() == last
    with pytest.raises(BrokenChainError):
        reader.check_commit(head.position, head.hash)


def test_the_hash_of_another_position_does_not_count(reader: Reader) -> None:
    head = reader.head()
    for position in (0, 1, 19, 18, 21, 10**6):
        with pytest.raises(BrokenChainError):
            reader.check_commit(position, head.hash)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE stored_events SET state='{}' WHERE position=3",
        "UPDATE stored_events SET digest='text' WHERE position=3",
        "UPDATE stored_events SET correlation=X'00FF' WHERE position=3",
        "UPDATE stored_events SET causation='text' WHERE position=3",
        "UPDATE stored_events SET at='later' WHERE position=3",
        "UPDATE commits SET hash='text' WHERE last_position=4",
        "UPDATE commits SET first_position='text' WHERE last_position=4",
    ],
)
def test_a_value_of_another_type_is_a_change_like_any_other(log_file: Path, reader: Reader, change: str) -> None:
    """As when somebody edits the file with the sqlite3 program, where texts are easier to write than bytes."""
    with closing(sqlite3.connect(log_file)) as connection, connection:
        connection.execute(change)
    with pytest.raises(BrokenChainError):
        reader.verify()


# -- parts, and verifying while events come ---------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 7, 19, 20, 100])
def test_parts_add_up_to_the_whole(reader: Reader, size: int) -> None:
    done, steps = 0, 0
    while done < 20:
        before, done = done, reader.verify_part(done, done + size)
        assert done % 2 == 0, "a part ends with a commit"
        assert min(20, before + size) <= done <= before + size + 1
        steps += 1
    assert done == reader.verify()
    assert steps <= 20


@pytest.mark.parametrize("size", [1, 3, 20])
@pytest.mark.parametrize("position", [1, 2, 7, 10, 19, 20])
def test_parts_find_what_the_whole_finds_at_the_same_place(
    log_file: Path, reader: Reader, size: int, position: int
) -> None:
    with closing(sqlite3.connect(log_file)) as connection, connection:
        connection.execute("UPDATE stored_events SET state=X'7B7D' WHERE position=?", (position,))
    with pytest.raises(BrokenChainError) as whole:
        reader.verify()

    def in_parts() -> None:
        done = 0
        while done < 20:
            done = reader.verify_part(done, done + size)

    with pytest.raises(BrokenChainError) as part:
        in_parts()
    assert part.value.position == whole.value.position == position


@pytest.mark.parametrize("size", [1, 7, 20])
def test_the_last_part_finds_that_the_newest_events_are_gone(log_file: Path, reader: Reader, size: int) -> None:
    with closing(sqlite3.connect(log_file)) as connection, connection:
        connection.execute("DELETE FROM stored_events WHERE position > 18")
        connection.execute("DELETE FROM commits WHERE last_position > 18")
    done = 0
    while done + size + 1 < 18:
        done = reader.verify_part(done, done + size)
    with pytest.raises(BrokenChainError):
        reader.verify_part(done, 18)


def test_progress_is_told_and_goes_up(log_file: Path, reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eventlog.reader.BATCH", 4)
    told: list[int] = []
    assert reader.verify(on_progress=told.append) == 20
    assert told == sorted(told)
    assert len(told) == 5
    assert told[-1] == 20


async def test_verifying_while_events_come_is_never_a_false_alarm(tmp_path: Path) -> None:
    """One task appends without a pause; another verifies, whole and in parts, until it has seen the log grow."""
    rounds = 30

    async def write(log: EventLog, enough: trio.Event) -> None:
        n = 0
        while not enough.is_set():
            n += 1
            await append(log, f"w:{os.urandom(4).hex()}", 0, *range(n % 7 + 1))

    async def verify(log: EventLog, enough: trio.Event) -> None:
        seen: set[int] = set()
        done = 0
        while len(seen) < rounds:
            seen.add(await trio.to_thread.run_sync(log.reader.verify))
            seen.add(await trio.to_thread.run_sync(partial(log.reader.verify, after=max(0, log.position - 5))))
            done = await trio.to_thread.run_sync(log.reader.verify_part, done, log.position)
            assert done >= max(seen - {max(seen)}, default=0) or done > 0
        enough.set()

    async with open_log(tmp_path, MAPPER) as log:
        enough = trio.Event()
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(write, log, enough)
                nursery.start_soon(verify, log, enough)
        assert await trio.to_thread.run_sync(log.reader.verify) == log.position
        assert len(await log.read(Filter(), -1)) == log.position
