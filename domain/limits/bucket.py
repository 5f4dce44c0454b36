"""Token buckets: so many at once, and then one again after each interval."""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

_ROUNDING = 1e-6
"""Seconds by which sums of many intervals may be off."""


@dataclass(frozen=True, slots=True)
class Rate:
    """`burst` at once, then one more every `seconds`."""

    burst: int
    seconds: float


class Buckets:
    """One bucket for each key. The caller tells the time, in seconds on any clock that never goes back.

    Only the `keep` keys that were used last are remembered: a flood of new ones costs no memory. A key that is
    forgotten begins anew, which is no gain to anybody who needs `keep` other keys for it.
    """

    def __init__(self, rate: Rate, *, keep: int = 50_000) -> None:
        self.rate = rate
        self._keep = keep
        self._full_at: OrderedDict[Hashable, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def wait(self, key: Hashable, now: float, count: int = 1) -> float:
        """Return how many seconds there are to wait until the next ones are allowed; 0.0 when they are now.

        More than a burst at once are allowed when the bucket is full.
        """
        full_at = self._full_at.get(key, now)
        wait = full_at - now - max(0, self.rate.burst - count) * self.rate.seconds
        return wait if wait > _ROUNDING else 0.0

    def left(self, key: Hashable, now: float) -> int:
        """Return how many are allowed at once now."""
        missing = max(0.0, self._full_at.get(key, now) - now)
        return max(0, int(self.rate.burst - missing / self.rate.seconds + 1e-9))

    def full_in(self, key: Hashable, now: float) -> float:
        """Return after how many seconds of rest the whole burst is allowed again."""
        return max(0.0, self._full_at.get(key, now) - now)

    def take(self, key: Hashable, now: float, count: int = 1) -> float:
        """Take so many, and return 0.0; or take none, and return how many seconds to wait."""
        wait = self.wait(key, now, count)
        if not wait:
            self.spend(key, now, count)
        return wait

    def spend(self, key: Hashable, now: float, count: int) -> None:
        """Take so many, allowed or not: who comes next waits the longer for it."""
        self._full_at[key] = max(now, self._full_at.get(key, now)) + count * self.rate.seconds
        self._full_at.move_to_end(key)
        if len(self._full_at) > self._keep:
            self._full_at.popitem(last=False)

    def give_back(self, key: Hashable, now: float) -> None:
        """Put one back that was taken."""
        full_at = self._full_at.get(key, now) - self.rate.seconds
        if full_at > now:
            self._full_at[key] = full_at
        else:
            self.clear(key)

    def clear(self, key: Hashable) -> None:
        """Fill a bucket again."""
        self._full_at.pop(key, None)
