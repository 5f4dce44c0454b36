"""/api/me/tokens: API tokens for programs."""

from typing import Annotated

from pydantic import Field, StringConstraints
from quart import Blueprint, Response, jsonify
from quart_schema import document_response, tag_blueprint, validate_request

from domain.errors import Invalid
from domain.tokens.rules import Scope
from projections.tokens import Token
from web.context import person, services
from web.schemas import Answer, Request, Seconds

blueprint = Blueprint("tokens", __name__, url_prefix="/api/me/tokens")
tag_blueprint(blueprint, ["account"])


class TokenInfo(Answer):
    """A token without its secret. `models` are those it may be used for; empty means all.

    `older_than_password` tells that it was made before the password was changed the last time.
    """

    id: str
    name: str
    prefix: str
    scope: str
    models: list[str]
    created_at: Seconds
    expires_at: int | None
    last_used_at: int | None
    older_than_password: bool


class TokenList(Answer):
    """The caller's tokens, newest first."""

    tokens: list[TokenInfo]


class NewToken(Request):
    """A token to make. `expires_at` in unix seconds; `models` empty for all of them."""

    name: str = Field(max_length=200)
    expires_at: int | None = Field(default=None, ge=0, lt=2**53)
    scope: Scope = "v1"
    models: tuple[Annotated[str, StringConstraints(max_length=300)], ...] = Field(default=(), max_length=100)


class MadeToken(Answer):
    """A new token; `secret` is shown this once and kept nowhere."""

    token: TokenInfo
    secret: str


@blueprint.get("")
@document_response(TokenList)
async def tokens() -> Response:
    """List the caller's tokens."""
    found = reversed(services().views.tokens.of_user(person().user.id))
    return jsonify(TokenList(tokens=[token_info(t) for t in found]).model_dump())


@blueprint.post("")
@document_response(MadeToken)
@validate_request(NewToken)
async def create(data: NewToken) -> Response:
    """Make a token."""
    who = person()
    if data.models and data.scope != "v1":
        raise Invalid(
            "A token for some models only is good for /v1 only: choose the scope `v1`, or leave `models` empty.",
            code="models_need_v1",
        )
    for model in data.models:
        services().backends.for_model(model)
        if not model.isprintable():
            raise Invalid("A model's name has printable characters only.", code="bad_model")
    token, secret = await services().tokens.create(
        who.user.id,
        name=data.name,
        scope=data.scope,
        models=data.models,
        expires_at=data.expires_at,
        origin=who.origin,
    )
    return jsonify(MadeToken(token=token_info(token), secret=secret).model_dump())


@blueprint.delete("/<token_id>")
async def revoke(token_id: str) -> tuple[str, int]:
    """Make a token void, at once."""
    who = person()
    await services().tokens.revoke(token_id, who.user.id, who.origin)
    return "", 204


def token_info(token: Token) -> TokenInfo:
    """Describe a token without its secret."""
    changed_at = services().views.users.get(token.user_id).password_changed_at
    return TokenInfo(
        id=token.id,
        name=token.name,
        prefix=token.prefix,
        scope=token.scope,
        models=token.models.split("\n") if token.models else [],
        created_at=token.created_at,
        expires_at=token.expires_at,
        last_used_at=services().usage.token_used_at(token.user_id, token.id) or token.last_used_at,
        older_than_password=token.created_at < changed_at,
    )
