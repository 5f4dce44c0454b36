"""/api/admin/users: listing and making accounts."""

from pydantic import Field
from quart import Blueprint, Response, jsonify
from quart_schema import document_response, tag_blueprint, validate_request

from web.auth.routes import Account, Credentials
from web.context import admin_origin, services
from web.schemas import Answer, Seconds

blueprint = Blueprint("admin", __name__, url_prefix="/api/admin")
tag_blueprint(blueprint, ["admin"])


class DatedAccount(Account):
    """A user and when the account was made."""

    created_at: Seconds


class AccountList(Answer):
    """All users, newest first."""

    users: list[DatedAccount]


class OneAccount(Answer):
    """A user."""

    user: DatedAccount


class NewAccount(Credentials):
    """An account to make; its role is `user`."""

    name: str | None = Field(default=None, max_length=200)


@blueprint.get("/users")
@document_response(AccountList)
async def users() -> Response:
    """List all users."""
    admin_origin()
    found = [DatedAccount.model_validate(u) for u in reversed(services().views.users.all())]
    return jsonify(AccountList(users=found).model_dump())


@blueprint.post("/users")
@document_response(OneAccount)
@validate_request(NewAccount)
async def create(data: NewAccount) -> Response:
    """Make an account."""
    origin = admin_origin()
    user = await services().accounts.register(
        email=data.email, password=data.password, name=data.name, role="user", origin=origin
    )
    return jsonify(OneAccount(user=DatedAccount.model_validate(user)).model_dump())
