"""Keys of owners, with which private parts of events are encrypted; without an owner's key they are gone for good.

Each owner (a user) has a random AES-256-GCM key, kept in `vault.db` wrapped by the master key. The keys are in
memory while the vault is open, so that sealing and opening touch no disk. What changes a key does, and blocks.
"""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from eventlog.errors import BrokenSealError, KeyDestroyedError, VaultMissingError, WrongMasterKeyError
from eventlog.transaction import transaction

FILE_NAME = "vault.db"
_KEY_BYTES, _NONCE_BYTES = 32, 12
_CHECK, _CHECK_TEXT = b"agent-stack vault check", b"this is the right master key"


class Vault:
    """Open with `Vault(folder, master)`. `master` is any secret text with enough randomness in it.

    Raises WrongMasterKeyError when the vault was made with another one. `shared` says that another process makes
    keys in it meanwhile: then a key that is not known is looked for in the file. All methods may be called from
    any thread.
    """

    def __init__(self, folder: Path, master: str, *, shared: bool = False) -> None:
        self.path = folder / FILE_NAME
        self._shared = shared
        self._lock = threading.Lock()  # Over the connection.
        self.path.touch(0o600)  # Before SQLite opens it: the files that it puts beside it get the same mode.
        self.path.chmod(0o600)
        self._connection = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None)
        try:
            # What is deleted is overwritten, and no journal keeps a copy of it.
            self._connection.execute("PRAGMA journal_mode=TRUNCATE")
            self._connection.execute("PRAGMA secure_delete=ON")
            self._connection.execute("PRAGMA synchronous=EXTRA")
            self._master = AESGCM(_derived(master))
            self._prepare()
            self._keys = {owner: AESGCM(self._unwrap(owner, wrapped)) for owner, wrapped in self._rows()}
        except BaseException:
            self._connection.close()
            raise

    def __repr__(self) -> str:
        return f"<Vault {self.path}: {len(self._keys)} keys>"

    def __contains__(self, owner: str) -> bool:
        return owner in self._keys

    @property
    def owners(self) -> frozenset[str]:
        """Whoever has a key."""
        return frozenset(self._keys)

    def close(self) -> None:
        """Close the file and forget the keys."""
        self._keys.clear()
        self._connection.close()

    def create(self, owner: str) -> None:
        """Give an owner a key, on disk before this returns. Does nothing when there is one."""
        with self._lock:
            if owner in self._keys:
                return
            key = AESGCM.generate_key(bit_length=_KEY_BYTES * 8)
            row = (owner, self._wrap(self._master, owner, key))
            self._connection.execute("INSERT INTO keys VALUES (?,?)", row)
            self._keys[owner] = AESGCM(key)

    def destroy(self, owner: str) -> None:
        """Destroy an owner's key. What was sealed with it can never be read again. Does nothing twice."""
        with self._lock, transaction(self._connection):
            self._keys.pop(owner, None)
            if self._connection.execute("DELETE FROM keys WHERE owner=?", (owner,)).rowcount:
                # How many were destroyed: whoever copies the vault sees by it that one was meanwhile.
                count = self._connection.execute("PRAGMA user_version").fetchone()[0]
                self._connection.execute(f"PRAGMA user_version={count + 1}")

    def rotate(self, master: str) -> int:
        """Wrap every key with another master key, all or nothing; return how many there are."""
        fresh = AESGCM(_derived(master))
        with self._lock:
            with transaction(self._connection):
                rows = list(self._rows())
                for owner, wrapped in rows:
                    key = self._unwrap(owner, wrapped)
                    again = self._wrap(fresh, owner, key)
                    self._connection.execute("UPDATE keys SET wrapped=? WHERE owner=?", (again, owner))
                self._connection.execute("UPDATE checked SET value=?", (_encrypt(fresh, _CHECK_TEXT, _CHECK),))
            self._master = fresh
        return len(rows)

    def seal(self, owner: str, text: bytes, place: bytes) -> bytes:
        """Encrypt `text`, to be read at `place` only. Raises KeyDestroyedError when the owner has no key."""
        key = self._keys.get(owner)
        if key is None:
            raise KeyDestroyedError(owner)
        return _encrypt(key, text, place)

    def unseal(self, owner: str, sealed: bytes, place: bytes) -> bytes | None:
        """Decrypt what was sealed, or return None when the owner's key is gone.

        Raises BrokenSealError when it was changed, or moved from another place.
        """
        key = self._keys.get(owner) or self._made_elsewhere(owner)
        if key is None:
            return None
        try:
            return key.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], place)
        except (InvalidTag, ValueError):
            raise BrokenSealError(
                "what was encrypted there was changed, or vault.db belongs to another log"
            ) from None

    def _made_elsewhere(self, owner: str) -> AESGCM | None:
        if not self._shared:
            return None
        with self._lock:
            row = self._connection.execute("SELECT wrapped FROM keys WHERE owner=?", (owner,)).fetchone()
            if row:
                self._keys[owner] = AESGCM(self._unwrap(owner, row[0]))
            return self._keys.get(owner)

    def _prepare(self) -> None:
        """Make the tables with the first master key, or check that this is the one they were made with."""
        with transaction(self._connection):
            self._connection.execute("CREATE TABLE IF NOT EXISTS keys (owner TEXT PRIMARY KEY, wrapped BLOB)")
            self._connection.execute("CREATE TABLE IF NOT EXISTS checked (value BLOB)")
            known = self._connection.execute("SELECT value FROM checked").fetchone()
            if known is None:
                sealed = _encrypt(self._master, _CHECK_TEXT, _CHECK)
                self._connection.execute("INSERT INTO checked VALUES (?)", (sealed,))
                return
        try:
            _decrypt(self._master, known[0], _CHECK)
        except InvalidTag:
            raise WrongMasterKeyError(self.path) from None

    def _rows(self) -> Iterator[tuple[str, bytes]]:
        yield from self._connection.execute("SELECT owner, wrapped FROM keys").fetchall()

    @staticmethod
    def _wrap(master: AESGCM, owner: str, key: bytes) -> bytes:
        return _encrypt(master, key, owner.encode())

    def _unwrap(self, owner: str, wrapped: bytes) -> bytes:
        try:
            return _decrypt(self._master, wrapped, owner.encode())
        except InvalidTag:
            raise BrokenSealError(
                f"the key of {owner} in {self.path} was changed; restore it from a backup"
            ) from None


def _derived(master: str) -> bytes:
    return HKDF(SHA256(), _KEY_BYTES, salt=None, info=b"agent-stack vault").derive(master.encode())


def _encrypt(key: AESGCM, text: bytes, place: bytes) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + key.encrypt(nonce, text, place)


def _decrypt(key: AESGCM, sealed: bytes, place: bytes) -> bytes:
    return key.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], place)


def open_vault(folder: Path, log: Path, master: str, *, shared: bool = False) -> Vault:
    """Open the vault that belongs to a log. Blocking.

    Raises VaultMissingError when the log holds encrypted events and there is no vault: a new one could read none.
    """
    if log.exists() and not (folder / FILE_NAME).exists() and _holds_sealed_events(log):
        raise VaultMissingError(folder / FILE_NAME)
    return Vault(folder, master, shared=shared)


def _holds_sealed_events(log: Path) -> bool:
    with closing(sqlite3.connect(f"{log.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        try:
            found = connection.execute("SELECT 1 FROM stored_events WHERE instr(state, x'00') LIMIT 1").fetchone()
        except sqlite3.OperationalError:  # A file in which there are no tables yet.
            return False
    return found is not None
