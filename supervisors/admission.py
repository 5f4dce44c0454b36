"""Who may ask for how much at a time: requests in a minute, and answers that are being written."""

import math
import time
from collections import Counter
from dataclasses import dataclass

import trio

from domain.errors import TooMany
from domain.limits.bucket import Buckets, Rate
from projections.users import User
from supervisors.allowance import Allowance
from supervisors.budgets import WAIT_SECONDS, Budgets, HeldError
from supervisors.usage import UsageMeter

_MINUTE = 60.0
_BUSY_SECONDS = 1
"""When to come again after too many at once: any answer may end at any time."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """An answer that may be written, and how many tokens of its user's budget are held back for it."""

    user_id: str
    tokens: int


class Admission:
    """The limits of every user. 0 as a limit means none."""

    def __init__(self, usage: UsageMeter, allowance: Allowance, *, per_minute: int, at_once: int) -> None:
        self._allowance = allowance
        self._budgets = Budgets(usage)
        self._at_once = at_once
        self._running: Counter[str] = Counter()
        self._buckets = Buckets(Rate(per_minute, _MINUTE / per_minute)) if per_minute else None

    def statistics(self) -> dict[str, int]:
        """Return how many answers are being written, and for how many users."""
        return {"running": self._running.total(), "users": len(self._running)}

    async def admit(self, user: User, *, patience: float | None = None) -> Admitted:
        """Let one more answer be written, until it is released; wait a while for what is left of a budget.

        That is `patience` seconds, WAIT_SECONDS unless given. Raises as `admit_now`.
        """
        deadline = trio.current_time() + (WAIT_SECONDS if patience is None else patience)
        while True:
            try:
                return self.admit_now(user)
            except HeldError:
                is_my_turn = False
                with trio.move_on_at(deadline):
                    is_my_turn = await self._budgets.wait(user.id)
                if not is_my_turn:
                    raise

    def admit_now(self, user: User) -> Admitted:
        """Let one more answer be written, until it is released.

        Raises TooMany, with `retry_after` in seconds when that is known, when it is one too many; Full when the
        user takes too much of the server already.
        """
        self._allowance.check_log(user.id)
        self._allowance.check_files(user.id)
        admitted = Admitted(user.id, self._budgets.needed(user))
        if self._at_once and self._running[user.id] >= self._at_once:
            raise TooMany(
                f"You have {self._at_once} answers running, which is the most at a time. Wait until one is done.",
                code="too_many_running",
                retry_after=_BUSY_SECONDS,
            )
        now = time.monotonic()
        wait = self._buckets.take(user.id, now) if self._buckets is not None else 0.0
        if self._buckets is not None and wait:
            raise TooMany(
                f"You have asked {self._buckets.rate.burst} times within a minute, which is the most. "
                f"Come again in {math.ceil(wait)} s.",
                code="rate_limit_exceeded",
                retry_after=math.ceil(wait),
                limit=self._buckets.rate.burst,
                reset=round(self._buckets.full_in(user.id, now), 1),
            )
        self._running[user.id] += 1
        self._budgets.hold(user.id, admitted.tokens)
        return admitted

    def release(self, admitted: Admitted) -> None:
        """Note that an answer is written, or will not be. What it took must have been counted."""
        user_id = admitted.user_id
        self._running[user_id] -= 1
        if not self._running[user_id]:
            del self._running[user_id]
        self._budgets.give_back(user_id, admitted.tokens)
