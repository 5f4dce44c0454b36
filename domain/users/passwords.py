"""Which passwords are good enough for a new account or a change."""

import sys
from functools import cache

from domain.errors import Invalid

MIN_PASSWORD = 10
MAX_PASSWORD = 256


def check_password(password: str, *about: str) -> None:
    """Raise Invalid unless a new password is good enough.

    It has 10 to 256 characters, is none of the 30,000 that are most common, and is not built around what is
    known `about` its user: address and name.
    """
    if len(password) < MIN_PASSWORD:
        raise Invalid(f"The password is too short: use at least {MIN_PASSWORD} characters.", code="weak_password")
    if len(password) > MAX_PASSWORD:
        raise Invalid(f"The password is too long: use at most {MAX_PASSWORD} characters.", code="weak_password")
    folded = password.casefold()
    if len(set(folded)) < 4 or folded in _common():
        raise Invalid(
            "This password is one of the first that anybody would try. Use another one, such as four random words.",
            code="weak_password",
        )
    known = (text.casefold() for text in about if text)
    if any(folded in text or (len(text) >= MIN_PASSWORD and text in folded) for text in known):
        raise Invalid("The password must not be your address or your name.", code="weak_password")


@cache
def _common() -> frozenset[str]:
    # Read when it is first needed, and dropped again but for what is long enough to matter.
    from zxcvbn.frequency_lists import FREQUENCY_LISTS  # type: ignore[import-untyped] # noqa: PLC0415

    found = frozenset(p for p in FREQUENCY_LISTS["passwords"] if len(p) >= MIN_PASSWORD)
    sys.modules.pop("zxcvbn.frequency_lists", None)
    return found
