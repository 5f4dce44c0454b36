"""A test agent that does what the last user message says: `python -m tests.agents.scripted`.

SCRIPTED_PORT    port to listen on
SCRIPTED_HOST    address to listen on (default 127.0.0.1)
SCRIPTED_KEY     key that requests must present as Bearer
SCRIPTED_STUBBORN  not empty: it does not end on SIGTERM
SCRIPTED_BOOT    gate to wait for before listening
SCRIPTED_FOLDER  folder of gates (files that a test makes to let an answer go on) and notes (files that tell a test
                 how far the agent is)

The messages are the names of the functions of `Script`, with words after them: `say hello`, `gates g 3`.
What is not a chat is echoed, but for GET /health, /v1/models, /v1/blob and any /v1/responses. Paths may be spelled
in many ways, as many servers take them.
"""

import os
import posixpath
import signal
import sys
from array import array
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

import orjson
import trio

from tests.agents.chunks import DONE, chunk, completion, frame, last_user_text, usage_chunk
from tests.agents.wire import EVENT_STREAM, GoneError, Headers, Request, Wire

HOSTILE: Headers = [
    ("set-cookie", "agent_stack_session=stolen; Path=/"),
    ("access-control-allow-origin", "*"),
    ("access-control-allow-credentials", "true"),
    ("content-security-policy", "script-src *"),
    ("content-security-policy-report-only", "script-src *"),
    ("connection", "x-secret"),
    ("x-secret", "named by connection"),
    ("keep-alive", "timeout=1000"),
    ("server", "agent"),
    ("x-ratelimit-limit-requests", "5"),
    ("x-kept", "yes"),
]
EXIT_CODE = 3
_POLL_SECONDS = 0.01


class Script:
    """What the agent can be told to do."""

    def __init__(self, request: Request, wire: Wire, folder: Path) -> None:
        self._request = request
        self._body = request.json()
        self._wire = wire
        self._folder = folder

    async def run(self) -> None:
        """Do what the last user message says."""
        text = last_user_text(self._body["messages"])
        name, *words = text.split() or ["say"]
        does: Callable[..., Awaitable[None]] | None = getattr(self, f"do_{name}", None)
        if does is None or (not words and name == "say"):
            await self._answer([text])
        else:
            await does(*words)

    async def do_say(self, *words: str) -> None:
        """Answer with these words."""
        await self._answer([f"{w} " for w in words])

    async def do_chunks(self, number: str) -> None:
        """Answer in so many chunks."""
        await self._answer([f"{n} " for n in range(int(number))])

    async def do_gates(self, name: str, most: str) -> None:
        """Before each of `most` gates say a word; go on when the test opens it."""
        await self._wire.start(200, EVENT_STREAM)
        for number in range(int(most)):
            await self._wire.data(chunk(f"{name}-{number} "))
            await self._gate(f"{name}.{number}")
        await self._wire.data(chunk("end", "stop"))
        await self._wire.data(DONE)
        await self._wire.finish()

    async def do_silent(self, name: str) -> None:
        """Say nothing at all, not even a status, until the test opens the gate."""
        await self._gate(f"{name}.0")
        await self._answer(["spoken"])

    async def do_status(self, code: str) -> None:
        """Refuse."""
        error = {"message": f"scripted {code}", "type": "server_error", "param": None, "code": "scripted"}
        await self._wire.json({"error": error}, int(code))

    async def do_garbage(self, kind: str) -> None:
        """Answer with what is no chat completion, under a type that promises one."""
        kinds = {
            "html": ("text/event-stream", b"<html><body>Bad gateway</body></html>\n"),
            "frames": ("text/event-stream", b"data: {nonsense\n\ndata: [DONE]\n\n"),
            "json": ("application/json", b'{"choices": "none"'),
        }
        type_, data = kinds[kind]
        await self._wire.whole(200, data, [("content-type", type_)])

    async def do_error_frame(self) -> None:
        """Say something, then report an error in the stream, all in one packet."""
        await self._wire.start(200, EVENT_STREAM)
        error = b'data: {"error": {"message": "scripted error", "type": "server_error"}}\n\n'
        await self._wire.data(chunk("one ") + chunk("two ") + error)
        await self._wire.finish()

    async def do_cut(self) -> None:
        """Close the socket in the middle of a frame."""
        await self._begin("one ", "two ")
        await self._wire.data(chunk("three ")[:30])

    async def do_cut_between(self) -> None:
        """Close the socket between two frames."""
        await self._begin("one ", "two ")

    async def do_cut_json(self) -> None:
        """Promise a body, send half of it and close the socket."""
        await self._wire.start(200, [("content-type", "application/json"), ("content-length", "1000")])
        await self._wire.data(b'{"choices": [')

    async def do_die(self, name: str) -> None:
        """Say something; end the process when the test opens the gate."""
        await self._begin("one ", "two ")
        await self._gate(f"{name}.0")
        os._exit(EXIT_CODE)

    async def do_flood(self, name: str) -> None:
        """Send chunks for ever, and note how many bytes were taken."""
        await self._wire.start(200, EVENT_STREAM)
        data, sent = chunk("x" * 60_000), 0
        while True:
            await self._wire.data(data)
            sent += len(data)
            self._note(name, str(sent))

    async def do_babble(self) -> None:
        """Answer properly, then go on with comments for ever."""
        await self._begin("said ")
        await self._wire.data(chunk(reason="stop"))
        await self._wire.data(DONE)
        while True:
            await self._wire.data(b": still here\n\n")
            await trio.sleep(_POLL_SECONDS)

    async def do_line(self, megabytes: str) -> None:
        """Send a long line without an end, then end properly."""
        await self._wire.start(200, EVENT_STREAM)
        await self._wire.data(b"data: ")
        for _ in range(int(megabytes)):
            await self._wire.data(b"x" * 1_000_000)
        await self._wire.finish()

    async def do_hostile(self) -> None:
        """Set headers that an agent may not set."""
        await self._wire.json(completion("hostile"), headers=HOSTILE)

    async def do_header(self, name: str, value: str) -> None:
        """Set one header."""
        await self._wire.json(completion("header"), headers=[(name, value)])

    async def do_redirect(self) -> None:
        """Send the client elsewhere."""
        await self._wire.whole(307, b"", [("location", "http://127.0.0.1:1/elsewhere")])

    async def do_echo(self) -> None:
        """Answer with the request."""
        await echo(self._request, self._wire)

    async def do_whole(self) -> None:
        """Answer in one piece, whatever was asked for."""
        await self._wire.json(completion("in one piece"))

    async def do_usage(self, *words: str) -> None:
        """Answer, and tell this usage: JSON as it is, whether it makes sense or not."""
        told = b'"usage": ' + " ".join(words).encode() + b"}"
        if not self._body.get("stream"):
            body = orjson.dumps(completion("told"))
            await self._wire.whole(
                200, body.partition(b'"usage":')[0] + told, [("content-type", "application/json")]
            )
            return
        await self._begin("told")
        await self._wire.data(b'data: {"choices": [], ' + told + b"\n\n" + DONE)
        await self._wire.finish()

    async def do_costly(self, name: str, tokens: str) -> None:
        """Answer when the test opens the gate, and tell so many tokens."""
        await self._gate(f"{name}.0")
        await self.do_usage(f'{{"prompt_tokens": {tokens}, "completion_tokens": 0}}')

    async def do_html(self) -> None:
        """Answer with a page that would run a script."""
        page = b"<!doctype html><script>document.title = document.cookie</script>"
        await self._wire.whole(200, page, [("content-type", "text/html")])

    async def do_drip(self, name: str) -> None:
        """Send one byte after the other, until the client goes away."""
        await self._wire.start(200, EVENT_STREAM)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._leave_when_gone, f"{name}.0")
            for number in count():
                await self._wire.data(b"x")
                self._note(name, str(number))
                await trio.sleep(_POLL_SECONDS)

    async def do_raw(self, name: str) -> None:
        """Answer with the bytes of a file in the folder, and hang up."""
        with suppress(trio.BrokenResourceError):  # Nobody reads to the end.
            await self._wire.stream.send_all((self._folder / name).read_bytes())
        raise GoneError

    async def do_raw_and_stay(self, name: str) -> None:
        """Answer with the bytes of a file in the folder, and hang up when the client does, or asks again."""
        await self._wire.stream.send_all((self._folder / name).read_bytes())
        await self._wire.stream.receive_some()
        raise GoneError

    async def do_print(self, *words: str) -> None:
        """Print these words, variables filled in, and answer."""
        sys.stdout.write(os.path.expandvars(" ".join(words)) + "\n")
        sys.stdout.flush()
        await self._answer(["printed"])

    async def do_eat(self, megabytes: str) -> None:
        """Take so much memory, and answer if that went well."""
        taken = []
        for _ in range(int(megabytes)):
            taken.append(b"x" * 1_000_000)
            await trio.lowlevel.checkpoint()
        await self._answer([f"ate {len(taken)}"])

    async def _answer(self, parts: list[str]) -> None:
        if not self._body.get("stream"):
            await self._wire.json(completion("".join(parts)))
            return
        await self._begin(*parts)
        await self._wire.data(chunk(reason="stop"))
        if (self._body.get("stream_options") or {}).get("include_usage"):
            await self._wire.data(usage_chunk())
        await self._wire.data(DONE)
        await self._wire.finish()

    async def _begin(self, *parts: str) -> None:
        await self._wire.start(200, EVENT_STREAM)
        for part in parts:
            await self._wire.data(chunk(part))

    async def _gate(self, name: str) -> None:
        """Wait until the test opens a gate; note when we stand before it, and when the client goes away there."""
        self._note(f"{name}.reached")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._leave_when_gone, name)
            while not (self._folder / name).exists():
                await trio.sleep(_POLL_SECONDS)
            nursery.cancel_scope.cancel()

    async def _leave_when_gone(self, name: str) -> None:
        await self._wire.until_gone()
        self._note(f"{name}.gone")
        raise GoneError

    def _note(self, name: str, text: str = "") -> None:
        fresh = self._folder / f".{name}.new"
        fresh.write_text(text)
        fresh.replace(self._folder / name)


async def echo(request: Request, wire: Wire) -> None:
    """Answer with the request as JSON."""
    seen = {
        "method": request.method,
        "path": request.path,
        "query": request.query,
        "headers": request.headers,
        "body": request.body.decode("latin-1"),
        "pid": os.getpid(),
    }
    await wire.json(seen)


async def respond_to(body: dict[str, Any], wire: Wire) -> None:
    """Answer as the responses API does: the usage, and a long text behind it."""
    output = [{"type": "message", "content": [{"type": "output_text", "text": "long " * 40_000}]}]
    usage = {"input_tokens": 3, "output_tokens": 5, "total_tokens": 8}
    response = {"id": "resp-1", "object": "response", "usage": usage, "output": output}
    if not body.get("stream"):
        await wire.json(response)
        return
    await wire.start(200, EVENT_STREAM)
    await wire.data(frame({"type": "response.created", "response": {**response, "usage": None, "output": []}}))
    await wire.data(frame({"type": "response.completed", "response": response}))
    await wire.finish()


def plain(path: str) -> str:
    """Return a path without what many servers overlook in one."""
    return posixpath.normpath(unquote(path).replace("\\", "/")).lower()


async def respond(request: Request, wire: Wire, *, key: str, folder: Path) -> None:
    """Handle one request."""
    if request.path == "/health":
        await wire.json({"status": "ok"})
    elif request.header("authorization") != f"Bearer {key}":
        error = {"message": "The runner's key is wrong.", "type": "authentication_error"}
        await wire.json({"error": error}, 401)
    elif request.path == "/v1/models":
        await wire.json({"object": "list", "data": []})
    elif request.path == "/v1/blob":
        size = int(parse_qs(request.query)["size"][0])
        await wire.whole(200, blob(size), [("content-type", "application/octet-stream")])
    elif plain(request.path) == "/v1/responses":
        await respond_to(request.json(), wire)
    elif plain(request.path) == "/v1/chat/completions":
        await Script(request, wire, folder).run()
    else:
        await echo(request, wire)


def blob(size: int) -> bytes:
    """Return so many bytes in which every position looks different from its neighbours'."""
    return array("I", range(size // 4 + 1)).tobytes()[:size]


async def serve(stream: trio.SocketStream, *, key: str, folder: Path) -> None:
    """Handle one connection. An answer that was not finished ends it."""
    wire = Wire(stream)
    async with stream:
        try:
            async for request in wire.requests():
                await respond(request, wire, key=key, folder=folder)
        except* GoneError:
            pass


async def main() -> None:
    """Serve until killed."""
    folder = Path(os.environ["SCRIPTED_FOLDER"])
    if os.environ.get("SCRIPTED_STUBBORN"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    boot_gate = os.environ.get("SCRIPTED_BOOT")
    while boot_gate and not (folder / boot_gate).exists():
        await trio.sleep(_POLL_SECONDS)
    handler = partial(serve, key=os.environ["SCRIPTED_KEY"], folder=folder)
    host = os.environ.get("SCRIPTED_HOST", "127.0.0.1")
    await trio.serve_tcp(handler, int(os.environ["SCRIPTED_PORT"]), host=host)


if __name__ == "__main__":
    trio.run(main)
