"""Fitting an OpenAI chat request to what one backend takes, as its definition declares."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from domain.backends.definition import Backend
from domain.errors import Invalid

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Adapted:
    """Headers to add, and the body to send: None when the client's own bytes can go as they are."""

    headers: Mapping[str, str]
    body: Json | None


def conversation_session(conversation_id: str) -> str:
    """Return the session of a conversation, which a client may also name as `user` in a request."""
    return f"agstack-{conversation_id}"


def user_session(user_id: str) -> str:
    """Return the session of a user's requests that name no conversation: never shared between users."""
    return f"agstack-u{user_id}"


def adapt(backend: Backend, body: Json, *, session: str, model_override: str, first: bool) -> Adapted:
    """Fit `body` to `backend`.

    `first` tells that the agent has seen nothing of this session yet: then, for an agent that takes one message a
    request, the history that came along is folded into it. Raises Invalid when there is no user message.
    """
    headers: dict[str, str] = {}
    changed: Json = {}
    removed: set[str] = set()
    if backend.session and backend.session.place == "header":
        headers[backend.session.name] = session
    elif backend.session:
        changed[backend.session.name] = session
    if backend.model_handling != "keep":
        removed.add("model")
        if backend.model_handling == "override" and model_override:
            changed["model"] = model_override
    if backend.history == "last_user" and "messages" in body:
        changed["messages"] = [one_message(body["messages"], fold=first)]
    if not changed and not removed & body.keys():
        return Adapted(headers, None)
    return Adapted(headers, {**{k: v for k, v in body.items() if k not in removed}, **changed})


def one_message(messages: object, *, fold: bool) -> Json:
    """Return the last user message alone or, with `fold`, one that tells the history before it too."""
    if not isinstance(messages, list) or not all(isinstance(m, dict) for m in messages):
        raise Invalid("`messages` must be a list of objects with `role` and `content`.", code="bad_messages")
    last = next((i for i in reversed(range(len(messages))) if messages[i].get("role") == "user"), None)
    if last is None:
        raise Invalid("`messages` holds no user message to answer.", code="no_user_message")
    question: Json = messages[last]
    before: Sequence[Json] = [m for m in messages[:last] if text_of(m)]
    if not fold or not before:
        return question
    told = "\n\n".join(f"{m.get('role', 'user')}: {text_of(m)}" for m in before)
    prefix = f"The conversation so far:\n\n{told}\n\nNow answer this message of the user:\n\n"
    content = question.get("content")
    if isinstance(content, list):  # Parts: keep the images and files of the question.
        return {**question, "content": [{"type": "text", "text": prefix}, *content]}
    return {**question, "content": prefix + text_of(question)}


def text_of(message: Json) -> str:
    """Return the text of a message whose content is a string or a list of parts."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(str(p["text"]) for p in content if isinstance(p, dict) and "text" in p)
    return ""
