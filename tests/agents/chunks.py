"""OpenAI's chat completions as test agents and test models send them."""

from typing import Any

import orjson

ABOUT: dict[str, Any] = {"id": "chatcmpl-test", "created": 1, "model": "test"}
USAGE = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
DONE = b"data: [DONE]\n\n"


def chunk(text: str = "", reason: str | None = None, **more: Any) -> bytes:
    """Return one frame of a streamed answer."""
    delta = {"content": text} if text else {}
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return frame({**ABOUT, "object": "chat.completion.chunk", "choices": [choice], **more})


def tool_call_chunk(name: str, arguments: dict[str, Any]) -> bytes:
    """Return the frame in which a model calls a tool."""
    function = {"name": name, "arguments": orjson.dumps(arguments).decode()}
    delta = {"tool_calls": [{"index": 0, "id": "call-1", "type": "function", "function": function}]}
    choice = {"index": 0, "delta": delta, "finish_reason": None}
    return frame({**ABOUT, "object": "chat.completion.chunk", "choices": [choice]})


def usage_chunk() -> bytes:
    """Return the frame that tells the usage."""
    return frame({**ABOUT, "object": "chat.completion.chunk", "choices": [], "usage": USAGE})


def completion(text: str) -> dict[str, Any]:
    """Return an answer that is not streamed."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return {**ABOUT, "object": "chat.completion", "choices": [choice], "usage": USAGE}


def frame(data: object) -> bytes:
    """Return a server-sent event."""
    return b"data: " + orjson.dumps(data) + b"\n\n"


def last_user_text(messages: list[dict[str, Any]]) -> str:
    """Return what the user said last."""
    said = [m["content"] for m in messages if m.get("role") == "user"]
    if not said:
        return ""
    return said[-1] if isinstance(said[-1], str) else "".join(p.get("text", "") for p in said[-1])
