"""/api/internal: an agent posts to its user's conversation. Its runner's own key opens this, and nothing else."""

import hmac
import time
from typing import Annotated, Any

import orjson
from pydantic import Field, StringConstraints, field_validator
from pydantic_core import PydanticCustomError
from quart import Blueprint, Response, jsonify
from quart_schema import document_response, tag_blueprint, validate_request

from domain.conversations.events import MessageRole
from domain.errors import Conflict, Forbidden, NotFound, Unauthenticated
from eventlog.envelope import Origin
from projections.conversations import Summary
from web.auth.guard import bearer
from web.context import correlation, headers, services
from web.schemas import Answer, Request

blueprint = Blueprint("callback", __name__, url_prefix="/api/internal")
tag_blueprint(blueprint, ["callback"])

MESSAGE = "message"
MAX_PAYLOAD_BYTES = 256 * 1024
"""What may come along with a message. How deep and how full it may be is bounded for all bodies alike."""


class AgentEvent(Request):
    """What an agent says. Only a `message` with `persist` is kept; anything else is shown to who is watching."""

    conversation_id: str | None = None
    role: MessageRole = "assistant"
    kind: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")] = MESSAGE
    content: str = Field(max_length=1_000_000)
    persist: bool = True
    payload: dict[str, Any] | None = None

    @field_validator("payload")
    @classmethod
    def _is_small(cls, payload: dict[str, Any] | None) -> dict[str, Any] | None:
        if payload is not None and len(orjson.dumps(payload)) > MAX_PAYLOAD_BYTES:
            raise PydanticCustomError(
                "too_large", "It may take {kib} KiB as JSON at the most.", {"kib": MAX_PAYLOAD_BYTES // 1024}
            )
        return payload


class AgentEventTaken(Answer):
    """What became of it; `message_id` is null when it was not kept."""

    message_id: str | None
    conversation_id: str
    created_at: int


@blueprint.post("/agents/<agent_id>/event")
@document_response(AgentEventTaken)
@validate_request(AgentEvent)
async def agent_event(agent_id: str, data: AgentEvent) -> Response:
    """Post to the conversation that is named, or to the agent's most recently active one."""
    origin = identified(agent_id)
    services().quota.take_post(agent_id)
    summary = _conversation(agent_id, data.conversation_id)
    services().allowance.check_log(summary.user_id)
    if data.kind == MESSAGE and data.persist:
        size = len(orjson.dumps(data.payload)) if data.payload else 0
        services().quota.take_text(summary.user_id, data.content, size)
        message = await services().conversations.post(
            summary.id, summary.user_id, data.role, data.content, origin, extra=data.payload
        )
        return _taken(summary, message.id, message.created_at)
    now = time.time()
    said = {"role": data.role, "content": data.content, "created_at": int(now)}
    about = {"id": None, "conversation_id": summary.id, "agent_id": agent_id}
    services().broadcasts.send(summary.id, data.kind, {**about, **said, "extra": data.payload or {}})
    return _taken(summary, None, now)


def identified(agent_id: str) -> Origin:
    """Return the origin of a runner's request. Raises unless the key is that of the agent's runner of just now."""
    key = bearer(headers())
    if not key:
        raise Unauthenticated("Send the runner's key: `Authorization: Bearer $AGENT_STACK_RUNNER_API_KEY`.")
    supervisor = services().pool.find(agent_id)
    run = supervisor.run_now if supervisor else None
    if run is None or run.exited.is_set() or run.closed.is_set():
        raise NotFound("This agent has no runner.")
    if not hmac.compare_digest(key.encode(), run.key.encode()):
        raise Forbidden("This is not the key of the agent's runner.", code="wrong_key")
    return Origin(f"runner:{run.runner_id}", correlation())


def _conversation(agent_id: str, conversation_id: str | None) -> Summary:
    conversations = services().views.conversations
    if conversation_id is None:
        own = conversations.of_agent(agent_id)
        if not own:
            raise Conflict("This agent has no conversation yet.", code="no_conversation")
        return max(own, key=lambda c: c.updated_at)
    found = conversations.find(conversation_id)
    if found is None or found.agent_id != agent_id:
        raise NotFound("There is no such conversation of this agent.")
    return found


def _taken(summary: Summary, message_id: str | None, at: float) -> Response:
    taken = AgentEventTaken(message_id=message_id, conversation_id=summary.id, created_at=int(at))
    return jsonify(taken.model_dump())
