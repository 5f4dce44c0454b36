"""JSON of others that is read and passed on, and not kept."""

from typing import Any

import orjson
import trio

from eventlog import bounds

MAX_VALUES = 100_000
"""Values in one document, roughly: a few milliseconds of parsing."""
_AT_ONCE = 64 * 1024
"""Bytes that are parsed in one go with what comes before and after."""


class DocumentError(Exception):
    """It is no JSON, or holds too much. The message says which."""


async def read_document(data: bytes) -> Any:
    """Return the value of a JSON document. Raises DocumentError. Others get their turn meanwhile."""
    for found in bounds.count(data, MAX_VALUES):
        _refuse(found)
        if len(data) > _AT_ONCE:
            await trio.lowlevel.checkpoint()
    return _parsed(data)


def read_line(data: bytes) -> Any:
    """Return the value of a JSON document that is so small that nobody need wait for it. Raises DocumentError."""
    for found in bounds.count(data, MAX_VALUES):
        _refuse(found)
    return _parsed(data)


def _refuse(found: int) -> None:
    if found > MAX_VALUES:
        raise DocumentError(f"It holds more than {MAX_VALUES} values.")


def _parsed(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise DocumentError(f"It is not valid JSON: {error}.") from None
