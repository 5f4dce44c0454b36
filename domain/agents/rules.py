"""How many agents there may be and what they may be called."""

from collections.abc import Collection

from domain.errors import Conflict, Unprocessable

MAX_NAME = 80
MAX_MODEL = 200


def free_ordinal(taken: Collection[int], *, most: int) -> int:
    """Return the smallest ordinal (from 1) that is not taken. Raises Conflict when `most` are."""
    if len(taken) >= most:
        raise Conflict(
            f"You have {len(taken)} agents of this backend, which is the most allowed. "
            "Delete one, or ask the admin to raise MAX_AGENTS_PER_BACKEND.",
            code="too_many_agents",
            limit=most,
        )
    return next(n for n in range(1, most + 1) if n not in taken)


def check_name(name: str) -> str:
    """Return the trimmed name. Raises Unprocessable unless it has 1..80 characters."""
    trimmed = name.strip()
    if not 1 <= len(trimmed) <= MAX_NAME or not trimmed.isprintable():
        raise Unprocessable(f"An agent's name has 1 to {MAX_NAME} printable characters.", code="bad_name")
    return trimmed


def check_model(model: str) -> str:
    """Return the trimmed model override, "" for none. Raises Unprocessable over 200 characters."""
    trimmed = model.strip()
    if len(trimmed) > MAX_MODEL:
        raise Unprocessable(f"A model's name has at most {MAX_MODEL} characters.", code="bad_model")
    return trimmed
