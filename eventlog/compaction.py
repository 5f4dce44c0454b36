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


@dataclass(frozen=True, slots=True)
class Compacted:
    """How many payloads were (or would be) blanked, their bytes, and the bytes of the file before and after."""

    events: int
    payload_bytes: int
    before: int
    after: int


def compact(
    log: Path, owners: Iterable[str], old: Mapping[str, int], *, needed: Iterable[str] = (), dry_run: bool = False
) -> Compacted:
    """Blank what is encrypted in events about `owners`, and what is `old`er than a time in microseconds, by type.

    Of the first, types that are `needed` stay: read models need what is not encrypted in them. Blocking.
    """
    before = _size(log)
    conditions, values = ["owner IN gone AND instr(state, x'00') > 0 AND topic NOT IN needed"], []
    for topic, before_us in old.items():
        conditions.append("topic = ? AND at < ?")
        values += [topic, before_us]
    where = f"LENGTH(state) > 0 AND ({' OR '.join(f'({c})' for c in conditions)})"
    with closing(sqlite3.connect(log, isolation_level=None)) as connection:
        connection.execute("PRAGMA secure_delete=ON")
        connection.execute("PRAGMA synchronous=FULL")
        for name, listed in (("gone", owners), ("needed", needed)):
            connection.execute(f"CREATE TEMP TABLE {name} (name TEXT PRIMARY KEY)")
            connection.executemany(f"INSERT OR IGNORE INTO {name} VALUES (?)", ((one,) for one in listed))  # noqa: S608
        with transaction(connection):
            events, size = connection.execute(
                f"SELECT COUNT(*), COALESCE(SUM(LENGTH(state)), 0) FROM stored_events WHERE {where}",  # noqa: S608
                values,
            ).fetchone()
            if not dry_run:
                connection.execute(f"UPDATE stored_events SET state = x'' WHERE {where}", values)  # noqa: S608
        if not dry_run:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return Compacted(events, size, before, _size(log))


def _size(log: Path) -> int:
    return sum(p.stat().st_size for p in (log, log.with_name(f"{log.name}-wal")) if p.exists())
