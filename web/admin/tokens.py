"""/api/admin/tokens: whose is a token that was found somewhere, and making it void."""

from quart import Blueprint, Response, jsonify, request
from quart_schema import document_response, tag_blueprint

from domain.errors import Invalid, NotFound
from domain.tokens.rules import PREFIX
from web.account.tokens import TokenInfo, token_info
from web.context import admin_origin, person, services
from web.schemas import Answer

blueprint = Blueprint("admin_tokens", __name__, url_prefix="/api/admin/tokens")
tag_blueprint(blueprint, ["admin"])

_SHORTEST = len(PREFIX) + 4


class FoundToken(TokenInfo):
    """A token and whose it is."""

    user_id: str
    email: str


class FoundTokens(Answer):
    """The tokens that begin so."""

    tokens: list[FoundToken]


@blueprint.get("")
@document_response(FoundTokens)
async def find() -> Response:
    """Find the tokens that begin with `prefix`: 7 characters at least, or a whole token."""
    admin_origin()
    prefix = request.args.get("prefix", "").strip()
    if not prefix.startswith(PREFIX) or len(prefix) < _SHORTEST:
        raise Invalid(
            f"Give the beginning of a token as `prefix`, {_SHORTEST} characters at least.", code="bad_prefix"
        )
    views = services().views
    found = [
        FoundToken(
            **token_info(token).model_dump(), user_id=token.user_id, email=views.users.get(token.user_id).email
        )
        for token in views.tokens.beginning_with(prefix)
    ]
    return jsonify(FoundTokens(tokens=found).model_dump())


@blueprint.delete("/<token_id>")
async def revoke(token_id: str) -> tuple[str, int]:
    """Make anybody's token void, at once."""
    origin = admin_origin()
    token = services().views.tokens.find(token_id)
    if token is None:
        raise NotFound("There is no such token.")
    if origin.actor == f"user:{token.user_id}":
        person()  # Of its own account, a program may end no token but by an end of its own.
    await services().tokens.revoke(token.id, token.user_id, origin)
    return "", 204
