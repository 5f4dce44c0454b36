"""What an answer says of the tokens that it took, read as it passes."""

import json
import re
from collections import deque
from typing import Any

from domain.conversations.events import Usage
from supervisors.turns.answer import token_count

_KEY = b'"usage"'
_LONGEST = 4096
"""Bytes of one usage that are looked at."""
_ATTEMPTS = 8
_DECODER = json.JSONDecoder()
_EVENT_END = re.compile(rb"(?<=\n\n)|(?<=\n\r\n)")
_NO_CHOICES = re.compile(rb'"choices"\s*:\s*\[\s*\]')


def asking_for_usage(body: dict[str, Any]) -> dict[str, Any] | None:
    """Return a request whose stream ends with its usage; None when it does already, or is no stream.

    What it asks for is known by its body: agents know more spellings of a path than we do. With an `input` alone it
    is for the responses API, whose streams always tell. Agents may be generous about what is true: so is this.
    """
    if "input" in body and not {"messages", "prompt"} & body.keys():
        return None
    options = body.get("stream_options")
    options = options if isinstance(options, dict) else {}
    if not body.get("stream") or options.get("include_usage") is True:
        return None
    return {**body, "stream_options": {**options, "include_usage": True}}


def without_usage(events: bytes) -> bytes:
    """Return server-sent events without the one that tells the usage and nothing else."""
    if not _NO_CHOICES.search(events):
        return events
    return b"".join(e for e in _EVENT_END.split(events) if not (_NO_CHOICES.search(e) and _KEY in e))


class UsageReader:
    """Finds what an answer tells of its usage, wherever that stands in it."""

    def __init__(self) -> None:
        self._seen: deque[bytearray] = deque(maxlen=_ATTEMPTS)
        """What follows the last keys, each as long as it may be."""
        self._end = b""

    def add(self, data: bytes) -> None:
        """Take the next chunk."""
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
        self._end = (self._end + data)[1 - len(_KEY) :] if len(data) < len(_KEY) else data[1 - len(_KEY) :]

    def usage(self) -> Usage | None:
        """Return the last usage that the agent told, or None. Nothing is guessed."""
        for seen in reversed(self._seen):
            # Within a text, the quotes would be escaped: this is a member of an object.
            told = _object_after(bytes(seen))
            if told is not None:
                return _usage(told)
        return None


def _object_after(data: bytes) -> dict[str, object] | None:
    text = data.decode(errors="replace").lstrip().removeprefix(":").lstrip()
    try:
        found, _ = _DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _usage(told: dict[str, object]) -> Usage | None:
    """Return the counts under the names of chat completions or, else, of the responses API."""

    def count(*names: str) -> int | None:
        values = (token_count(told.get(name)) for name in names)
        return next((v for v in values if v is not None), None)

    prompt = count("prompt_tokens", "input_tokens")
    completion = count("completion_tokens", "output_tokens")
    if prompt is None and completion is None:
        return None
    return Usage(prompt_tokens=prompt, completion_tokens=completion, total_tokens=count("total_tokens"))
