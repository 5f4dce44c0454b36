"""Budgets of tokens hold, however many answers a user asks for at once.

What an answer takes is known only at its end. So a part of the budget is held back for each one that is being
written: as much as the user's answers are known to take, and a sixteenth of the budget at least. Until that is
known, it is all that is left.
"""

from collections import Counter

from domain.errors import TooMany
from projections.users import User
from supervisors.usage import BUDGET_PARTS, UsageMeter

_BUSY_SECONDS = 1
"""When to come again: any answer may end at any time."""


class Budgets:
    """What is held back of the budgets."""

    def __init__(self, usage: UsageMeter) -> None:
        self._usage = usage
        self._held: Counter[str] = Counter()

    def needed(self, user: User) -> int:
        """Return how many tokens to hold back for one more answer. Raises TooMany when there are not enough.

        While nothing is held back, one answer may take more than is left: nobody knows before.
        """
        self._usage.check_budget(user)
        if user.monthly_tokens is None:
            return 0
        left = user.monthly_tokens - self._usage.tokens_this_month(user.id)
        usual = self._usage.usual_answer(user.id)
        needed = left if usual is None else max(usual, -(-user.monthly_tokens // BUDGET_PARTS))
        held = self._held[user.id]
        if held and held + needed > left:
            raise TooMany(
                "Answers of yours are being written that may use up what is left of this month's budget. "
                "Wait until one is done.",
                code="budget_held",
                retry_after=_BUSY_SECONDS,
            )
        return needed

    def hold(self, user_id: str, tokens: int) -> None:
        """Hold back so many tokens."""
        if tokens:
            self._held[user_id] += tokens

    def give_back(self, user_id: str, tokens: int) -> None:
        """Hold back so many less: the answer has been counted."""
        self._held[user_id] -= tokens
        if not self._held[user_id]:
            del self._held[user_id]
