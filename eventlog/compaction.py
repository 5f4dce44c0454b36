"""Forgetting what may be forgotten: payloads are blanked, envelopes and hash chain stay, and the file gets smaller.

The log must not be open for appending. What reads it afterwards finds ERASED in the place of such events, so read
models that were made from them have to keep what they know, or be made anew without.
"""

import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from eventlog.transaction import transaction

_OWNERS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Compacted:
    """How many payloads were (or would be) blanked, their bytes, and the bytes of the file before and after."""

    events: int
    payload_bytes: int
    before: int
    after: int


def compact(log: Path, owners: Iterable[str], old: Mapping[str, int], *, dry_run: bool = False) -> Compacted:
    """Blank what is encrypted in events about `owners`, and what is `old`er than a time in microseconds, by type.

    Blocking.
    """
    before = _size(log)
    conditions: list[tuple[str, list[object]]] = [
        ("topic = ? AND at < ?", [topic, before_us]) for topic, before_us in old.items()
    ]
    listed = list(owners)
    for start in range(0, len(listed), _OWNERS_AT_ONCE):
        some = listed[start : start + _OWNERS_AT_ONCE]
        marks = ",".join("?" * len(some))
        conditions.append((f"owner IN ({marks}) AND instr(state, x'00') > 0", list(some)))
    events = size = 0
    with closing(sqlite3.connect(log, isolation_level=None)) as connection:
        connection.execute("PRAGMA secure_delete=ON")
        connection.execute("PRAGMA synchronous=FULL")
        with transaction(connection):
            for condition, values in conditions:
                where = f"{condition} AND LENGTH(state) > 0"
                count, total = connection.execute(
                    f"SELECT COUNT(*), COALESCE(SUM(LENGTH(state)), 0) FROM stored_events WHERE {where}",  # noqa: S608
                    values,
                ).fetchone()
                events, size = events + count, size + total
                if not dry_run:
                    connection.execute(f"UPDATE stored_events SET state = x'' WHERE {where}", values)  # noqa: S608
        if not dry_run:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return Compacted(events, size, before, _size(log))


def _size(log: Path) -> int:
    return sum(p.stat().st_size for p in (log, log.with_name(f"{log.name}-wal")) if p.exists())
