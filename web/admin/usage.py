"""/api/admin/usage: what everybody uses."""

from quart import Blueprint, Response, jsonify
from quart_schema import document_response, tag_blueprint

from projections.usage import DAY
from web.account.usage import Totals, UsageInfo, span, told, totals, with_pending
from web.context import admin_origin, services
from web.schemas import Answer

blueprint = Blueprint("admin_usage", __name__, url_prefix="/api/admin/usage")
tag_blueprint(blueprint, ["admin"])


class UserUsage(UsageInfo):
    """A row and whose it is."""

    user_id: str
    email: str


class AllUsage(Answer):
    """Everybody's usage between two moments, whole days."""

    since: int
    until: int
    rows: list[UserUsage]
    totals: Totals


@blueprint.get("")
@document_response(AllUsage)
async def everybodys() -> Response:
    """Return what was used, in this month unless `since` and `until` (unix seconds) say otherwise."""
    admin_origin()
    first, last = span()
    rows = with_pending(services().views.usage.all(first, last), services().usage.pending_users(), first, last)
    users = services().views.users
    shown = [
        UserUsage.model_validate({**told(row), "user_id": row.user_id, "email": users.get(row.user_id).email})
        for row in rows
        if users.find(row.user_id)
    ]
    answer = AllUsage(since=first * DAY, until=(last + 1) * DAY, rows=shown, totals=totals(rows))
    return jsonify(answer.model_dump())
