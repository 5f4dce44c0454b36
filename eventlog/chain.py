"""The hash chain over commits: whoever changes, drops, inserts or reorders an event breaks every later link.

A link covers the whole envelope of each event and the digest of its payload, not the payload itself, so that
an erased payload can be blanked and the chain still verifies.
"""

from collections.abc import Iterable
from hashlib import sha256

import orjson

from eventlog.envelope import StoredRecord
from eventlog.errors import BrokenChainError

GENESIS = bytes(32)


def link(previous: bytes, records: Iterable[StoredRecord]) -> bytes:
    """Return the hash of a commit that follows the one with hash `previous`.

    A record counts with all its columns but the payload; the owner only where there is one, since logs of before
    had no such column.
    """
    rows = [(*r[:4], *r[5:9], r.digest.hex(), *((r.owner,) if r.owner else ())) for r in records]
    return sha256(previous + orjson.dumps(rows)).digest()


def check(previous: bytes, records: list[StoredRecord], expected: bytes, first: int, last: int) -> None:
    """Raise BrokenChainError unless `records` are the events `first..last` of a commit with hash `expected`.

    An empty payload counts as erased: its digest alone is checked.
    """
    positions = [r.position for r in records]
    if positions != list(range(first, last + 1)):
        missing = sorted(set(range(first, last + 1)) - set(positions))
        raise BrokenChainError(missing[0] if missing else first, "an event is missing or was added")
    for record in records:
        if not isinstance(record.state, bytes) or not isinstance(record.digest, bytes):
            raise BrokenChainError(record.position, "the payload was changed")  # By hand: SQLite takes any type.
        if record.state and sha256(record.state).digest() != record.digest:
            raise BrokenChainError(record.position, "the payload was changed")
    try:
        fits = link(previous, records) == expected
    except TypeError:  # A column of a type that the program never writes.
        fits = False
    if not fits:
        raise BrokenChainError(first, "the commit's hash does not match its events")
