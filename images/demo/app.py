"""The demo agent's HTTP surface, as a plain ASGI application."""

import hmac
import itertools
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import trio

from images.demo.answers import answer

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

MODEL = "demo"
MAX_BODY = 32 * 1024 * 1024
_WORD = re.compile(r"\s*\S+\s*")
_numbers = itertools.count(1)


class _Refused(Exception):
    def __init__(self, status: int, message: str, kind: str = "invalid_request_error") -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind


class DemoAgent:
    """Answers /health, /v1/models and /v1/chat/completions."""

    def __init__(self, *, api_key: str = "", words_per_second: float = 40) -> None:
        self._api_key = api_key
        self._pause = 1 / words_per_second if words_per_second > 0 else 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await _lifespan(receive, send)
            return
        try:
            await self._route(scope, receive, send)
        except _Refused as refused:
            error = {"message": str(refused), "type": refused.kind, "param": None, "code": None}
            await _json(send, {"error": error}, refused.status)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = (scope["method"], scope["path"])
        if call == ("GET", "/health"):
            await _json(send, {"status": "ok"})
            return
        self._check_key(scope)
        if call == ("GET", "/v1/models"):
            model = {"id": MODEL, "object": "model", "created": 0, "owned_by": "agent-stack"}
            await _json(send, {"object": "list", "data": [model]})
        elif call == ("POST", "/v1/chat/completions"):
            await self._complete(await _body(receive), receive, send)
        else:
            raise _Refused(404, f"The demo agent has no {scope['method']} {scope['path']}.")

    def _check_key(self, scope: Scope) -> None:
        given = dict(scope["headers"]).get(b"authorization", b"")
        if self._api_key and not hmac.compare_digest(given, f"Bearer {self._api_key}".encode()):
            raise _Refused(401, "The key is wrong.", "authentication_error")

    async def _complete(self, body: dict[str, Any], receive: Receive, send: Send) -> None:
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages or not all(isinstance(m, dict) for m in messages):
            raise _Refused(400, "`messages` must be a list of one or more messages.")
        text = answer(messages)
        usage = _usage(messages, text)
        base = {
            "id": f"chatcmpl-demo-{next(_numbers)}",
            "created": int(time.time()),
            "model": str(body.get("model") or MODEL),
        }
        if not body.get("stream"):
            choice = {
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": "stop",
            }
            await _json(send, {**base, "object": "chat.completion", "choices": [choice], "usage": usage})
            return
        options = body.get("stream_options")
        wants_usage = isinstance(options, dict) and bool(options.get("include_usage"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_on_disconnect, receive, nursery.cancel_scope)
            await self._stream(base, text, usage if wants_usage else None, send)
            nursery.cancel_scope.cancel()

    async def _stream(self, base: dict[str, Any], text: str, usage: dict[str, int] | None, send: Send) -> None:
        async def chunk(choices: list[dict[str, Any]], **more: Any) -> None:
            frame = {**base, "object": "chat.completion.chunk", "choices": choices, **more}
            await _send_body(send, b"data: " + orjson.dumps(frame) + b"\n\n", more=True)

        def choice(delta: dict[str, Any], reason: str | None = None) -> list[dict[str, Any]]:
            return [{"index": 0, "delta": delta, "finish_reason": reason}]

        headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await chunk(choice({"role": "assistant", "content": ""}))
        for word in _WORD.findall(text):
            await chunk(choice({"content": word}))
            await trio.sleep(self._pause)
        await chunk(choice({}, "stop"))
        if usage:
            await chunk([], usage=usage)
        await _send_body(send, b"data: [DONE]\n\n", more=True)
        await _send_body(send, b"", more=False)


def _usage(messages: list[dict[str, Any]], text: str) -> dict[str, int]:
    """Count words as tokens: there is no tokenizer without a model."""
    asked = sum(len(str(m.get("content", "")).split()) for m in messages)
    said = len(text.split())
    return {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}


async def _body(receive: Receive) -> dict[str, Any]:
    data, more = bytearray(), True
    while more:
        message = await receive()
        data += message.get("body", b"")
        more = message.get("more_body", False)
        if len(data) > MAX_BODY:
            raise _Refused(413, "The body is too large.")
    try:
        found = orjson.loads(bytes(data))
    except orjson.JSONDecodeError:
        raise _Refused(400, "The body is not JSON.") from None
    if not isinstance(found, dict):
        raise _Refused(400, "The body is not a JSON object.")
    return found


async def _cancel_on_disconnect(receive: Receive, scope: trio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


async def _json(send: Send, answer_: dict[str, Any], status: int = 200) -> None:
    data = orjson.dumps(answer_)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(data)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await _send_body(send, data, more=False)


async def _send_body(send: Send, data: bytes, *, more: bool) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": more})


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
