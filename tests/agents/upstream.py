"""A scripted model server for real agents: streamed chat completions, and a note of what it was asked.

Run it in a thread with `with Upstream() as upstream:`; its answer is the question in capitals.
"""

import threading
from typing import Any, Self

import trio

from tests.agents.chunks import DONE, chunk, completion, last_user_text, usage_chunk
from tests.agents.wire import EVENT_STREAM, GoneError, Request, Wire


class Upstream:
    """Serves POST .../chat/completions on a free port. `requests` are the bodies that came in, oldest first."""

    def __init__(self) -> None:
        self.port = 0
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
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            self.port = listeners[0].socket.getsockname()[1]
            self._ready.set()
            await trio.serve_listeners(self._serve, listeners)

    async def _serve(self, stream: trio.SocketStream) -> None:
        wire = Wire(stream)
        async with stream:
            try:
                async for request in wire.requests():
                    await self._respond(request, wire)
            except GoneError:
                pass

    async def _respond(self, request: Request, wire: Wire) -> None:
        if not request.path.endswith("/chat/completions"):
            await wire.json({"object": "list", "data": []})
            return
        body = request.json()
        self.requests.append(body)
        text = last_user_text(body["messages"]).upper()
        if not body.get("stream"):
            await wire.json(completion(text))
            return
        await wire.start(200, EVENT_STREAM)
        for word in text.split(" "):
            await wire.data(chunk(f"{word} "))
        await wire.data(chunk(reason="stop"))
        await wire.data(usage_chunk())
        await wire.data(DONE)
        await wire.finish()
