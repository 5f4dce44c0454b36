"""The stream of a conversation: what is in the log, and the turn that is running."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from domain.conversations.events import (
    ConversationDeleted,
    ConversationRenamed,
    MessagePosted,
    MessagesDropped,
    TurnFailed,
    TurnFinished,
    TurnInterrupted,
    TurnStarted,
)
from domain.runners.machine import State
from eventlog.envelope import Recorded
from projections.conversations import Summary
from supervisors.runners.progress import SNAPSHOT, Progress
from supervisors.turns.live import LiveTurn
from web.services import SHUTDOWN, Services
from web.sse import frame


@dataclass(frozen=True, slots=True)
class Seen:
    """What a client has: the log up to a position and, of a running turn, the text up to an offset."""

    position: int
    turn_id: str = ""
    offset: int = 0

    def __str__(self) -> str:
        """The SSE event id."""
        return f"{self.position}.{self.turn_id}.{self.offset}" if self.turn_id else str(self.position)


def parse_event_id(text: str) -> Seen | None:
    """Return what a Last-Event-ID header stands for, None when it is missing or not one of ours."""
    position, _, rest = text.partition(".")
    turn_id, _, offset = rest.partition(".")
    if not position.isascii() or not position.isdigit() or len(position) > 18:
        return None
    if rest and not (offset.isascii() and offset.isdigit() and len(offset) < 18):
        return None
    return Seen(int(position), turn_id, int(offset) if rest else 0)


class ConversationSource:
    """Frames `{"kind", "payload"}`. Every frame's id is all that is needed to go on from there.

    Deltas are cut from the running turn's text at the moment they are sent, so a slow client gets fewer and
    longer ones, and nothing is kept for it in the meantime.
    """

    def __init__(self, services: Services, summary: Summary, seen: Seen | None) -> None:
        self.watch = services.signals.watch(summary.id, summary.agent_id, SHUTDOWN)
        self.over = False
        self._services = services
        self._summary = summary
        self._seen = seen if seen and seen.position <= services.log.position else Seen(services.log.position)
        self._events = services.log.subscribe(self._seen.position, f"conversation:{summary.id}")
        self._heard = services.broadcasts.number
        self._greeted = False
        self._ended_turn = ""
        self._runner: tuple[str, str] | None = None
        self._progress: Progress | None = None

    async def take(self) -> bytes:
        """Return what is new; nothing comes after the end of the conversation."""
        return b"" if self.over else await self._news()

    async def _news(self) -> bytes:
        news = b""
        if not self._greeted:
            self._greeted = True
            news += self._frame("hello", {"conversation_id": self._summary.id})
        news += self._runner_status()
        news += await self._logged()
        if self.over:
            return news
        news += self._broadcast()
        live = self._services.turns.live(self._summary.id)
        if live and live.id != self._ended_turn:
            news += self._cold_start() + self._text(live)
        return news

    def _frame(self, kind: str, payload: dict[str, Any]) -> bytes:
        return frame({"kind": kind, "payload": payload}, str(self._seen))

    def _runner_status(self) -> bytes:
        supervisor = self._services.pool.find(self._summary.agent_id)
        state = str(supervisor.state if supervisor else State.ABSENT)
        failure = supervisor.why_failed if supervisor else ""
        if (state, failure) == self._runner:
            return b""
        self._runner = (state, failure)
        about = {"agent_id": self._summary.agent_id, "backend": self._summary.backend, "failure": failure}
        return self._frame("runner_status", {**about, "state": state, "running": state == State.READY})

    def _broadcast(self) -> bytes:
        found = self._services.broadcasts.after(self._summary.id, self._heard)
        self._heard = found[-1].number if found else self._heard
        return b"".join(self._frame(b.kind, b.payload) for b in found)

    async def _logged(self) -> bytes:
        found = await self._events.take()
        if self._events.position < self._services.log.position:
            self.watch.wake()  # There is more.
        news = b""
        for record in found:
            kind, payload = described(record)
            if not kind:
                continue
            self._seen = replace(self._seen, position=record.position)
            if isinstance(record.event, TurnFinished | TurnFailed | TurnInterrupted):
                self._ended_turn = record.event.turn_id
                self._seen = Seen(record.position)
            self.over = self.over or isinstance(record.event, ConversationDeleted)
            news += self._frame(kind, {**payload, "agent_id": self._summary.agent_id})
        self._seen = replace(self._seen, position=self._events.position)
        return news

    def _cold_start(self) -> bytes:
        supervisor = self._services.pool.find(self._summary.agent_id)
        now = supervisor.board.current if supervisor else None
        if now is None or now == self._progress or now.stage == SNAPSHOT:
            return b""
        first, self._progress = self._progress is None, now
        # An agent that was warm all along has nothing to show.
        return b"" if first and now.final else self._frame("turn_progress", asdict(now))

    def _text(self, live: LiveTurn) -> bytes:
        known = self._seen.turn_id == live.id and self._seen.offset <= live.length
        offset = self._seen.offset if known else 0
        if known and offset == live.length:
            return b""
        text = live.text(offset)
        self._seen = Seen(self._seen.position, live.id, live.length)
        if known:
            return self._frame("turn_delta", {"turn_id": live.id, "offset": offset, "text": text})
        return self._frame("turn_snapshot", {"turn_id": live.id, "text": text})


def described(record: Recorded[Any]) -> tuple[str, dict[str, Any]]:
    """Return the kind and payload under which an event of a conversation is shown; kind "" for none."""
    event, at = record.event, int(record.time)

    def message(id_: str, role: str, content: str, turn_id: str | None = None) -> dict[str, Any]:
        about = {"conversation_id": event.conversation_id, "turn_id": turn_id}
        return {"id": id_, "role": role, "content": content, "created_at": at, **about}

    match event:
        case MessagePosted():
            said = message(event.message_id, event.role, event.content)
            return "message", {**said, "extra": event.extra or {}}
        case MessagesDropped():
            return "messages_dropped", {"after_message_id": event.after_message_id}
        case ConversationRenamed():
            return "conversation_renamed", {"title": event.title}
        case ConversationDeleted():
            return "conversation_deleted", {}
        case TurnStarted():
            asked = {"user_message_id": event.user_message_id, "model": event.model}
            return "turn_started", {"turn_id": event.turn_id, **asked}
        case TurnFinished():
            answer = message(event.message_id, "assistant", event.content, event.turn_id)
            usage = event.usage.model_dump() if event.usage else None
            ended = {"finish_reason": event.finish_reason, "usage": usage}
            return "turn_finished", {"turn_id": event.turn_id, "message": answer, **ended}
        case TurnFailed():
            error = message(event.error_message_id, "error", event.error, event.turn_id)
            partial = message(event.message_id, "assistant", event.content, event.turn_id)
            kept = partial if event.content else None
            return "turn_failed", {"turn_id": event.turn_id, "message": error, "partial": kept}
        case TurnInterrupted():
            kept = message(event.message_id, "assistant", event.content, event.turn_id) if event.content else None
            return "turn_interrupted", {"turn_id": event.turn_id, "message": kept}
        case _:
            return "", {}
