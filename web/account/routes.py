"""/api/me: name, password, sign-ins."""

import time

from pydantic import Field
from quart import Blueprint, Response, jsonify
from quart_schema import document_response, tag_blueprint, validate_request

from domain.errors import NotFound
from web.account.passwords import change_own_password
from web.account.tokens import TokenInfo, token_info
from web.auth.routes import Account, Signed
from web.context import person, services
from web.schemas import Answer, Ok, Request, Seconds

blueprint = Blueprint("account", __name__, url_prefix="/api/me")
tag_blueprint(blueprint, ["account"])


class NewName(Request):
    """The name to show."""

    name: str = Field(max_length=200)


class NewPassword(Request):
    """The password as it is, and as it shall be; with `revoke_tokens`, all API tokens end, too."""

    current_password: str = Field(max_length=1024)
    new_password: str = Field(max_length=1024)
    revoke_tokens: bool = False


class ChangedPassword(Ok):
    """`tokens` are the API tokens that are still good: whoever knew the old password may have made one."""

    tokens: list[TokenInfo]


class SessionInfo(Answer):
    """One sign-in; `current` is the one that asks."""

    id: str
    device: str
    created_at: Seconds
    expires_at: Seconds
    current: bool


class SessionList(Answer):
    """The caller's sign-ins that are still good, newest first."""

    sessions: list[SessionInfo]


class Revoked(Answer):
    """How many were ended."""

    revoked: int


@blueprint.patch("")
@document_response(Signed)
@validate_request(NewName)
async def rename(data: NewName) -> Response:
    """Change the name that is shown."""
    who = person()
    user = await services().accounts.rename(who.user, data.name, who.origin)
    return jsonify(Signed(user=Account.model_validate(user)).model_dump())


@blueprint.post("/password")
@document_response(ChangedPassword)
@validate_request(NewPassword)
async def change_password(data: NewPassword) -> Response:
    """Change the password, and end all other sign-ins."""
    who = person()
    await change_own_password(who, data.current_password, data.new_password)
    if data.revoke_tokens:
        await services().tokens.revoke_all(who.user.id, who.origin)
    left = services().views.tokens.of_user(who.user.id)
    return jsonify(ChangedPassword(tokens=[token_info(t) for t in reversed(left)]).model_dump())


@blueprint.get("/sessions")
@document_response(SessionList)
async def sessions() -> Response:
    """List the caller's sign-ins."""
    who = person()
    mine = who.session.id
    found = [
        SessionInfo(
            id=s.id, device=s.device, created_at=s.created_at, expires_at=s.expires_at, current=s.id == mine
        )
        for s in reversed(services().views.sessions.of_user(who.user.id))
        if services().views.sessions.live(s.id, time.time())
    ]
    return jsonify(SessionList(sessions=found).model_dump())


@blueprint.delete("/sessions")
@document_response(Revoked)
async def revoke_others() -> Response:
    """End all sign-ins but the one that asks."""
    who = person()
    ended = await services().accounts.revoke_other_sessions(who.session, who.origin)
    return jsonify(Revoked(revoked=ended).model_dump())


@blueprint.delete("/sessions/<session_id>")
async def revoke(session_id: str) -> tuple[str, int]:
    """End one sign-in."""
    who = person()
    found = next((s for s in services().views.sessions.of_user(who.user.id) if s.id == session_id), None)
    if found is None:
        raise NotFound("There is no such sign-in.")
    await services().accounts.revoke_session(found, who.origin, reason="revoked")
    return "", 204
