"""Signed checkpoints: notes that say how the log ended at a moment, to be kept where the log's keeper cannot reach.

The form is that of a transparency log's checkpoint (C2SP tlog-checkpoint in a signed note): the name of the log,
how many events there are, the hash of the newest commit in base64, an empty line, and an Ed25519 signature.
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from eventlog.errors import EventLogError
from eventlog.reader import Head

_ALGORITHM = b"\x01"
"""Ed25519, in the signed note's numbering."""
_HASH_BYTES, _ID_BYTES = 32, 4


class BadCheckpointError(EventLogError):
    """The file is no checkpoint of this log, or was changed."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How the log ended: `position` of its newest event, `hash` of the commit that wrote it."""

    log: str
    position: int
    hash: bytes

    @property
    def text(self) -> bytes:
        """What is signed."""
        return f"{self.log}\n{self.position}\n{base64.b64encode(self.hash).decode()}\n".encode()


class Signer:
    """Signs checkpoints with an installation's key. `seed` is 32 bytes, `identity` tells the log from any other."""

    def __init__(self, seed: bytes, identity: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.log = f"agent-stack/{identity.hex()}"

    @property
    def verifier_key(self) -> str:
        """The public key, as signed notes write it: `<name>+<key id>+<key>`."""
        public = self._public()
        return f"{self.log}+{_key_id(self.log, public).hex()}+{base64.b64encode(_ALGORITHM + public).decode()}"

    def note(self, head: Head) -> str:
        """Return the signed checkpoint of a head."""
        text = Checkpoint(self.log, head.position, head.hash).text
        signature = _key_id(self.log, self._public()) + self._key.sign(text)
        return f"{text.decode()}\n\u2014 {self.log} {base64.b64encode(signature).decode()}\n"

    def _public(self) -> bytes:
        return self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def read_note(note: str, verifier_key: str) -> Checkpoint:
    """Return the checkpoint in a note. Raises BadCheckpointError unless the key signed it."""
    name, key = _parsed_key(verifier_key)
    body, _, signatures = note.partition("\n\n")
    text = f"{body}\n".encode()
    for line in signatures.splitlines():
        mark, _, rest = line.partition(" ")
        signer, _, encoded = rest.partition(" ")
        if mark == "\u2014" and signer == name and _is_signed(key, name, encoded, text):
            return _parsed(body, name)
    raise BadCheckpointError("the checkpoint was changed, or was not signed with the key of this installation")


def _is_signed(key: bytes, name: str, encoded: str, text: bytes) -> bool:
    try:
        signature = base64.b64decode(encoded, validate=True)
        if signature[:_ID_BYTES] != _key_id(name, key):
            return False
        Ed25519PublicKey.from_public_bytes(key).verify(signature[_ID_BYTES:], text)
    except (binascii.Error, InvalidSignature, ValueError):
        return False
    return True


def _parsed(body: str, name: str) -> Checkpoint:
    try:
        log, size, hash_, *_ = body.split("\n")
        found = Checkpoint(log, int(size), base64.b64decode(hash_, validate=True))
    except (ValueError, binascii.Error):
        raise BadCheckpointError("the file is not a checkpoint") from None
    if found.log != name or len(found.hash) != _HASH_BYTES:
        raise BadCheckpointError(f"the checkpoint is of another log ({found.log})")
    return found


def _parsed_key(verifier_key: str) -> tuple[str, bytes]:
    name, _, rest = verifier_key.strip().partition("+")  # Base64 has "+" too, a name has none.
    encoded = rest.partition("+")[2]
    try:
        key = base64.b64decode(encoded, validate=True)
    except ValueError:
        key = b""
    if not name or key[:1] != _ALGORITHM or len(key) != _HASH_BYTES + 1:
        raise BadCheckpointError("the key is not an Ed25519 verifier key: <name>+<key id>+<key>")
    return name, key[1:]


def _key_id(name: str, public: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + _ALGORITHM + public).digest()[:_ID_BYTES]
