"""A scripted model server for real agents: streamed chat completions, and a note of what it was asked.

Run it in a thread with `with Upstream() as upstream:`; its answer is the question in capitals.
"""

import json
import re
import threading
from contextlib import aclosing
from typing import Any, Self

import trio

from tests.agents.chunks import DONE, chunk, last_user_text, tool_call_chunk, usage_chunk
from tests.agents.wire import EVENT_STREAM, GoneError, Request, Wire

DOWN = -1


class Upstream:
    """Serves POST .../chat/completions on a free port. `requests` are the bodies that came in, oldest first.

    With `refusal`, an HTTP status, it refuses them all; with DOWN it hangs up on them. The message `run: <command>`
    is answered with a call of the agent's shell tool, whichever of its tools has a `command`; `call: <tool> <JSON>`
    with a call of that tool.
    """

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.port = 0
        self.refusal = 0
        self._host = host
        self.requests: list[dict[str, Any]] = []
        self._scope = trio.CancelScope()
        self._token: trio.lowlevel.TrioToken | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=trio.run, args=(self._main,), name="upstream")

    @property
    def url(self) -> str:
        """The base URL to configure in an agent."""
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._token is not None
        self._token.run_sync_soon(self._scope.cancel)
        self._thread.join(30)

    async def _main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        with self._scope:
            listeners = await trio.open_tcp_listeners(0, host=self._host)
            self.port = listeners[0].socket.getsockname()[1]
            self._ready.set()
            await trio.serve_listeners(self._serve, listeners)

    async def _serve(self, stream: trio.SocketStream) -> None:
        wire = Wire(stream)
        async with stream:
            try:
                async with aclosing(wire.requests()) as requests:
                    async for request in requests:
                        await self._respond(request, wire)
            except GoneError:
                pass

    async def _respond(self, request: Request, wire: Wire) -> None:
        if not request.path.endswith("/chat/completions"):
            await wire.json({"object": "list", "data": []})
            return
        body = request.json()
        self.requests.append(body)
        assert body.get("stream"), "all three agents ask for streams"
        if self.refusal == DOWN:
            raise GoneError
        if self.refusal:
            error = {"message": f"Refused with {self.refusal}: bad key", "type": "invalid_request_error"}
            await wire.json({"error": error}, status=self.refusal)
            return
        messages = _without_asides(body["messages"])
        text = _question(messages)
        call = _wanted_call(text, body)
        last = messages[-1]
        await wire.start(200, EVENT_STREAM)
        if call and last["role"] != "tool":
            await wire.data(tool_call_chunk(*call))
            await wire.data(chunk(reason="tool_calls"))
        else:
            said = f"the tool said {last['content']}" if last["role"] == "tool" else text.upper()
            for word in said.split(" "):
                await wire.data(chunk(f"{word} "))
            await wire.data(chunk(reason="stop"))
        await wire.data(usage_chunk())
        await wire.data(DONE)
        await wire.finish()


def _wanted_call(text: str, body: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """Return the tool that the user wants called and its arguments, None when it is none."""
    _, asked, command = text.partition("run: ")
    if asked:
        return _shell(body), {"command": command.partition("\n")[0]}
    _, asked, wanted = text.partition("call: ")
    name, _, arguments = wanted.partition("\n")[0].partition(" ")
    return (name, json.loads(arguments)) if asked else None


def _shell(body: dict[str, Any]) -> str:
    """Return the name of the tool that takes a command."""
    functions = [tool["function"] for tool in body.get("tools", [])]
    return next((str(f["name"]) for f in functions if "command" in f["parameters"].get("properties", {})), "none")


def _without_asides(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Drop what OpenClaw itself says in the user's name."""
    return [m for m in messages if not last_user_text([m]).startswith("<<<")]


def _question(messages: list[dict[str, Any]]) -> str:
    """Return what the user said last, without the time and the surroundings that OpenClaw adds."""
    return re.sub(r"^\[[^]]*\] ", "", last_user_text(messages)).partition("\n\nRuntime:")[0]
