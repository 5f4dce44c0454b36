"""eventlog.vault."""

import sqlite3
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from eventlog.errors import BrokenSealError, KeyDestroyedError, VaultMissingError, WrongMasterKeyError
from eventlog.log import open_log
from eventlog.vault import FILE_NAME, Vault, open_vault
from tests.eventlog.things import MAPPER, ORIGIN, append
from tests.eventlog.things_sealed import MASTER, sealed_mapper, tell

OTHER = "another master key with quite some randomness"
PLACE = b"here"


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Vault]:
    """Return a vault in which ada and bob have keys."""
    opened = Vault(tmp_path, MASTER)
    opened.create("ada")
    opened.create("bob")
    yield opened
    opened.close()


def _wrapped(folder: Path) -> dict[str, bytes]:
    with closing(sqlite3.connect(folder / FILE_NAME)) as connection:
        return dict(connection.execute("SELECT owner, wrapped FROM keys"))


def _edit(folder: Path, statement: str, *parameters: object) -> None:
    with closing(sqlite3.connect(folder / FILE_NAME)) as connection, connection:
        assert connection.execute(statement, parameters).rowcount > 0


def _files(folder: Path) -> bytes:
    return b"".join(p.read_bytes() for p in folder.iterdir())


def test_what_was_sealed_is_read_at_its_place(vault: Vault) -> None:
    sealed = vault.seal("ada", b"a secret", PLACE)
    assert b"a secret" not in sealed
    assert vault.unseal("ada", sealed, PLACE) == b"a secret"


def test_the_same_text_is_never_sealed_to_the_same_bytes(vault: Vault) -> None:
    assert len({vault.seal("ada", b"a secret", PLACE) for _ in range(100)}) == 100


def test_whoever_was_given_a_key_has_it_until_it_is_destroyed(vault: Vault) -> None:
    assert vault.owners == {"ada", "bob"}
    vault.destroy("ada")
    assert vault.owners == {"bob"}
    assert "ada" not in vault
    assert "bob" in vault


def test_keys_survive_closing(vault: Vault, tmp_path: Path) -> None:
    sealed = vault.seal("ada", b"a secret", PLACE)
    vault.close()
    with closing(Vault(tmp_path, MASTER)) as again:
        assert again.owners == {"ada", "bob"}
        assert again.unseal("ada", sealed, PLACE) == b"a secret"


def test_creating_a_key_that_is_there_keeps_it(vault: Vault) -> None:
    sealed = vault.seal("ada", b"a secret", PLACE)
    vault.create("ada")
    assert vault.unseal("ada", sealed, PLACE) == b"a secret"


def test_with_a_destroyed_key_nothing_is_read_nor_sealed_also_after_closing(vault: Vault, tmp_path: Path) -> None:
    sealed, of_bob = vault.seal("ada", b"a secret", PLACE), vault.seal("bob", b"another", PLACE)
    vault.destroy("ada")
    for _ in range(2):
        assert vault.unseal("ada", sealed, PLACE) is None
        assert vault.unseal("bob", of_bob, PLACE) == b"another"
        with pytest.raises(KeyDestroyedError, match="ada") as refused:
            vault.seal("ada", b"more", PLACE)
        assert refused.value.owner == "ada"
        vault.close()
        vault = Vault(tmp_path, MASTER)
    vault.close()


def test_destroying_twice_or_what_never_was_does_nothing(vault: Vault) -> None:
    for owner in ("ada", "ada", "nobody"):
        vault.destroy(owner)
    assert vault.owners == {"bob"}


def test_a_key_that_is_made_anew_does_not_read_what_was_sealed_with_the_old_one(vault: Vault) -> None:
    sealed = vault.seal("ada", b"a secret", PLACE)
    vault.destroy("ada")
    vault.create("ada")
    with pytest.raises(BrokenSealError):
        vault.unseal("ada", sealed, PLACE)


def test_many_threads_make_and_destroy_keys_at_once(vault: Vault, tmp_path: Path) -> None:
    def make_and_destroy(number: int) -> None:
        vault.create(f"kept {number}")
        vault.create(f"gone {number}")
        vault.destroy(f"gone {number}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(make_and_destroy, range(40)))
    kept = {"ada", "bob", *(f"kept {number}" for number in range(40))}
    assert vault.owners == kept == _wrapped(tmp_path).keys()


@pytest.mark.parametrize("closed_first", [False, True])
def test_of_a_destroyed_key_no_byte_is_left_in_any_file(
    vault: Vault, tmp_path: Path, *, closed_first: bool
) -> None:
    for n in range(200):
        vault.create(f"user {n}")
    before = _wrapped(tmp_path)
    gone = ["ada", *(f"user {n}" for n in range(0, 200, 2))]
    for owner in gone:
        assert before[owner] in _files(tmp_path)
        vault.destroy(owner)
    if closed_first:
        vault.close()
    left = _files(tmp_path)
    for owner in gone:
        wrapped = before[owner]
        # Nor a piece of it: what is overwritten is overwritten whole.
        assert not [i for i in range(0, len(wrapped) - 8, 4) if wrapped[i : i + 8] in left]
    assert before["bob"] in left


def test_after_a_rotation_what_was_wrapped_with_the_old_master_key_is_gone(vault: Vault, tmp_path: Path) -> None:
    before = _wrapped(tmp_path)
    vault.rotate(OTHER)
    assert not [owner for owner, wrapped in before.items() if wrapped in _files(tmp_path)]


def test_no_key_is_in_the_file_in_the_clear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[bytes] = []
    original = AESGCM.generate_key

    def generate_key(bit_length: int) -> bytes:
        made.append(original(bit_length))
        return made[-1]

    monkeypatch.setattr("eventlog.vault.AESGCM.generate_key", generate_key)
    with closing(Vault(tmp_path, MASTER)) as vault:
        vault.create("ada")
        vault.rotate(OTHER)
    assert [len(key) for key in made] == [32]
    assert made[0] not in _files(tmp_path)
    assert MASTER.encode() not in _files(tmp_path)


def test_the_vault_is_its_owners_alone_and_shows_no_key(vault: Vault) -> None:
    vault.create("eve")
    for path in vault.path.parent.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert repr(vault) == f"<Vault {vault.path}: 3 keys>"


# -- the master key ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("owners", [(), ("ada",)])
def test_another_master_key_is_refused_with_what_to_do(tmp_path: Path, owners: tuple[str, ...]) -> None:
    with closing(Vault(tmp_path, MASTER)) as vault:
        for owner in owners:
            vault.create(owner)
    before = (tmp_path / FILE_NAME).read_bytes()
    with pytest.raises(WrongMasterKeyError) as refused:
        Vault(tmp_path, OTHER)
    for words in ("AGENT_STACK_MASTER_KEY", "AGENT_STACK_MASTER_KEY_FILE", "secrets/master", str(tmp_path)):
        assert words in str(refused.value)
    assert (tmp_path / FILE_NAME).read_bytes() == before, "a refusal changes nothing"
    Vault(tmp_path, MASTER).close()


def test_a_rotated_vault_opens_with_the_new_master_key_alone(vault: Vault, tmp_path: Path) -> None:
    sealed = vault.seal("ada", b"a secret", PLACE)
    assert vault.rotate(OTHER) == 2
    # It goes on while it is open, too.
    assert vault.unseal("ada", sealed, PLACE) == b"a secret"
    vault.create("eve")
    of_eve = vault.seal("eve", b"of eve", PLACE)
    vault.close()
    with pytest.raises(WrongMasterKeyError):
        Vault(tmp_path, MASTER)
    with closing(Vault(tmp_path, OTHER)) as again:
        assert again.unseal("ada", sealed, PLACE) == b"a secret"
        assert again.unseal("eve", of_eve, PLACE) == b"of eve"


def test_a_rotation_that_meets_a_damaged_key_changes_nothing(vault: Vault, tmp_path: Path) -> None:
    sealed = vault.seal("ada", b"a secret", PLACE)
    whole = _wrapped(tmp_path)["bob"]
    _edit(tmp_path, "UPDATE keys SET wrapped=? WHERE owner='bob'", whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(BrokenSealError, match="bob"):
        vault.rotate(OTHER)
    vault.close()
    _edit(tmp_path, "UPDATE keys SET wrapped=? WHERE owner='bob'", whole)
    with closing(Vault(tmp_path, MASTER)) as again:
        assert again.unseal("ada", sealed, PLACE) == b"a secret"


# -- changed, moved, lost ---------------------------------------------------------------------------------


def test_any_changed_byte_is_found(vault: Vault) -> None:
    sealed = vault.seal("ada", b"a secret", PLACE)
    for at in range(len(sealed)):
        with pytest.raises(BrokenSealError):
            vault.unseal("ada", sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :], PLACE)


@pytest.mark.parametrize("length", [0, 5, 12, 27])
def test_what_is_too_short_is_broken(vault: Vault, length: int) -> None:
    with pytest.raises(BrokenSealError):
        vault.unseal("ada", vault.seal("ada", b"a secret", PLACE)[:length], PLACE)


def test_what_was_sealed_cannot_be_read_at_another_place_or_as_somebody_elses(vault: Vault) -> None:
    sealed = vault.seal("ada", b"a secret", PLACE)
    for owner, place in (("ada", b"there"), ("bob", PLACE)):
        with pytest.raises(BrokenSealError):
            vault.unseal(owner, sealed, place)


def test_a_key_that_was_changed_or_given_to_another_owner_is_found(vault: Vault, tmp_path: Path) -> None:
    vault.close()
    wrapped = _wrapped(tmp_path)
    _edit(tmp_path, "UPDATE keys SET wrapped=? WHERE owner='bob'", wrapped["ada"])
    with pytest.raises(BrokenSealError, match=r"bob.*backup"):
        Vault(tmp_path, MASTER)


def test_the_vault_of_another_installation_reads_nothing_also_with_the_same_master_key(
    vault: Vault, tmp_path: Path
) -> None:
    sealed = vault.seal("ada", b"a secret", PLACE)
    (tmp_path / "other").mkdir()
    with closing(Vault(tmp_path / "other", MASTER)) as other:
        assert other.unseal("ada", sealed, PLACE) is None
        other.create("ada")
        with pytest.raises(BrokenSealError, match="belongs to another log"):
            other.unseal("ada", sealed, PLACE)


async def test_a_missing_vault_is_refused_when_the_log_holds_encrypted_events(tmp_path: Path) -> None:
    with closing(Vault(tmp_path, MASTER)) as vault:
        vault.create("ada")
        async with open_log(tmp_path, sealed_mapper(vault)) as log:
            await log.append(tell("one:1", 0, "a secret", owner="ada"), origin=ORIGIN)
    (tmp_path / FILE_NAME).unlink()
    with pytest.raises(VaultMissingError) as refused:
        open_vault(tmp_path, tmp_path / "events.db", MASTER)
    assert str(tmp_path / FILE_NAME) in str(refused.value)
    assert "backup" in str(refused.value)
    assert not (tmp_path / FILE_NAME).exists(), "a refusal makes no new one"


async def test_an_empty_file_in_its_place_has_all_encrypted_text_count_as_erased(tmp_path: Path) -> None:
    with closing(Vault(tmp_path, MASTER)) as vault:
        vault.create("ada")
        async with open_log(tmp_path, sealed_mapper(vault)) as log:
            await log.append(tell("one:1", 0, "a secret", owner="ada"), origin=ORIGIN)
    (tmp_path / FILE_NAME).write_bytes(b"")
    with closing(open_vault(tmp_path, tmp_path / "events.db", OTHER)) as vault:
        async with open_log(tmp_path, sealed_mapper(vault)) as log:
            (found,) = await log.read_stream("one:1")
    assert found.erased
    assert found.event.text == ""


async def test_a_log_without_encrypted_events_gets_a_vault_of_its_own(tmp_path: Path) -> None:
    open_vault(tmp_path, tmp_path / "events.db", MASTER).close()
    (tmp_path / FILE_NAME).unlink()
    async with open_log(tmp_path, MAPPER) as log:
        await append(log, "one:1", 0, 1, 2)
    open_vault(tmp_path, tmp_path / "events.db", MASTER).close()
    assert (tmp_path / FILE_NAME).exists()


def test_a_log_that_was_cut_off_before_it_had_tables_holds_nothing_encrypted(tmp_path: Path) -> None:
    (tmp_path / "events.db").touch()
    open_vault(tmp_path, tmp_path / "events.db", MASTER).close()
