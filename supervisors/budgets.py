"""Budgets of tokens hold, however many answers a user asks for at once.

What an answer takes is known only at its end, and an agent makes many calls of a model for one. So a part of the
budget is held back for each answer that is being written, and whoever asks for one too many has to wait.
"""

from collections import Counter, defaultdict

import trio

from domain.errors import TooMany
from projections.users import User
from supervisors.usage import UsageMeter

LEAST_HELD = 20_000
"""Tokens that are held back for an answer, unless the user's answers take more on average."""
WAIT_SECONDS = 20.0
MOST_WAITING = 32
"""Of one user's requests, at a time."""
_BUSY_SECONDS = 1
"""When to come again: any answer may end at any time."""


class HeldError(TooMany):
    """What is left of a budget is held back for answers that are being written."""


class Budgets:
    """What is held back of the budgets."""

    def __init__(self, usage: UsageMeter) -> None:
        self._usage = usage
        self._held: Counter[str] = Counter()
        self._waiting: defaultdict[str, trio.lowlevel.ParkingLot] = defaultdict(trio.lowlevel.ParkingLot)

    def needed(self, user: User) -> int:
        """Return how many tokens to hold back for one more answer. Raises TooMany, HeldError when that may change.

        While nothing is held back, one answer may take more than is left: nobody knows before.
        """
        self._usage.check_budget(user)
        if user.monthly_tokens is None:
            return 0
        needed, held = max(LEAST_HELD, self._usage.usual_answer(user.id)), self._held[user.id]
        if held and held + needed > user.monthly_tokens - self._usage.tokens_this_month(user.id):
            raise HeldError(
                "For each answer that is being written, a part of this month's budget is held back "
                f"({needed} tokens for the next one), and less is left. Wait until an answer is done.",
                code="budget_held",
                retry_after=_BUSY_SECONDS,
            )
        return needed

    def hold(self, user_id: str, tokens: int) -> None:
        """Hold back so many tokens."""
        if tokens:
            self._held[user_id] += tokens

    def give_back(self, user_id: str, tokens: int) -> None:
        """Hold back so many less: the answer has been counted. Who waits may ask again, the first one first."""
        if tokens:
            self._held[user_id] -= tokens
            if not self._held[user_id]:
                del self._held[user_id]
            if user_id in self._waiting:
                self._waiting[user_id].unpark_all()

    async def wait(self, user_id: str) -> bool:
        """Wait until an answer of a user is done; False, at once, when too many wait already."""
        lot = self._waiting[user_id]
        if len(lot) >= MOST_WAITING:
            return False
        try:
            await lot.park()
            return True
        finally:
            if not lot and self._waiting.get(user_id) is lot:
                del self._waiting[user_id]
