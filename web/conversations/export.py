"""Conversations as files to keep."""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from quart import Blueprint, Response, request
from quart_schema import tag_blueprint

from domain.conversations.state import Conversation
from domain.errors import Invalid
from projections.conversations import Summary
from web.context import caller, services, take_desk
from web.conversations.shapes import message_info
from web.pieces import Pieces, gathered, json_object

blueprint = Blueprint("export", __name__, url_prefix="/api/conversations")
tag_blueprint(blueprint, ["conversations"])

_NAMES = {"user": "You", "assistant": "Agent", "system": "System", "error": "Error"}


@blueprint.get("/<conversation_id>/export")
async def export(conversation_id: str) -> Response:
    """Return a conversation as a file: `format=markdown` (unless given) or `format=json`."""
    who = caller()
    kind = request.args.get("format", "markdown")
    if kind not in {"markdown", "json"}:
        raise Invalid("`format` must be `markdown` or `json`.", code="bad_format")
    await take_desk()
    summary = services().views.conversations.owned(conversation_id, who.user.id)
    state = await services().conversations.load(conversation_id, who.user.id)
    pieces = as_json(summary, state) if kind == "json" else _as_markdown(summary, state)
    return _as_file(pieces, summary.title, "json" if kind == "json" else "md")


def as_json(summary: Summary, state: Conversation) -> Iterator[bytes]:
    """Yield a conversation with its messages as JSON, in pieces."""
    names = ("id", "backend", "model", "agent_id", "title")
    about = {
        **{name: getattr(summary, name) for name in names},
        "created_at": int(summary.created_at),
        "updated_at": int(summary.updated_at),
    }
    return json_object(about, "messages", map(message_info, state.messages))


def _as_file(pieces: Iterable[bytes], title: str, suffix: str) -> Response:
    """Return a response that browsers save under a name made of `title`."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", title).strip("-").lower()[:60] or "conversation"
    kind = {"json": "application/json", "md": "text/markdown; charset=utf-8"}[suffix]
    headers = {"Content-Disposition": f'attachment; filename="{name}.{suffix}"', "Cache-Control": "no-store"}
    return Response(Pieces(pieces), content_type=kind, headers=headers)


def _as_markdown(summary: Summary, state: Conversation) -> Iterator[bytes]:
    return gathered(_markdown(summary, state))


def _markdown(summary: Summary, state: Conversation) -> Iterator[bytes]:
    yield f"# {summary.title or 'Conversation'}\n\n{summary.backend}, {_time(summary.created_at)}\n".encode()
    for message in state.messages:
        head = f"## {_NAMES[message.role]}, {_time(message.created_at)}"
        yield f"\n{head}\n\n{message.content}\n".encode()


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
