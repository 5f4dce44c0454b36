"""What a JSON value from outside may be, so that the log can keep it and every reader can read it back.

These are the only bounds of their kind. Bodies are checked with `read` where they come in; what is appended is
decoded once more besides (`EventMapper.encode`), so an event that cannot be read is never written.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import Any, NoReturn

from eventlog.errors import UnkeepableError

MAX_DEPTH = 64
"""Levels of objects and lists within each other. Readers of JSON give up somewhere beyond 200."""
MAX_VALUES = 10_000
"""Values in one document: members of objects, items of lists, and these themselves."""
MAX_EVENT_BYTES = 32 << 20
"""Bytes of one event. The longest answer that a turn keeps takes fewer, however it is written."""
MAX_INTEGER = 2**63 - 1
"""The largest that SQLite holds. JSON itself knows no limit."""
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:(")|(?=\\?\Z))|[\[{,]', re.DOTALL)
"""A string, or what begins a further value. A string without an end goes on to the end: no byte is read twice."""
_REST = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+(?:(")|(?=\\?\Z))', re.DOTALL)
"""What is left of a string."""
_QUOTE = ord('"')
_WINDOW = 32 * 1024
"""Bytes that are looked at in one go."""
_MAX_TOKENS = 3 * MAX_VALUES


def read(data: bytes, *, is_counted: bool = False) -> Any:
    """Return the value of a JSON document in UTF-8, with or without a byte order mark.

    Raises ValueError when it is no JSON, and UnkeepableError when it is beyond the bounds. A document with too many
    values costs no more than one that has as many as it may. What `is_counted` is not counted again.
    """
    if not is_counted:
        for _ in counted(data):
            pass
    try:
        value = json.loads(data.decode("utf-8-sig"), parse_constant=_no_number)
    except RecursionError:
        _too_deep()
    check(value)
    return value


def counted(data: bytes) -> Iterator[None]:
    """Raise UnkeepableError when there is far too much in a JSON document; yield from time to time till then."""
    for found in count(data, _MAX_TOKENS):
        if found > _MAX_TOKENS:
            _too_many()
        yield


def count(data: bytes, enough: int) -> Iterator[int]:
    """Yield how much there is in a JSON document so far, counted generously: one to three a value.

    It yields after each piece of the document, so that a caller may let others go on, and stops when there is more
    than `enough`. Whether it is JSON at all is not looked at.
    """
    found = 0
    for place in range(0, len(data), _WINDOW):  # Most are done with this: what is in texts is counted along.
        found += sum(data.count(mark, place, place + _WINDOW) for mark in (b",", b"[", b"{"))
        if found > enough:
            break
        yield found
    else:
        return
    found, place, in_text = 0, 0, False
    while place < len(data) and found <= enough:
        end = min(place + _WINDOW, len(data))
        # One byte more, so that an escape that the window would cut is read as a whole: each round gets on.
        if in_text and (rest := _REST.match(data, place, end + 1)):
            place, in_text = rest.end(), rest.group(1) is None
        tokens = iter(()) if in_text else _TOKEN.finditer(data, place, end)
        for token in tokens:
            found, place = found + 1, token.end()
            in_text = token.group(1) is None and data[token.start()] == _QUOTE
            if found > enough:
                break
        if not in_text or end == len(data):
            place = max(place, end)
        yield found


def check(value: object) -> None:
    """Raise UnkeepableError, in words for whoever sent it, unless a value is within the bounds."""
    left = MAX_VALUES
    for found, depth in _walk(value):
        if isinstance(found, dict | list):
            left -= len(found)
            if left < 0:
                _too_many()
            if depth > MAX_DEPTH:
                _too_deep()
            for key in found if isinstance(found, dict) else ():
                _check_text(key)
        elif isinstance(found, str):
            _check_text(found)
        else:
            _check_number(found)


def check_numbers(value: object) -> None:
    """Raise UnkeepableError when a number in a value is beyond the bounds, however deep and full the value is."""
    for found, _ in _walk(value):
        _check_number(found)


def _walk(value: object) -> Iterator[tuple[object, int]]:
    """Yield a value and all that is in it, each with its level, an object or a list before what it holds."""
    todo: list[tuple[object, int]] = [(value, 1)]
    while todo:
        found, depth = todo.pop()
        yield found, depth
        if isinstance(found, dict):
            todo.extend((inner, depth + 1) for inner in found.values())
        elif isinstance(found, list):
            todo.extend((inner, depth + 1) for inner in found)


def trimmed(value: Any, depth: int = MAX_DEPTH) -> Any:
    """Return a value without what is nested too deeply in it: "…" stands in its place."""
    if not isinstance(value, dict | list):
        return value
    if depth == 0:
        return "…"
    if isinstance(value, list):
        return [trimmed(inner, depth - 1) for inner in value]
    return {key: trimmed(inner, depth - 1) for key, inner in value.items()}


def _check_number(found: object) -> None:
    if isinstance(found, int) and not -MAX_INTEGER - 1 <= found <= MAX_INTEGER:
        raise UnkeepableError("A number is too large: whole numbers must fit 64 bits, with their sign.")
    if isinstance(found, float) and not math.isfinite(found):
        raise UnkeepableError("A number is too large to be kept.")


def _check_text(text: str) -> None:
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UnkeepableError("A text holds half of a surrogate pair, which stands for no character.") from None


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")


def _too_many() -> NoReturn:
    raise UnkeepableError(f"The JSON holds too much: more than {MAX_VALUES} values. Send less at once.")


def _too_deep() -> NoReturn:
    raise UnkeepableError(f"The JSON is nested too deeply: at most {MAX_DEPTH} levels of objects and lists.")
