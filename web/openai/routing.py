"""Which agent a request is for, and in which session."""

from dataclasses import dataclass
from typing import Any

from domain.backends.adaptation import conversation_session, user_session
from domain.backends.definition import Backend
from domain.errors import Invalid
from projections.agents import Agent
from web.auth.guard import Caller
from web.openai.body import is_form, multipart_model, parse_json
from web.services import Services


@dataclass(frozen=True, slots=True)
class Destination:
    """An agent and a session; `body` is the parsed JSON, None when the request carries none."""

    model: str
    backend: Backend
    agent: Agent
    session: str
    body: dict[str, Any] | None


async def destination(
    services: Services, caller: Caller, body: bytes, headers: dict[str, str], query_model: str
) -> Destination:
    """Resolve the model that a request names, in its JSON, its form or its query string.

    `user: "agstack-<conversation id>"` leads to that conversation's agent. Raises NotFound, Invalid or Forbidden.
    """
    parsed: dict[str, Any] | None = None
    if is_form(headers):
        model = multipart_model(body, headers["content-type"])
    elif body:
        parsed = await parse_json(body)
        model = parsed.get("model", "")
        if not isinstance(model, str):
            raise Invalid("`model` must be a string.", code="invalid_model")
    else:
        model = query_model
    if not model:
        raise Invalid(
            "Say which agent is meant: send `model` in the body or as a query parameter. "
            "GET /v1/models lists them.",
            code="model_missing",
        )
    backend = services.backends.for_model(model)
    caller.check_model(model)
    named = parsed.get("user") if parsed else None
    if isinstance(named, str) and named.startswith(conversation_session("")) and len(named) < 100:
        summary = services.views.conversations.find(named.removeprefix(conversation_session("")))
        if summary and summary.user_id == caller.user.id and summary.backend == backend.name:
            agent = services.views.agents.owned(summary.agent_id, caller.user.id)
            return Destination(model, backend, agent, named, parsed)
    agent = await services.agents.first(caller.user.id, backend, caller.origin)
    return Destination(model, backend, agent, user_session(caller.user.id), parsed)
