"""Filters in a request's query, and events as the inspector shows them."""

from collections.abc import Mapping
from typing import Any

from quart import request

from domain.errors import Invalid
from eventlog.described import described
from eventlog.envelope import Recorded
from eventlog.filter import Filter
from web.services import Services

MOST = 500
_USUAL = 50
_LARGEST = 2**53
_MOST_DIGITS = 16
_MOST_TYPES = 100  # SQLite joins at most 500 queries, and a user makes two of each type.


def number(name: str, usual: int | None, *, least: int = 0, most: int = _LARGEST) -> int | None:
    """Return a whole number of the query. Raises Invalid."""
    text = request.args.get(name, "")
    if not text:
        return usual
    value = int(text) if text.isdecimal() and len(text) <= _MOST_DIGITS else -1
    if not least <= value <= most:
        raise Invalid(f"`{name}` must be a whole number from {least} to {most}.", code="bad_query")
    return value


def limit() -> int:
    """Return how many are asked for."""
    return number("limit", _USUAL, least=1, most=MOST) or _USUAL


def wanted(*, newest_first: bool = True) -> Filter:
    """Return the filter that the query describes. Raises Invalid."""
    args = request.args
    if any("\0" in value for _, value in args.items(multi=True)):
        raise Invalid("The query holds a NUL.", code="bad_query")
    types = tuple(dict.fromkeys(t for t in args.getlist("type") if t))
    if len(types) > _MOST_TYPES:
        raise Invalid(f"At most {_MOST_TYPES} types can be asked for at once.", code="bad_query")
    before, since, until = number("before", None), number("since", None), number("until", None)
    return Filter(
        after=number("after", 0) or 0,
        until=None if before is None else before - 1,
        stream=args.get("stream") or None,
        stream_prefix=args.get("prefix") or None,
        types=types,
        user=args.get("user") or None,
        correlation=args.get("correlation") or None,
        since_us=None if since is None else since * 1_000_000,
        until_us=None if until is None else until * 1_000_000,
        newest_first=newest_first,
    )


def shown(services: Services, record: Recorded[Any]) -> dict[str, Any]:
    """Return an event as the inspector shows it: with the address of whom it is about, if that can be known."""
    return with_email(services, described(record))


def with_email(services: Services, found: Mapping[str, Any]) -> dict[str, Any]:
    """Return something with an owner with the owner's address, "" when there is none any more."""
    user = services.views.users.find(found["owner"])
    return {**found, "owner_email": user.email if user else ""}
