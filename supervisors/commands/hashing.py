"""Hashing passwords, with argon2id. Hashes of the earlier agent-stack, by bcrypt, are understood."""

import bcrypt
import trio
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError

_BCRYPT = ("$2a$", "$2b$", "$2y$")
_BCRYPT_BYTES = 72


class Hashing:
    """Each hash takes 64 MiB and a core: more than two at once would starve everything else."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher()
        self._nobody = self._hasher.hash("nobody's password")
        self._limiter = trio.CapacityLimiter(2)

    async def hash(self, password: str) -> str:
        """Return the hash of a password."""
        return await trio.to_thread.run_sync(self._hasher.hash, password, limiter=self._limiter)

    async def fits(self, password: str, expected: str | None) -> bool:
        """Tell whether a password is the one that was hashed. Without a hash, which takes as long, it is not."""
        fits = await trio.to_thread.run_sync(
            self._verified, expected or self._nobody, password, limiter=self._limiter
        )
        return fits and bool(expected)

    def is_outdated(self, hashed: str) -> bool:
        """Tell whether a hash was made with weaker settings than today's."""
        return hashed.startswith(_BCRYPT) or self._hasher.check_needs_rehash(hashed)

    def _verified(self, expected: str, password: str) -> bool:
        if expected.startswith(_BCRYPT):
            try:
                # Of longer ones bcrypt knew only the beginning.
                return bcrypt.checkpw(password.encode()[:_BCRYPT_BYTES], expected.encode())
            except ValueError:
                return False
        try:
            return self._hasher.verify(expected, password)
        except (VerifyMismatchError, InvalidHashError):
            return False
