"""Having a stream tell its usage, and keeping that from a client that did not ask for it."""

import re
from typing import Any

_KEY = b'"usage"'
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
