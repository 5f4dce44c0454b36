"""One request under /v1 and its answer, as it is written out: in bursts, of event streams whole events."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import trio

from supervisors.turns.usage import BYTES_PER_TOKEN, UsageReader
from web.openai.body import Receive
from web.openai.headers import HeaderList, isolation
from web.openai.usage import without_usage

Scope = dict[str, Any]
Send = Callable[[dict[str, Any]], Awaitable[None]]

FLUSH_BYTES = 64 * 1024
"""A burst longer than this is not gathered further: it bounds the memory of one stream."""
_JSON = b"application/json"
_EVENT_BYTES_PER_TOKEN = 40
_NOTICED_SECONDS = 1.0


@dataclass(slots=True, eq=False)
class Exchange:
    """One request and its answer. `final` is set before the last send: from then on a disconnect means nothing."""

    scope: Scope
    receive: Receive
    send: Send
    headers: dict[str, str]
    credentials: Sequence[bytes] = ()
    """What the client has shown of its own: nobody else may see it."""
    working: trio.CancelScope = field(default_factory=trio.CancelScope)
    asked_at: float | None = None
    """When an agent was asked, by trio's clock, which may be at work since; None when none was."""
    asked_with: int = 0
    """Bytes of the body that it was sent."""
    started: bool = False
    final: bool = False
    is_event_stream: bool = False
    in_event: bool = False
    """Whether what was sent last ends within an event, which only a huge one can."""
    hides_usage: bool = False
    """Whether the client did not ask for the usage that its stream ends with."""
    stopping: bool = False
    """Whether the server has no more time for it."""
    shut_out: bool = False
    """Whether its caller would not be let in any more."""
    failed: bool = False
    complete: bool = False
    """Whether all of the agent's answer has come."""
    told: UsageReader = field(default_factory=UsageReader)
    ending: ExitStack = field(default_factory=ExitStack)
    """Closed before the last send: whoever has an answer may ask for the next one."""
    cors: HeaderList = field(default_factory=list)
    pending: list[bytes] = field(default_factory=list)
    pending_size: int = 0

    @property
    def cut(self) -> int | None:
        """About how many tokens an answer has taken that broke off, None for one that has not.

        In an event stream, most of the bytes are what surrounds a few words.
        """
        if self.asked_at is None or self.complete or self.told.is_done:
            return None
        # Who had gone before the agent could do anything has not been noticed sooner.
        at_work = trio.current_time() - self.asked_at > _NOTICED_SECONDS
        if not self.started and not (self.working.cancel_called and at_work):
            return None
        per_token = _EVENT_BYTES_PER_TOKEN if self.is_event_stream else BYTES_PER_TOKEN
        return self.asked_with // BYTES_PER_TOKEN + self.told.size // per_token

    def shut(self) -> None:
        """Drop the request: its caller would not be let in any more."""
        self.shut_out = True
        self.working.cancel()

    async def start(self, status: int, headers: HeaderList) -> None:
        """Send the head of the answer."""
        self.started = True
        self.failed = status >= 400
        await self.send({"type": "http.response.start", "status": status, "headers": [*headers, *self.cors]})

    def gather(self, data: bytes) -> None:
        """Add to the burst."""
        self.told.add(data)
        if self.told.is_done:  # What an agent may still have to say is nothing that a client waits for.
            self.ending.close()
        self.pending.append(data)
        self.pending_size += len(data)

    async def flush(self) -> None:
        """Write out the burst; of an event stream, only whole events, so that none is ever cut short."""
        if not self.pending:
            return
        data = b"".join(self.pending)
        if self.is_event_stream and len(data) <= FLUSH_BYTES:
            end = max(data.rfind(b"\n\n") + 2, data.rfind(b"\n\r\n") + 3)
            data, rest = (data[:end], data[end:]) if end > 2 else (b"", data)
            self.pending, self.pending_size = [rest] if rest else [], len(rest)
            self.in_event = self.in_event and not data
        else:
            # An event of this size is let go in pieces: memory comes first.
            self.pending, self.pending_size = [], 0
            self.in_event = not data.endswith((b"\n\n", b"\n\r\n"))
        if self.hides_usage:
            data = without_usage(data)
        if data:
            await self.send({"type": "http.response.body", "body": data, "more_body": True})

    async def finish(self, data: bytes = b"") -> None:
        """Write out the burst and `data`, and end the answer."""
        last = b"".join((*self.pending, data))
        if self.hides_usage:
            last = without_usage(last)
        self.final = True
        self.ending.close()
        await self.send({"type": "http.response.body", "body": last, "more_body": False})

    async def break_off(self, event: bytes) -> None:
        """End an event stream with one last event. What there is of an unfinished one is dropped."""
        await self.flush()
        self.pending = [b"\n\n"] if self.in_event else []
        await self.finish(event)

    async def answer_json(self, status: int, body: bytes, *more: tuple[bytes, bytes]) -> None:
        """Send a whole JSON answer."""
        length = str(len(body)).encode()
        ours = [
            (b"content-type", _JSON),
            (b"content-length", length),
            (b"cache-control", b"no-store"),
            *isolation(),
        ]
        await self.start(status, [*ours, *more])
        await self.finish(body)
