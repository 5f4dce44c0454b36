"""The key with which an installation signs checkpoints of its log."""

import hashlib
from pathlib import Path

from agentstack.settings import kept_secret
from eventlog.checkpoint import Signer
from eventlog.reader import Reader


def signer(folder: Path, reader: Reader) -> Signer:
    """Return the signer of a data folder's log; its key is made at first use and kept in `secrets/audit`."""
    seed = hashlib.sha256(kept_secret(folder, "audit").encode()).digest()
    return Signer(seed, reader.identity())
