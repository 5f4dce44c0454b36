"""Which value of a variable counts: the three tiers, and how values are shown."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from domain.backends.definition import Backend

Source = Literal["backend", "global", "shared", "default", "unset"]
MAX_VALUE = 8192
_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Effective:
    """The value that counts, "" when there is none, and where it comes from."""

    value: str
    source: Source


Lookup = Callable[[str, str], str | None]
"""Returns somebody's value by backend ("" for all) and variable, or None."""


def effective(backend: Backend, own: Lookup, shared: Lookup) -> dict[str, Effective]:
    """Return what counts for each variable of a backend that users may set.

    First the user's value for this backend, then the user's for all, then the admin's own one if it is shared
    (`shared` looks among those), then what the declaration of the backend says.
    """
    return {name: _first(backend, name, own, shared) for name in backend.user_overridable_env}


def values(found: Mapping[str, Effective]) -> dict[str, str]:
    """Return the variables that have a value."""
    return {name: e.value for name, e in found.items() if e.value}


def _first(backend: Backend, name: str, own: Lookup, shared: Lookup) -> Effective:
    tiers: tuple[tuple[Source, str | None], ...] = (
        ("backend", own(backend.name, name)),
        ("global", own("", name)),
        ("shared", shared("", name)),
        ("default", backend.extra_env.get(name)),
    )
    return next((Effective(value, source) for source, value in tiers if value), Effective("", "unset"))


def masked(value: str) -> str:
    """Return how a value is shown: up to 8 characters all bullets, of longer ones the first and last four."""
    if len(value) <= 2 * _SHOWN:
        return "•" * len(value)
    return f"{value[:_SHOWN]}{'•' * min(8, len(value) - 2 * _SHOWN)}{value[-_SHOWN:]}"
