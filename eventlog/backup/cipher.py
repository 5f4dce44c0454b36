"""Encrypting a stream with a passphrase: chunks of AES-256-GCM, so that neither order nor end can be changed.

The key is derived with scrypt. Each chunk's nonce is its number and whether it is the last one.
"""

import os
from types import TracebackType
from typing import BinaryIO, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from eventlog.errors import EventLogError

MAGIC = b"agent-stack encrypted 1\n"
_SALT_BYTES, _TAG_BYTES = 16, 16
_CHUNK = 1 << 20
_COST = 2**15
"""Memory: 32 MiB for each guess."""


class PassphraseError(EventLogError):
    """The passphrase is wrong or missing, or the file was changed or cut short."""


class EncryptingFile:
    """A file to write to; what it holds is encrypted. The last chunk is written when it is closed."""

    def __init__(self, file: BinaryIO, passphrase: str) -> None:
        salt = os.urandom(_SALT_BYTES)
        self._file = file
        self._key = _derived(passphrase, salt)
        self._rest = bytearray()
        self._number = 0
        file.write(MAGIC + salt)

    def write(self, data: bytes) -> int:
        """Take some bytes."""
        self._rest += data
        while len(self._rest) > _CHUNK:  # Not at the end: the last chunk is known only by what comes after it.
            self._put(bytes(self._rest[:_CHUNK]), last=False)
            del self._rest[:_CHUNK]
        return len(data)

    def close(self) -> None:
        """Write what is left. The file below stays open."""
        self._put(bytes(self._rest), last=True)
        self._rest.clear()

    def _put(self, chunk: bytes, *, last: bool) -> None:
        self._file.write(self._key.encrypt(_nonce(self._number, last), chunk, None))
        self._number += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()


class DecryptingFile:
    """A file to read from. Raises PassphraseError for a wrong passphrase, and where the file was changed."""

    def __init__(self, file: BinaryIO, passphrase: str) -> None:
        if file.read(len(MAGIC)) != MAGIC:
            raise PassphraseError("the file is not an encrypted backup")
        self._file = file
        self._key = _derived(passphrase, file.read(_SALT_BYTES))
        self._ahead = file.read(_CHUNK + _TAG_BYTES)
        if not self._ahead:  # Even nothing is one chunk.
            raise PassphraseError("the backup was cut short after it was made")
        self._rest = b""
        self._number = 0

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes, all that are left unless it is given."""
        parts, wanted = [], size if size >= 0 else 1 << 62
        while wanted and (self._rest or self._next()):
            parts.append(self._rest[:wanted])
            self._rest = self._rest[wanted:]
            wanted -= len(parts[-1])
        return b"".join(parts)

    def _next(self) -> bool:
        chunk = self._ahead
        if not chunk:
            return False
        self._ahead = self._file.read(_CHUNK + _TAG_BYTES)
        try:
            self._rest = self._key.decrypt(_nonce(self._number, not self._ahead), chunk, None)
        except InvalidTag:
            raise PassphraseError(
                "the passphrase is wrong"
                if not self._number
                else "the backup was changed or cut short after it was made"
            ) from None
        self._number += 1
        return bool(self._rest)


def _nonce(number: int, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])


def _derived(passphrase: str, salt: bytes) -> AESGCM:
    return AESGCM(Scrypt(salt, 32, _COST, 8, 1).derive(passphrase.encode()))
