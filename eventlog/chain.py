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
    return _hash(previous, [_covered(r) for r in records])


def check(previous: bytes, records: Iterable[StoredRecord], expected: bytes, first: int, last: int) -> object:
    """Raise BrokenChainError unless `records` are the events `first..last` of a commit with hash `expected`.

    Return the time that its first event has. An empty payload counts as erased: its digest alone is checked. No
    payload is kept: a commit may be large.
    """
    rows = []
    changed = 0
    for record in records:
        state, digest = record.state, record.digest
        if not isinstance(state, bytes) or not isinstance(digest, bytes):  # By hand: SQLite takes any type.
            raise BrokenChainError(record.position, "the payload was changed")
        if state and not changed and sha256(state).digest() != digest:
            changed = record.position
        rows.append(_covered(record))
    positions = [row[0] for row in rows]
    if positions != list(range(first, last + 1)):
        missing = sorted(set(range(first, last + 1)) - set(positions))
        raise BrokenChainError(missing[0] if missing else first, "an event is missing or was added")
    if changed:
        raise BrokenChainError(changed, "the payload was changed")
    try:
        fits = _hash(previous, rows) == expected
    except TypeError:  # A column of a type that the program never writes.
        fits = False
    if not fits:
        raise BrokenChainError(first, "the commit's hash does not match its events")
    return rows[0][4]


def _covered(record: StoredRecord) -> tuple[object, ...]:
    """Return what a link covers of an event."""
    return (*record[:4], *record[5:9], record.digest.hex(), *((record.owner,) if record.owner else ()))


def _hash(previous: bytes, rows: list[tuple[object, ...]]) -> bytes:
    return sha256(previous + orjson.dumps(rows)).digest()
