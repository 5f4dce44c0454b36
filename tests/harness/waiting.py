"""Waiting for something to come true."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
PATIENCE_SECONDS = 60.0


def eventually(look: Callable[[], T | None], what: str = "", seconds: float = PATIENCE_SECONDS) -> T:
    """Return the first truthy value of `look`, which is called again and again."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"this did not come true: {what or look}")


def settled(look: Callable[[], T], times: int = 20) -> T:
    """Return the value of `look` once it has been the same for so many looks."""
    last, same = look(), 0
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        time.sleep(0.05)
        now = look()
        same = same + 1 if now == last else 0
        last = now
        if same >= times:
            return now
    raise AssertionError(f"this kept changing: {last!r}")
