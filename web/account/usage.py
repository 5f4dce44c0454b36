"""Usage as clients see it: one's own, and for the admin everybody's."""

import time
from collections.abc import Iterable

from quart import Blueprint, Response, jsonify, request
from quart_schema import document_response, tag_blueprint

from domain.errors import Invalid
from projections.usage import DAY, UsageRow
from supervisors.usage import next_month
from web.context import caller, services
from web.schemas import Answer

blueprint = Blueprint("usage", __name__, url_prefix="/api/me/usage")
tag_blueprint(blueprint, ["account"])

_MOST_DAYS = 400


class Totals(Answer):
    """Sums. `unknown` counts the requests of which the agent told no tokens: they are in neither sum of tokens.

    `estimated` are tokens that count for the budget all the same: the answers were broken off.
    """

    requests: int = 0
    errors: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    unknown: int = 0
    estimated: int = 0
    runner_seconds: int = 0


class UsageInfo(Totals):
    """What one agent did under one model on one day (UTC). The time of runners has the model ""."""

    day: str
    agent_id: str
    backend: str
    model: str


class Budget(Answer):
    """Tokens that may be used in a month (UTC), null for any number, and those that were."""

    monthly_tokens: int | None
    used: int
    resets_at: int


class Room(Answer):
    """What a user takes of the server: bytes in the log, today (UTC) and in all, conversations, bytes of files.

    `files` is null until the homes of the user's agents have been measured.
    """

    log_today: int
    log: int
    conversations: int
    files: int | None


class Most(Answer):
    """What each user may take, null for any amount."""

    log_per_day: int | None
    conversations: int | None
    files: int | None


class OwnUsage(Answer):
    """The caller's usage between two moments, whole days, and what the caller takes now."""

    since: int
    until: int
    rows: list[UsageInfo]
    totals: Totals
    budget: Budget
    room: Room
    most: Most


@blueprint.get("")
@document_response(OwnUsage)
async def own() -> Response:
    """Return what the caller has used, in this month unless `since` and `until` (unix seconds) say otherwise."""
    user = caller().user
    first, last = span()
    rows = with_pending(services().views.usage.of_user(user.id, first, last), [user.id], first, last)
    budget = Budget(
        monthly_tokens=user.monthly_tokens,
        used=services().usage.tokens_this_month(user.id),
        resets_at=int(next_month(time.time())),
    )
    shown = [UsageInfo.model_validate(told(row)) for row in rows]
    answer = OwnUsage(
        since=first * DAY,
        until=(last + 1) * DAY,
        rows=shown,
        totals=totals(rows),
        budget=budget,
        room=room_of(user.id),
        most=most(),
    )
    return jsonify(answer.model_dump())


def room_of(user_id: str) -> Room:
    """Return what a user takes of the server."""
    return Room.model_validate(services().allowance.taken(user_id))


def most() -> Most:
    """Return what each user may take."""
    return Most.model_validate(services().allowance.limits)


def span() -> tuple[int, int]:
    """Return the first and the last day that are asked for. Raises Invalid."""
    now = time.gmtime()
    month = int(time.time() // DAY) - now.tm_mday + 1
    try:
        first = int(request.args["since"]) // DAY if "since" in request.args else month
        last = (int(request.args["until"]) - 1) // DAY if "until" in request.args else int(time.time() // DAY)
    except ValueError:
        raise Invalid("`since` and `until` must be whole unix seconds.", code="bad_span") from None
    if not 0 <= first <= last or last - first > _MOST_DAYS:
        raise Invalid(f"`since` must be before `until`, by {_MOST_DAYS} days at most.", code="bad_span")
    return first, last


def with_pending(rows: Iterable[UsageRow], users: Iterable[str], first_day: int, last_day: int) -> list[UsageRow]:
    """Return rows with what no event tells yet."""
    found = {row.key: row for row in rows}
    for user_id in users:
        for day, tally in services().usage.pending(user_id):
            if first_day <= day <= last_day:
                row = services().views.usage.row_of(user_id, day, tally)
                found[row.key] = found.get(row.key, row).with_tally(tally)
    return list(found.values())


def told(row: UsageRow) -> dict[str, object]:
    """Return a row as clients see it."""
    day = time.strftime("%Y-%m-%d", time.gmtime(row.day * DAY))
    numbers = {name: int(getattr(row, name)) for name in Totals.model_fields}
    return {**numbers, "day": day, "agent_id": row.agent_id, "backend": row.backend, "model": row.model}


def totals(rows: Iterable[UsageRow]) -> Totals:
    """Return the sums of rows."""
    listed = list(rows)
    return Totals(**{name: int(sum(getattr(r, name) for r in listed)) for name in Totals.model_fields})
