"""Running turns: in our own nursery, never in a request's task, so that a closed tab ends nothing."""

import math
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import httpx
import orjson
import structlog
import trio
from prometheus_client import Counter

from domain.backends.adaptation import adapt, conversation_session
from domain.backends.hints import hint
from domain.conversations import state as rules
from domain.conversations.events import TurnFailed, TurnFinished, TurnInterrupted
from domain.conversations.state import Conversation
from domain.errors import OUR_FAULT, Conflict, DomainError, Unavailable
from domain.event import Event
from domain.ids import new_id
from eventlog.envelope import Origin
from projections.agents import Agent
from supervisors.admission import Admission, Admitted
from supervisors.budgets import HeldError
from supervisors.commands.conversations import ConversationCommands
from supervisors.engines.protocol import AGENT_NAME
from supervisors.quota import Quota
from supervisors.runners.lease import SILENCE_SECONDS, SILENT, ask_runner
from supervisors.runners.pool import RunnerPool
from supervisors.runners.probe import auth_headers
from supervisors.runners.run import Run
from supervisors.turns.answer import (
    MAX_WHOLE,
    AnswerReader,
    BrokenAnswerError,
    ReportedError,
    error_text,
    parse_object,
    whole_answer,
)
from supervisors.turns.live import LiveTurn
from supervisors.turns.usage import BYTES_PER_TOKEN
from supervisors.usage import UsageMeter
from supervisors.wire.coding import CodingError
from supervisors.wire.reading import IDENTITY, each_piece, read_at_most
from supervisors.wire.transit import Transit

MAX_ANSWER = 4_000_000
"""Bytes of one answer in UTF-8; what is beyond is cut, with finish_reason `length`."""
_MAX_REFUSAL = 64_000
"""Bytes of an answer with an error status that are read."""
_MAX_WORDS = 2000
"""Characters of an error that are shown."""
_GOODBYE_SECONDS = 1.0
"""How long an agent that has said all may take to end its stream."""

_REASON = re.compile(r"[a-z_]{1,32}")

TURNS = Counter("agentstack_turns_total", "Turns by how they ended", ["backend", "outcome"])

Decide = Callable[[Conversation], Sequence[Event]]

_logger = structlog.get_logger("turns")


class Turns:
    """Starts, cancels and repeats turns; at most one runs in a conversation."""

    def __init__(
        self,
        pool: RunnerPool,
        conversations: ConversationCommands,
        nursery: trio.Nursery,
        *,
        admission: Admission,
        transit: Transit,
        quota: Quota,
        usage: UsageMeter,
    ) -> None:
        self._pool = pool
        self._admission = admission
        self._transit = transit
        self._quota = quota
        self._usage = usage
        self._house = pool.house
        self._conversations = conversations
        self._nursery = nursery
        self._live: dict[str, LiveTurn] = {}
        self._closing = False

    def __repr__(self) -> str:
        return f"<Turns {len(self._live)} running>"

    def statistics(self) -> dict[str, int]:
        """Return how many turns run."""
        return {"running": len(self._live)}

    def live(self, conversation_id: str) -> LiveTurn | None:
        """Return the turn that runs in a conversation, or None."""
        return self._live.get(conversation_id)

    async def ask(self, conversation: Conversation, content: str, model: str, origin: Origin) -> LiveTurn:
        """Post a user message and have it answered. Returns as soon as both are in the log."""
        now = time.time()
        turn_id, message_id = new_id(now), new_id(now)
        decide = partial(rules.ask, turn_id=turn_id, message_id=message_id, content=content, model=model)
        return await self._begin(conversation, decide, turn_id, origin, content)

    async def ask_again(self, conversation: Conversation, turn_id: str, origin: Origin) -> LiveTurn:
        """Drop the answer of a turn, and all after it, and have the same question answered anew."""
        new_turn_id = new_id(time.time())
        return await self._begin(
            conversation, lambda c: rules.ask_again(c, turn_id, new_turn_id=new_turn_id), new_turn_id, origin
        )

    async def cancel(self, conversation: Conversation, turn_id: str) -> None:
        """Stop a running turn, keep what it has written, and return when that is in the log.

        Raises NotFound, or Conflict when the turn has ended.
        """
        conversation.turn(turn_id)
        live = self._live.get(conversation.id)
        if live is None or live.id != turn_id:
            raise Conflict("This answer is not being written any more.", code="turn_ended")
        live.scope.cancel()
        await live.ended.wait()

    def of_user(self, user_id: str) -> list[str]:
        """Return the conversations of a user in which a turn runs."""
        return [live.conversation_id for live in self._live.values() if live.user_id == user_id]

    async def abandon(self, conversation_id: str) -> None:
        """Stop the turn that runs in a conversation, if there is one: the conversation is gone."""
        live = self._live.get(conversation_id)
        if live:
            live.scope.cancel()
            await live.ended.wait()

    async def close_interrupted(self) -> None:
        """At start: close the turns that a crash cut off."""
        origin = Origin("system", "start")
        for summary in self._house.views.conversations.with_running_turn():
            _logger.info("turn_interrupted", conversation=summary.id, turn=summary.running_turn)
            event = TurnInterrupted(
                conversation_id=summary.id,
                turn_id=summary.running_turn,
                message_id=new_id(time.time()),
                content="",
            )
            await self._conversations.repository.execute(
                summary.id, partial(_just, event), origin, owner=summary.user_id
            )

    async def aclose(self, grace_seconds: float) -> None:
        """Take no more turns, give the running ones a grace to finish, then save them as interrupted."""
        self._closing = True
        with trio.move_on_after(grace_seconds):
            for live in list(self._live.values()):
                await live.ended.wait()
        for live in list(self._live.values()):
            live.interrupted = True
            live.scope.cancel()
            await live.ended.wait()

    # -- one turn -----------------------------------------------------------------------------------------

    async def _begin(
        self, conversation: Conversation, decide: Decide, turn_id: str, origin: Origin, content: str = ""
    ) -> LiveTurn:
        if self._closing:
            raise Unavailable("agent-stack is shutting down. Try again in a moment.", code="shutting_down")
        agent = self._house.views.agents.owned(conversation.agent_id, conversation.user_id)
        self._house.backends.enabled(agent.backend)
        self._quota.take_text(conversation.user_id, content)
        admitted = self._admitted_now(conversation.user_id)
        # Not cancelled half way: a turn that is in the log must run.
        with trio.CancelScope(shield=True):
            try:
                recorded = await self._conversations.repository.execute(
                    conversation.id, decide, origin, owner=conversation.user_id
                )
            except BaseException:
                if admitted:
                    self._admission.release(admitted)
                raise
            because = replace(origin, causation=recorded[-1].position)
            live = LiveTurn(turn_id, conversation.id, conversation.user_id, new_id(time.time()))
            self._live[conversation.id] = live
            self._nursery.start_soon(self._run, live, agent, because, admitted)
        return live

    def _admitted_now(self, user_id: str) -> Admitted | None:
        """Admit a turn; None when it has to wait for what is left of a budget, as it does once it is in the log."""
        try:
            return self._admission.admit_now(self._house.views.users.get(user_id))
        except HeldError:
            return None

    async def _run(self, live: LiveTurn, agent: Agent, origin: Origin, admitted: Admitted | None) -> None:
        failure = ""
        outcome = "interrupted"  # Unless it comes to an end of its own.
        try:
            with live.scope, self._transit.hold(live.user_id) as live.hold:
                try:
                    if admitted is None:
                        user = self._house.views.users.get(live.user_id)
                        admitted = await self._admission.admit(user, patience=math.inf)
                    await self._answer(live, agent, origin)
                except DomainError as error:
                    failure = error.message
                except ReportedError as error:
                    failure = _with_hint(str(error), hint(self._house.backends.get(agent.backend), str(error)))
                except BrokenAnswerError as error:
                    failure = str(error)
                except Exception:
                    _logger.exception("turn_failed", turn=live.id)
                    failure = OUR_FAULT
            if live.scope.cancelled_caught:
                outcome = "interrupted" if live.interrupted else "cancelled"
            else:
                outcome = "failed" if failure else "finished"
        finally:
            self._count(live, agent, outcome)
            if admitted:
                self._admission.release(admitted)
            with trio.CancelScope(shield=True):
                by = replace(origin, actor=f"runner:{live.runner_id}" if live.runner_id else "system")
                self._quota.spend_text(live.user_id, live.text())
                await self._close(live, _ending(live, outcome, failure), by)

    def _count(self, live: LiveTurn, agent: Agent, outcome: str) -> None:
        TURNS.labels(agent.backend, outcome).inc()
        backend = self._house.backends.get(agent.backend)
        live.usage = live.told.usage()
        broke_off = outcome in {"cancelled", "interrupted"} or (outcome == "failed" and live.size > 0)
        # One that is too long was not read to its end.
        is_cut = live.runner_id and (broke_off or live.size >= MAX_ANSWER)
        cut = (live.asked_with + live.size) // BYTES_PER_TOKEN if is_cut else None
        self._usage.count(agent, backend, live.model, live.usage, failed=outcome == "failed", cut=cut)

    async def _close(self, live: LiveTurn, event: Event, origin: Origin) -> None:
        try:
            await self._conversations.repository.execute(
                live.conversation_id,
                # The conversation may have been deleted, and the turn with it.
                lambda c: [event] if live.id in c.turns else [],
                origin,
                owner=live.user_id,
            )
        except Exception:
            # The disk refused. The turn is found open at the next start and closed then.
            _logger.exception("turn_not_saved", turn=live.id)
        finally:
            if self._live.get(live.conversation_id) is live:
                del self._live[live.conversation_id]
            live.ended.set()
            self._house.signals.notify(live.conversation_id)

    async def _answer(self, live: LiveTurn, agent: Agent, origin: Origin) -> None:
        supervisor, ask = self._pool.supervise(agent), partial(self._stream, live, agent)
        await ask_runner(supervisor, origin, ask, refused=httpx.ConnectError, broken=httpx.HTTPError)

    async def _stream(self, live: LiveTurn, agent: Agent, run: Run) -> None:
        if run.endpoint is None:
            raise AssertionError("a ready runner has an endpoint")
        conversation = (await self._conversations.repository.load(live.conversation_id)).state
        backend = self._house.backends.get(agent.backend)
        session = conversation_session(conversation.id)
        live.runner_id = run.runner_id
        live.model = conversation.turn(live.id).model or conversation.model or agent.model or backend.name
        body = {
            "model": live.model,
            "messages": [
                {"role": m.role, "content": m.content} for m in conversation.messages if m.role != "error"
            ],
            "stream": True,
            "stream_options": {"include_usage": True},
            "user": session,
        }
        answered = any(m.role == "assistant" and m.turn_id for m in conversation.messages)
        override = self._house.maker.model(backend, agent)
        adapted = adapt(backend, body, session=session, model_override=override, first=not answered)
        headers = {
            "host": AGENT_NAME,
            "content-type": "application/json",
            "accept": "text/event-stream",
            **IDENTITY,
            **auth_headers(backend, run.key),
            **adapted.headers,
        }
        content = orjson.dumps(body if adapted.body is None else adapted.body)
        live.asked_with = len(content)
        if live.hold:
            live.hold.grow(len(content))
        request = self._house.client.stream(
            "POST",
            f"{run.endpoint.url}/v1/chat/completions",
            content=content,
            headers=headers,
            timeout=httpx.Timeout(10.0, read=SILENCE_SECONDS),
        )
        try:
            async with request as response:
                await self._read(live, response)
        except CodingError as error:
            raise BrokenAnswerError(f"The agent's answer cannot be read. {error}") from error
        except httpx.ReadTimeout as error:
            raise BrokenAnswerError(f"{SILENT}, so the turn was given up.") from error
        if backend.is_error_answer(live.text()):
            words = live.text()
            live.discard()
            raise ReportedError(f"The agent reported an error: {words[:_MAX_WORDS]}")

    async def _read(self, live: LiveTurn, response: httpx.Response) -> None:
        if not response.is_success:
            raise ReportedError(await _refusal(response))
        if "text/event-stream" not in response.headers.get("content-type", ""):
            data, is_all = await read_at_most(response, MAX_WHOLE)
            if not is_all:
                raise BrokenAnswerError(f"The agent's answer is larger than {MAX_WHOLE >> 20} MiB.")
            live.told.add(data)
            text, live.finish_reason = await whole_answer(data)
            self._add(live, text)
            return
        reader = AnswerReader()

        def take(data: bytes) -> bool:
            self._add(live, reader.feed(data))
            live.told.add(data)
            live.finish_reason = reader.finish_reason
            if reader.done and patience.deadline == math.inf:
                patience.deadline = trio.current_time() + _GOODBYE_SECONDS
            return reader.error is not None or live.size >= MAX_ANSWER

        with trio.CancelScope() as patience:
            await each_piece(response, take)
        if live.size >= MAX_ANSWER and not reader.error:
            live.finish_reason = "length"
            return
        reader.end()
        live.finish_reason = reader.finish_reason or "stop"

    def _add(self, live: LiveTurn, text: str) -> None:
        if text:
            live.add(text, MAX_ANSWER)
            self._house.signals.notify(live.conversation_id)


def _with_hint(words: str, more: str) -> str:
    return f"{words.rstrip('. ')}.{more}" if more else words


def _just(event: Event, _: Conversation) -> list[Event]:
    return [event]


async def _refusal(response: httpx.Response) -> str:
    """Return what an agent that answered with an error status has said."""
    said, _ = await read_at_most(response, _MAX_REFUSAL)
    try:
        words = error_text(parse_object(said))
    except BrokenAnswerError:
        words = said[:500].decode(errors="replace").strip() or "nothing more"
    return f"The agent answered with status {response.status_code}: {words}"


def _ending(live: LiveTurn, outcome: str, failure: str) -> Event:
    """Return the event that closes a turn."""
    about = {"conversation_id": live.conversation_id, "turn_id": live.id, "message_id": live.message_id}
    content = live.text()
    if outcome == "failed":
        return TurnFailed(**about, content=content, error_message_id=new_id(time.time()), error=failure)
    if outcome == "interrupted":
        return TurnInterrupted(**about, content=content)
    # It is kept in the clear, so it must be one of the words for it and nothing else.
    told = live.finish_reason if _REASON.fullmatch(live.finish_reason) else "other"
    reason = "cancelled" if outcome == "cancelled" else told
    return TurnFinished(**about, content=content, finish_reason=reason, usage=live.usage)
