"""Who uses a runner, and how long nobody has."""

import math
from collections.abc import Callable

import trio


class IdleClock:
    """Counts the leases that are out; while there is none, the time runs. Times in seconds on trio's clock.

    `allowed` returns how long the runner may idle, 0 for ever: it is asked each time, as users change their minds.
    """

    def __init__(self, allowed: Callable[[], int]) -> None:
        self._allowed = allowed
        self.leases = 0
        self.last_active = trio.current_time()

    def __repr__(self) -> str:
        return f"<IdleClock {self.leases} leases, idle for {self.idle_for:.0f} of {self.seconds} s>"

    @property
    def seconds(self) -> int:
        """How long the runner may idle; 0 means for ever."""
        return self._allowed()

    @property
    def idle_for(self) -> float:
        """Seconds since the runner was last used; 0 while it is in use."""
        return 0.0 if self.leases else max(0.0, trio.current_time() - self.last_active)

    @property
    def left(self) -> float | None:
        """Seconds until the time is over, or None while the runner is in use or may idle for ever."""
        seconds = self.seconds
        return None if self.leases or not seconds else max(0.0, seconds - self.idle_for)

    @property
    def look_at(self) -> float:
        """When to look again: never later than the time may be over."""
        seconds = self.seconds
        since = trio.current_time() if self.leases else self.last_active
        return since + seconds if seconds else math.inf

    def restart(self) -> None:
        """Begin to count from now."""
        self.last_active = trio.current_time()

    def hold(self) -> None:
        """Note that a lease is given out."""
        self.leases += 1

    def give_back(self) -> None:
        """Note that a lease is back."""
        self.leases -= 1
        self.restart()
