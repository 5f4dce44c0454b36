"""Conversations as files to keep."""

import re
from datetime import UTC, datetime
from typing import Any

import orjson
from quart import Blueprint, Response, request
from quart_schema import tag_blueprint

from domain.conversations.state import Conversation
from domain.errors import Invalid
from projections.conversations import Summary
from web.context import caller, services
from web.conversations.shapes import message_info

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
    summary = services().views.conversations.owned(conversation_id, who.user.id)
    state = await services().conversations.load(conversation_id, who.user.id)
    if kind == "json":
        return as_file(orjson.dumps(plain(summary, state), option=orjson.OPT_INDENT_2), summary.title, "json")
    return as_file(_markdown(summary, state).encode(), summary.title, "md")


def plain(summary: Summary, state: Conversation) -> dict[str, Any]:
    """Return a conversation with its messages as plain values."""
    about = ("id", "backend", "model", "agent_id", "title")
    return {
        **{name: getattr(summary, name) for name in about},
        "created_at": int(summary.created_at),
        "updated_at": int(summary.updated_at),
        "messages": [message_info(m) for m in state.messages],
    }


def as_file(data: bytes, title: str, suffix: str) -> Response:
    """Return a response that browsers save under a name made of `title`."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", title).strip("-").lower()[:60] or "conversation"
    kind = {"json": "application/json", "md": "text/markdown; charset=utf-8"}[suffix]
    headers = {"Content-Disposition": f'attachment; filename="{name}.{suffix}"', "Cache-Control": "no-store"}
    return Response(data, content_type=kind, headers=headers)


def _markdown(summary: Summary, state: Conversation) -> str:
    parts = [f"# {summary.title or 'Conversation'}", f"{summary.backend}, {_time(summary.created_at)}"]
    for message in state.messages:
        parts += [f"## {_NAMES[message.role]}, {_time(message.created_at)}", message.content]
    return "\n\n".join(parts) + "\n"


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
