"""How large a request may be: its head, and its body by where it goes."""

import re

MAX_TARGET_BYTES = 8 * 1024
"""Of a path with its query."""
MAX_HEAD_BYTES = 16 * 1024
"""Of the target and the headers together."""
MAX_STRANGERS_BYTES = 64 * 1024
"""Of the body of a request to sign in or up, which anybody may send."""
MAX_BODY_BYTES = 1024 * 1024
"""Of any other body outside /v1 but those that bring a message."""
MAX_TEXT_BYTES = 6 * 1024 * 1024
"""Of those: a million characters, also when each is written as an escape, with what stands around them."""

_TEXTS = re.compile(r"/api/(?:conversations/[^/]+/(?:messages|turns)|internal/agents/[^/]+/event)/?")


def body_limit(path: str, most: int) -> int:
    """Return how many bytes the body of a request outside /v1 may have, where no body may have more than `most`."""
    if path.startswith("/auth/"):
        return MAX_STRANGERS_BYTES
    return min(most, MAX_TEXT_BYTES if _TEXTS.fullmatch(path) else MAX_BODY_BYTES)


def told(size: int) -> str:
    """Return a size for a person."""
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size >> 10} KiB"
