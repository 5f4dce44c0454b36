"""/api/admin/users: listing, making, changing and deleting accounts."""

import trio
from pydantic import Field
from quart import Blueprint, Response, jsonify
from quart_schema import document_response, tag_blueprint, validate_request

from domain.errors import Forbidden, Invalid
from projections.users import User
from web.account.passwords import change_own_password
from web.account.usage import Most, Room, most, room_of
from web.auth.guard import Caller
from web.auth.routes import Account, Credentials
from web.context import admin_origin, person, services
from web.pieces import Pieces, json_object
from web.schemas import Answer, Request, Seconds

blueprint = Blueprint("admin", __name__, url_prefix="/api/admin")
tag_blueprint(blueprint, ["admin"])
_AT_ONCE = 100
"""Users that are described while nobody else has a turn."""


class AdminAccount(Account):
    """A user, when the account was made, and this month's tokens: the budget (null for none) and those used."""

    created_at: Seconds
    monthly_tokens: int | None
    used_tokens: int


class Takes(Room):
    """What a user takes of the server; `api_tokens` tells how many there are."""

    api_tokens: int


class AccountList(Answer):
    """All users, newest first; what each of them takes of the server, by id, and may take."""

    users: list[AdminAccount]
    takes: dict[str, Takes]
    most: Most


class OneAccount(Answer):
    """A user."""

    user: AdminAccount


class NewAccount(Credentials):
    """An account to make; its role is `user`."""

    name: str | None = Field(default=None, max_length=200)


class ChangedAccount(Request):
    """What to change; what is left out stays.

    A new password ends all sign-ins of the user, and with `revoke_tokens` all API tokens. For the admin's own, the
    password as it is must be given as well; then this sign-in stays.
    """

    name: str | None = Field(default=None, max_length=200)
    password: str | None = Field(default=None, max_length=1024)
    current_password: str | None = Field(default=None, max_length=1024)
    revoke_tokens: bool = False


class MonthlyTokens(Request):
    """How many tokens a user may use in a month (UTC); null for any number."""

    monthly_tokens: int | None = Field(ge=0, lt=2**53)


@blueprint.get("/users")
@document_response(AccountList)
async def users() -> Response:
    """List all users."""
    admin_origin()
    shown, takes = [], {}
    for user in reversed(services().views.users.all()):
        shown.append(_shown(user).model_dump())
        api_tokens = len(services().views.tokens.of_user(user.id))
        takes[user.id] = {**room_of(user.id).model_dump(), "api_tokens": api_tokens}
        if not len(shown) % _AT_ONCE:
            await trio.lowlevel.checkpoint()
    pieces = json_object({"most": most().model_dump(), "takes": takes}, "users", shown)
    return Response(Pieces(pieces), content_type="application/json")


@blueprint.post("/users")
@document_response(OneAccount)
@validate_request(NewAccount)
async def create(data: NewAccount) -> Response:
    """Make an account."""
    origin = admin_origin()
    user = await services().accounts.register(
        email=data.email, password=data.password, name=data.name, role="user", origin=origin
    )
    return jsonify(OneAccount(user=_shown(user)).model_dump())


@blueprint.patch("/users/<user_id>")
@document_response(OneAccount)
@validate_request(ChangedAccount)
async def change(user_id: str, data: ChangedAccount) -> Response:
    """Change a user's name or password."""
    origin = admin_origin()
    user = services().views.users.get(user_id)
    # Of its own account, a program may change nothing here either.
    who = person() if origin.actor == f"user:{user_id}" else None
    services().accounts.check(user, name=data.name, password=data.password)  # All of it, or nothing.
    if data.password is not None and who:
        await _change_own(who, data.current_password, data.password)
    elif data.password is not None:
        await services().accounts.set_password(user, data.password, origin)
    if data.name is not None:
        user = await services().accounts.rename(user, data.name, origin)
    if data.revoke_tokens:
        await services().tokens.revoke_all(user_id, origin)
    return jsonify(OneAccount(user=_shown(user)).model_dump())


async def _change_own(who: Caller, current: str | None, new: str) -> None:
    if current is None:
        raise Forbidden(
            "Send your password as it is, as `current_password`, to change your own.",
            code="current_password_needed",
        )
    await change_own_password(who, current, new)


@blueprint.delete("/users/<user_id>")
async def delete(user_id: str) -> tuple[str, int]:
    """Delete a user for good: account, keys, conversations, agents and their homes."""
    origin = admin_origin()
    if origin.actor == f"user:{user_id}":
        raise Invalid("You cannot delete your own account here.", code="own_account")
    await services().deletion.delete(services().views.users.get(user_id), origin)
    return "", 204


@blueprint.put("/users/<user_id>/budget")
@document_response(MonthlyTokens)
@validate_request(MonthlyTokens)
async def set_budget(user_id: str, data: MonthlyTokens) -> Response:
    """Set how many tokens a user may use in a month."""
    origin = admin_origin()
    await services().accounts.set_budget(services().views.users.get(user_id), data.monthly_tokens, origin)
    return jsonify(data.model_dump())


def _shown(user: User) -> AdminAccount:
    return AdminAccount(
        id=user.id,
        email=user.email,
        name=user.name,
        slug=user.slug,
        role=user.role,
        created_at=user.created_at,
        monthly_tokens=user.monthly_tokens,
        used_tokens=services().usage.tokens_this_month(user.id),
    )
