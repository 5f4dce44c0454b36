"""How much a user may have kept, agents included, and how often an agent may post by itself."""

import math
import time

from domain.errors import TooMany
from domain.limits.bucket import Buckets, Rate

_MINUTE = 60.0
_TESTS_PER_MINUTE = 120
_UNIT = 1024
"""Bytes that are counted as one."""


class Quota:
    """`mib_per_minute` of text for each user, `posts_per_minute` for each agent; 0 means any."""

    def __init__(self, *, mib_per_minute: int, posts_per_minute: int) -> None:
        units = (mib_per_minute << 20) // _UNIT
        self._mib = mib_per_minute
        self._texts = Buckets(Rate(units, _MINUTE / units)) if units else None
        self._tests = Buckets(Rate(_TESTS_PER_MINUTE, _MINUTE / _TESTS_PER_MINUTE))
        self._posts = Buckets(Rate(posts_per_minute, _MINUTE / posts_per_minute)) if posts_per_minute else None

    def take_text(self, user_id: str, text: str, more: int = 0) -> None:
        """Count a text that is to be kept, and so many bytes with it. Raises TooMany."""
        if self._texts is not None:
            wait = self._texts.take(user_id, time.monotonic(), _units(text, more))
            _refuse(wait, f"You have had {self._mib} MiB kept within a minute, which is the most.", "too_much_text")

    def spend_text(self, user_id: str, text: str) -> None:
        """Count an answer, which is kept however long it has become: the next text may have to wait for it."""
        if self._texts is not None:
            self._texts.spend(user_id, time.monotonic(), _units(text))

    def take_test(self, user_id: str) -> None:
        """Count a test of a connection, for which the server asks an address that a user names. Raises TooMany."""
        wait = self._tests.take(user_id, time.monotonic())
        _refuse(
            wait, f"You have tested {_TESTS_PER_MINUTE} times within a minute, which is the most.", "too_many_tests"
        )

    def take_post(self, agent_id: str) -> None:
        """Count something that an agent posts by itself. Raises TooMany."""
        if self._posts is not None:
            wait = self._posts.take(agent_id, time.monotonic())
            burst = self._posts.rate.burst
            _refuse(
                wait, f"The agent has posted {burst} times within a minute, which is the most.", "too_many_posts"
            )


def _units(text: str, more: int = 0) -> int:
    return -(-(len(text.encode(errors="replace")) + more) // _UNIT)


def _refuse(wait: float, why: str, code: str) -> None:
    if wait:
        seconds = math.ceil(wait)
        raise TooMany(f"{why} Come again in {seconds} s.", code=code, retry_after=seconds)
