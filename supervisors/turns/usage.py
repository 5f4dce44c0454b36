"""What an answer says of the tokens that it took, read as it passes, whatever its shape."""

import json
from collections import deque

from domain.conversations.events import Usage

MOST_TOKENS = 10**12
"""What is above was not counted by anybody."""
BYTES_PER_TOKEN = 4
"""About, of what people and models write."""
_KEY = b'"usage"'
_DONE = b"data: [DONE]"
_DONE_LINE = b"\n" + _DONE
_LONGEST = 16 * 1024
"""Bytes of one usage that are looked at."""
_ATTEMPTS = 8
_DECODER = json.JSONDecoder()


class UsageReader:
    """Finds what an answer tells of its usage, wherever that stands in it.

    Agents tell it once, or again and again as it grows; and they may repeat what somebody has sent them. So of all
    that is told, the most counts.
    """

    def __init__(self) -> None:
        self._seen: deque[bytearray] = deque()
        """What follows the last keys, each as long as it may be."""
        self._end = b""
        self._most: Usage | None = None
        self.size = 0
        """Bytes so far."""
        self.is_done = False
        """Whether a stream has said that it is done."""

    def add(self, data: bytes) -> None:
        """Take the next chunk. Of very many keys in one chunk, the last ones count."""
        # At the beginning of a line, where no text can stand.
        begins_line = not self.size or self._end.endswith(b"\n")
        self.is_done = self.is_done or _DONE_LINE in data or (begins_line and data.startswith(_DONE))
        self.size += len(data)
        for seen in self._seen:
            if len(seen) < _LONGEST:
                seen.extend(data[: _LONGEST - len(seen)])
        # A key that was cut in two.
        edge = self._end + data[: len(_KEY) - 1]
        at = edge.rfind(_KEY)
        if at >= 0:
            self._seen.append(bytearray(data[at + len(_KEY) - len(self._end) :][:_LONGEST]))
        found: list[int] = []
        end = len(data)
        while len(found) < _ATTEMPTS and (end := data.rfind(_KEY, 0, end)) >= 0:
            found.append(end + len(_KEY))
        for start in reversed(found):
            self._seen.append(bytearray(data[start : start + _LONGEST]))
        while len(self._seen) > _ATTEMPTS:
            self._look(self._seen.popleft())
        self._end = (self._end + data)[1 - len(_KEY) :] if len(data) < len(_KEY) else data[1 - len(_KEY) :]

    def usage(self) -> Usage | None:
        """Return what the agent told, or None. Nothing is guessed."""
        while self._seen:
            self._look(self._seen.popleft())
        return self._most

    def _look(self, seen: bytearray) -> None:
        # Within a text, the quotes would be escaped: this is a member of an object.
        told = _object_after(bytes(seen))
        usage = usage_of(told) if told else None
        if usage and (self._most is None or _sum(usage) >= _sum(self._most)):
            self._most = usage


def usage_of(told: dict[str, object]) -> Usage | None:
    """Return the counts that are there and are numbers, None when neither direction has one.

    Their names are those of chat completions or, else, of the responses API.
    """

    def count(*names: str) -> int | None:
        values = (_token_count(told.get(name)) for name in names)
        return next((v for v in values if v is not None), None)

    found = Usage(
        prompt_tokens=count("prompt_tokens", "input_tokens"),
        completion_tokens=count("completion_tokens", "output_tokens"),
        total_tokens=count("total_tokens"),
    )
    return None if found.prompt_tokens is found.completion_tokens is None else found


def _sum(usage: Usage) -> int:
    return (usage.prompt_tokens or 0) + (usage.completion_tokens or 0)


def _token_count(value: object) -> int | None:
    return value if type(value) is int and 0 <= value <= MOST_TOKENS else None


def _object_after(data: bytes) -> dict[str, object] | None:
    text = data.decode(errors="replace").lstrip().removeprefix(":").lstrip()
    if not text.startswith("{"):
        return None
    try:
        found, _ = _DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
