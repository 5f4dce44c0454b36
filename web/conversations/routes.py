"""/api/conversations."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Literal

from pydantic import Field
from quart import Blueprint, Response, jsonify, request
from quart_schema import document_response, tag_blueprint, validate_request

from domain.conversations.state import MAX_CONTENT
from domain.errors import Invalid, NotFound
from projections.agents import Agent
from web.auth.guard import Caller
from web.context import caller, services, take_desk
from web.conversations.commands import delete_conversation
from web.conversations.shapes import (
    ConversationInfo,
    MessageInfo,
    TurnInfo,
    conversation_info,
    message_info,
    turn_info,
)
from web.conversations.stream import ConversationSource, Seen, parse_event_id
from web.pieces import Pieces, json_object
from web.schemas import Answer, Request
from web.sse import event_stream

blueprint = Blueprint("conversations", __name__, url_prefix="/api/conversations")
tag_blueprint(blueprint, ["conversations"])


class ConversationList(Answer):
    """The caller's conversations, newest activity first."""

    conversations: list[ConversationInfo]


class OneConversation(Answer):
    """A conversation."""

    conversation: ConversationInfo


class WholeConversation(OneConversation):
    """A conversation with its messages. A stream opened with `event_id` goes on exactly from this answer."""

    messages: list[MessageInfo]
    last_turn: TurnInfo | None
    event_id: str


class OneMessage(Answer):
    """A message."""

    message: MessageInfo


class OneTurn(Answer):
    """A turn."""

    turn: TurnInfo


class NewConversation(Request):
    """A conversation to open, with an agent or with the first agent of a backend."""

    agent_id: str | None = None
    backend: str | None = None
    model: str | None = Field(default=None, max_length=200)
    title: str | None = None


class NewTitle(Request):
    """A title; it is cut at 200 characters."""

    title: str


class NewMessage(Request):
    """A message that asks for no answer."""

    role: Literal["user", "assistant", "system", "error"]
    content: str = Field(max_length=MAX_CONTENT)


class NewTurn(Request):
    """A message to answer."""

    content: str = Field(max_length=MAX_CONTENT)
    model: str | None = Field(default=None, max_length=200)


@blueprint.get("")
@document_response(ConversationList)
async def conversations() -> Response:
    """List the caller's conversations."""
    await take_desk()
    user_id, parts = caller().user.id, services()
    views = parts.views
    found = views.conversations.of_user(user_id)
    ranks: dict[str, dict[str, int]] = defaultdict(dict)
    for backend in {c.backend for c in found}:
        ranks[backend] = views.conversations.ranks(user_id, backend)
    # Made while they are sent, when there is no request any more to ask for the services.
    shown = (conversation_info(parts, c, ranks[c.backend]).model_dump() for c in found)
    return _json(json_object({}, "conversations", shown))


@blueprint.post("")
@document_response(OneConversation)
@validate_request(NewConversation)
async def create(data: NewConversation) -> Response:
    """Open a conversation."""
    who = caller()
    agent = await _agent_for(data, who)
    opened = await services().conversations.start(agent, data.model or "", data.title or "", who.origin)
    return jsonify(OneConversation(conversation=conversation_info(services(), opened)).model_dump())


@blueprint.get("/<conversation_id>")
@document_response(WholeConversation)
async def read(conversation_id: str) -> Response:
    """Return a conversation with its messages."""
    return await _whole(conversation_id, caller())


@blueprint.get("/by-slug/<string:backend>/<int:seq>")
@document_response(WholeConversation)
async def read_by_slug(backend: str, seq: int) -> Response:
    """Return a conversation by backend and rank."""
    who = caller()
    ranks = services().views.conversations.ranks(who.user.id, backend)
    found = next((id_ for id_, rank in ranks.items() if rank == seq), None)
    if found is None:
        raise NotFound("There is no such conversation.")
    return await _whole(found, who)


@blueprint.patch("/<conversation_id>")
@document_response(OneConversation)
@validate_request(NewTitle)
async def rename(conversation_id: str, data: NewTitle) -> Response:
    """Give a conversation another title."""
    who = caller()
    renamed = await services().conversations.rename(conversation_id, who.user.id, data.title, who.origin)
    return jsonify(OneConversation(conversation=conversation_info(services(), renamed)).model_dump())


@blueprint.delete("/<conversation_id>")
async def delete(conversation_id: str) -> tuple[str, int]:
    """Delete a conversation."""
    await delete_conversation(services(), conversation_id, caller())
    return "", 204


@blueprint.post("/<conversation_id>/messages")
@document_response(OneMessage)
@validate_request(NewMessage)
async def post(conversation_id: str, data: NewMessage) -> Response:
    """Append a message without asking for an answer."""
    who = caller()
    services().quota.take_text(who.user.id, data.content)
    posted = await services().conversations.post(conversation_id, who.user.id, data.role, data.content, who.origin)
    return jsonify({"message": message_info(posted)})


@blueprint.delete("/<conversation_id>/messages/after/<message_id>")
async def drop_after(conversation_id: str, message_id: str) -> tuple[str, int]:
    """Drop every message later than one."""
    who = caller()
    await services().conversations.drop_after(conversation_id, who.user.id, message_id, who.origin)
    return "", 204


@blueprint.get("/<conversation_id>/stream")
async def stream(conversation_id: str) -> Response:
    """Follow a conversation as server-sent events.

    With the header Last-Event-ID, or `last_event_id` in the query, it goes on from where the client left off.
    """
    who = caller()
    summary = services().views.conversations.owned(conversation_id, who.user.id)
    seen = parse_event_id(request.headers.get("Last-Event-ID") or request.args.get("last_event_id", ""))
    return event_stream(ConversationSource(services(), summary, seen), services().lifecycle)


@blueprint.post("/<conversation_id>/turns")
@document_response(OneTurn, 202)
@validate_request(NewTurn)
async def ask(conversation_id: str, data: NewTurn) -> tuple[Response, int]:
    """Post a message and have the agent answer it, whether or not anybody stays to watch."""
    who = caller()
    state = await services().conversations.load(conversation_id, who.user.id)
    live = await services().turns.ask(state, data.content, data.model or "", who.origin)
    return await _turn(conversation_id, live.id, who), 202


@blueprint.post("/<conversation_id>/turns/<turn_id>/cancel")
@document_response(OneTurn)
async def cancel(conversation_id: str, turn_id: str) -> Response:
    """Stop an answer and keep what has been written of it."""
    who = caller()
    state = await services().conversations.load(conversation_id, who.user.id)
    await services().turns.cancel(state, turn_id)
    return await _turn(conversation_id, turn_id, who)


@blueprint.post("/<conversation_id>/turns/<turn_id>/regenerate")
@document_response(OneTurn, 202)
async def regenerate(conversation_id: str, turn_id: str) -> tuple[Response, int]:
    """Drop an answer, and all after it, and ask again."""
    who = caller()
    state = await services().conversations.load(conversation_id, who.user.id)
    live = await services().turns.ask_again(state, turn_id, who.origin)
    return await _turn(conversation_id, live.id, who), 202


async def _agent_for(data: NewConversation, who: Caller) -> Agent:
    if data.agent_id:
        return services().views.agents.owned(data.agent_id, who.user.id)
    if data.backend:
        backend = services().backends.enabled(data.backend)
        return await services().agents.first(who.user.id, backend, who.origin)
    raise Invalid("Say which agent to talk to: send `agent_id` or `backend`.", code="no_agent")


async def _whole(conversation_id: str, who: Caller) -> Response:
    await take_desk()
    position = services().log.position
    state = await services().conversations.load(conversation_id, who.user.id)
    summary = services().views.conversations.owned(conversation_id, who.user.id)
    asked = {m.id for m in state.messages}
    last = next((t.id for t in reversed(state.turns.values()) if t.user_message_id in asked), None)
    about = {
        "conversation": conversation_info(services(), summary).model_dump(),
        "last_turn": turn_info(state, last) if last else None,
        "event_id": str(Seen(position)),
    }
    return _json(json_object(about, "messages", map(message_info, state.messages)))


def _json(pieces: Iterable[bytes]) -> Response:
    return Response(Pieces(pieces), content_type="application/json")


async def _turn(conversation_id: str, turn_id: str, who: Caller) -> Response:
    state = await services().conversations.load(conversation_id, who.user.id)
    return jsonify({"turn": turn_info(state, turn_id)})
