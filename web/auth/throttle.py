"""Slowing down who guesses: attempts are counted by address, and wrong passwords by address and account.

An address for which there is no account is counted as one that has: the answer tells nothing.
"""

import math
import time
import unicodedata

from domain.errors import TooMany
from domain.limits.bucket import Buckets, Rate

_MINUTE, _TEN_MINUTES = 60.0, 600.0
ADDRESSES = 10
"""How many addresses may use up their wrong passwords for one account until strangers have to wait for it."""


class SignInThrottle:
    """`per_place` attempts in a minute, `per_account` wrong passwords in ten minutes; 0 means any number.

    A place is an address, or a device or a sign-in that is known. What strangers do keeps no device that is known
    from its account: it is counted by itself. For an account that many addresses guess at, all others have to wait.
    """

    def __init__(self, *, per_place: int, per_account: int) -> None:
        self._places = _buckets(per_place, _MINUTE)
        self._pairs = _buckets(per_account, _TEN_MINUTES)
        self._accounts = _buckets(per_account * ADDRESSES, _TEN_MINUTES)

    def check_place(self, place: str) -> None:
        """Count one attempt from a place. Raises TooMany."""
        if self._places is not None:
            _refuse(self._places.take(place, time.monotonic()), "Too many attempts from your address.")

    def check_account(self, place: str, email: str, *, is_known: bool) -> None:
        """Count one attempt on an account, before it is known whether it is a wrong one. Raises TooMany."""
        if self._pairs is None or self._accounts is None:
            return
        account, now = _folded(email), time.monotonic()
        why = "Too many attempts for this account from here."
        _refuse(self._pairs.wait((place, account), now), why, known=is_known)
        if not is_known:
            why = "Too many attempts for this account, from too many addresses."
            _refuse(self._accounts.take(account, now), why, known=False)
        self._pairs.spend((place, account), now, 1)

    def succeeded(self, place: str, email: str, *, is_known: bool) -> None:
        """Forget the wrong attempts on an account from a place: the right password was given."""
        if self._pairs is None or self._accounts is None:
            return
        account = _folded(email)
        self._pairs.clear((place, account))
        if not is_known:
            self._accounts.give_back(account, time.monotonic())


def _buckets(burst: int, seconds: float) -> Buckets | None:
    return Buckets(Rate(burst, seconds / burst)) if burst else None


def _folded(email: str) -> str:
    return unicodedata.normalize("NFKC", email).strip().casefold()


def _refuse(wait: float, why: str, *, known: bool = True) -> None:
    if wait:
        seconds = math.ceil(wait)
        elsewhere = "" if known else ", or on a device on which you have signed in before"
        raise TooMany(f"{why} Try again in {seconds} s{elsewhere}.", code="too_many_attempts", retry_after=seconds)
