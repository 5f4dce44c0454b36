"""/api/admin/invites: links with which people make their own accounts."""

import time

from pydantic import Field
from quart import Blueprint, Response, jsonify
from quart_schema import document_response, tag_blueprint, validate_request

from domain.errors import Conflict
from web.context import admin_origin, services
from web.schemas import Answer, Request, Seconds

blueprint = Blueprint("invites", __name__, url_prefix="/api/admin/invites")
tag_blueprint(blueprint, ["admin"])

_WEEK = 7 * 86400


class InviteInfo(Answer):
    """An invitation that can still be used, without its code."""

    id: str
    note: str
    prefix: str
    uses: int
    used: int
    created_at: Seconds
    expires_at: int


class InviteList(Answer):
    """Those that can still be used, newest first."""

    invites: list[InviteInfo]


class NewInvite(Request):
    """An invitation to make, for so many accounts and so long."""

    uses: int = Field(default=1, ge=1, le=1000)
    expires_in_seconds: int = Field(default=_WEEK, ge=60, le=366 * 86400)
    note: str = Field(default="", max_length=200)


class MadeInvite(Answer):
    """A new invitation. Its code, and the path of the page that takes it, are shown this once."""

    invite: InviteInfo
    code: str
    path: str


@blueprint.get("")
@document_response(InviteList)
async def invites() -> Response:
    """List the invitations."""
    admin_origin()
    found = [InviteInfo.model_validate(i) for i in reversed(services().views.invites.good(time.time()))]
    return jsonify(InviteList(invites=found).model_dump())


@blueprint.post("")
@document_response(MadeInvite)
@validate_request(NewInvite)
async def create(data: NewInvite) -> Response:
    """Make an invitation."""
    origin = admin_origin()
    admin = services().views.users.admin()
    if admin is None:
        raise Conflict("There is no admin yet who could invite somebody.", code="no_admin")
    invite, code = await services().invites.create(admin.id, data.note, data.uses, data.expires_in_seconds, origin)
    made = MadeInvite(invite=InviteInfo.model_validate(invite), code=code, path=f"/#/signup?invite={code}")
    return jsonify(made.model_dump())


@blueprint.delete("/<invite_id>")
async def revoke(invite_id: str) -> tuple[str, int]:
    """Make an invitation void."""
    await services().invites.revoke(invite_id, admin_origin())
    return "", 204
