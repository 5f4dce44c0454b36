"""Slowing down who guesses: attempts are counted by address, and wrong passwords by account.

An address for which there is no account is counted as one that has: the answer tells nothing.
"""

import math
import time
import unicodedata

from domain.errors import TooMany
from domain.limits.bucket import Buckets, Rate

_MINUTE, _TEN_MINUTES = 60.0, 600.0


class SignInThrottle:
    """`per_address` attempts in a minute, `per_account` wrong passwords in ten minutes; 0 means any number."""

    def __init__(self, *, per_address: int, per_account: int) -> None:
        self._addresses = Buckets(Rate(per_address, _MINUTE / per_address)) if per_address else None
        self._accounts = Buckets(Rate(per_account, _TEN_MINUTES / per_account)) if per_account else None

    def check_address(self, site: str) -> None:
        """Count one attempt from an address. Raises TooMany."""
        if self._addresses is not None:
            _refuse(self._addresses.take(site, time.monotonic()), "from your address")

    def check_account(self, email: str) -> None:
        """Count one attempt on an account, before it is known whether it is a wrong one. Raises TooMany."""
        if self._accounts is not None:
            _refuse(self._accounts.take(_folded(email), time.monotonic()), "for this account")

    def succeeded(self, email: str) -> None:
        """Forget the wrong attempts on an account: the right password was given."""
        if self._accounts is not None:
            self._accounts.clear(_folded(email))


def _folded(email: str) -> str:
    return unicodedata.normalize("NFKC", email).strip().casefold()


def _refuse(wait: float, where: str) -> None:
    if wait:
        seconds = math.ceil(wait)
        raise TooMany(
            f"Too many attempts {where}. Try again in {seconds} s.", code="too_many_attempts", retry_after=seconds
        )
