"""An event as tools show it: as plain values with its envelope, secrets masked.

Of an event that cannot be read, all of it or in part, `problem` says why.
"""

from typing import Any

import orjson

from eventlog.codec import EventMapper
from eventlog.envelope import Recorded, StoredRecord
from eventlog.errors import UnknownEventError

MASK = "••••••••"


def described(record: Recorded[Any]) -> dict[str, Any]:
    """Return an event that was read. Times in unix seconds, and exactly in microseconds."""
    return {
        "position": record.position,
        "stream": record.stream,
        "version": record.version,
        "type": record.type,
        "time": int(record.time),
        "time_us": round(record.time * 1e6),
        "actor": record.origin.actor,
        "correlation": record.origin.correlation,
        "causation": record.origin.causation,
        "owner": record.owner,
        "payload": _masked(record.event.model_dump(mode="json"), record.event.SECRET),
        "erased": record.erased,
        "problem": record.problem,
    }


def exported(stored: StoredRecord, mapper: EventMapper, *, marked: bool) -> dict[str, Any]:
    """Return the same for orjson, for many of them, without making events of them but for those that are `marked`.

    The payload goes out as it came in where nothing is masked.
    """
    if marked:
        return described(mapper.record(stored))
    try:
        raw = mapper.raw(stored)
        if raw is not None:
            return _stored(stored, orjson.Fragment(raw[0]), erased=raw[1])
        payload, secret, erased = mapper.plain(stored)
    except UnknownEventError:
        return described(mapper.record(stored))
    return _stored(stored, _masked(payload, secret), erased=erased)


def _stored(stored: StoredRecord, payload: object, *, erased: bool) -> dict[str, Any]:
    return {
        "position": stored.position,
        "stream": stored.originator_id,
        "version": stored.originator_version,
        "type": stored.topic,
        "time": stored.at // 1_000_000,
        "time_us": stored.at,
        "actor": stored.actor,
        "correlation": stored.correlation,
        "causation": stored.causation,
        "owner": stored.owner,
        "payload": payload,
        "erased": erased,
        "problem": "",
    }


def _masked(payload: dict[str, Any], secret: frozenset[str]) -> dict[str, Any]:
    if secret:
        return {name: MASK if name in secret and value else value for name, value in payload.items()}
    return payload
