"""What an answer says of the tokens that it took, read from its end as it passes."""

import json
import re
from collections import deque
from typing import Any

from domain.conversations.events import Usage
from supervisors.turns.answer import token_count

_KEY = b'"usage"'
_TAIL_BYTES = 64 * 1024
_ATTEMPTS = 8
_DECODER = json.JSONDecoder()
_EVENT_END = re.compile(rb"(?<=\n\n)|(?<=\n\r\n)")
_NO_CHOICES = re.compile(rb'"choices"\s*:\s*\[\s*\]')


def asking_for_usage(body: dict[str, Any]) -> dict[str, Any] | None:
    """Return a request whose stream ends with its usage; None when it does already, or is no stream.

    Agents may be generous about what is true: so is this.
    """
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


class AnswerTail:
    """The last chunks of an answer: no copy is made until somebody asks."""

    def __init__(self) -> None:
        self._chunks: deque[bytes] = deque()
        self._size = 0

    def add(self, data: bytes) -> None:
        """Take the next chunk, and drop those that are too far from the end."""
        self._chunks.append(data)
        self._size += len(data)
        while self._size - len(self._chunks[0]) >= _TAIL_BYTES:
            self._size -= len(self._chunks.popleft())

    def usage(self) -> Usage | None:
        """Return the last usage that the agent told, or None. Nothing is guessed."""
        data = b"".join(self._chunks)
        end = len(data)
        for _ in range(_ATTEMPTS):
            # Within a text, the quotes would be escaped: this is a member of an object.
            end = data.rfind(_KEY, 0, end)
            if end < 0:
                return None
            found = _object_after(data[end + len(_KEY) :])
            if found is not None:
                return _usage(found)
        return None


def _object_after(data: bytes) -> dict[str, object] | None:
    text = data[:4096].decode(errors="replace").lstrip().removeprefix(":").lstrip()
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
