"""Reading server-sent events in tests."""

import json
from collections.abc import Iterator
from typing import Any

import httpx


def frames(response: httpx.Response) -> Iterator[tuple[str, Any]]:
    """Yield (id, data) of every event of a streamed response; data is parsed JSON, or the raw text."""
    id_ = ""
    for line in response.iter_lines():
        if line.startswith("id:"):
            id_ = line[3:].strip()
        elif line.startswith("data:"):
            text = line[5:].strip()
            try:
                yield id_, json.loads(text)
            except json.JSONDecodeError:
                yield id_, text


def until(response: httpx.Response, kind: str) -> list[dict[str, Any]]:
    """Return the events of a conversation's stream up to the first of a kind."""
    found = []
    for _, data in frames(response):
        found.append(data)
        if data["kind"] == kind:
            return found
    raise AssertionError(f"the stream ended without {kind!r}: {found}")
