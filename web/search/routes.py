"""/api/search: full-text search over the caller's messages."""

from quart import Blueprint, Response, jsonify, request
from quart_schema import document_response, tag_blueprint

from domain.errors import Invalid
from projections.search import BEGIN, END, Hit
from web.context import caller, services
from web.schemas import Answer

blueprint = Blueprint("search", __name__, url_prefix="/api/search")
tag_blueprint(blueprint, ["search"])

_LONGEST = 200
_MOST = 100
_USUAL = 30


class Part(Answer):
    """A piece of an excerpt; `hit` tells whether it is one of the words that were looked for."""

    text: str
    hit: bool


class SearchHit(Answer):
    """A message that holds every word."""

    conversation_id: str
    title: str
    backend: str
    message_id: str
    role: str
    created_at: int
    excerpt: list[Part]


class SearchHits(Answer):
    """The newest messages first."""

    results: list[SearchHit]


@blueprint.get("")
@document_response(SearchHits)
async def search() -> Response:
    """Find the messages that hold every word of `q`; `limit` is 30 unless given, at most 100."""
    user = caller().user
    text = request.args.get("q", "").strip()
    try:
        limit = int(request.args.get("limit", _USUAL))
    except ValueError:
        limit = 0
    if not 1 <= limit <= _MOST:
        raise Invalid(f"`limit` must be a number from 1 to {_MOST}.", code="bad_limit")
    if len(text) > _LONGEST or "\0" in text:
        raise Invalid(f"Search for at most {_LONGEST} characters.", code="long_query")
    hits = await services().search.find(user.id, text, limit)
    return jsonify(SearchHits(results=[s for h in hits if (s := _shown(h, user.id))]).model_dump())


def _shown(hit: Hit, user_id: str) -> SearchHit | None:
    summary = services().views.conversations.find(hit.conversation_id)
    if summary is None or summary.user_id != user_id:
        return None
    return SearchHit(
        conversation_id=hit.conversation_id,
        title=summary.title,
        backend=summary.backend,
        message_id=hit.message_id,
        role=hit.role,
        created_at=int(hit.created_at),
        excerpt=_parts(hit.excerpt),
    )


def _parts(excerpt: str) -> list[Part]:
    first, *rest = excerpt.split(BEGIN)
    parts = [Part(text=first.replace(END, ""), hit=False)]
    for piece in rest:
        found, _, after = piece.partition(END)
        parts += [Part(text=found, hit=True), Part(text=after, hit=False)]
    return [part for part in parts if part.text]
