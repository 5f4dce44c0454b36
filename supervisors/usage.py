"""Counting what is used. A request is a number in memory; every few minutes the numbers become one event a user."""

import calendar
import time
from collections import defaultdict
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

import structlog
import trio

from domain.backends.definition import Backend
from domain.conversations.events import Usage
from domain.errors import TooMany
from domain.usage.events import Tally, UsageRecorded
from eventlog.envelope import Origin
from eventlog.errors import EventLogError
from eventlog.log import EventLog
from projections.agents import Agent
from projections.usage import DAY, MonthRow, month_of
from projections.users import User
from projections.views import Views
from supervisors.commands.stream_end import StreamEnds

FLUSH_SECONDS = 120.0

_logger = structlog.get_logger("usage")


@dataclass(slots=True)
class _Sum:
    backend: str
    requests: int = 0
    errors: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    unknown: int = 0
    estimated: int = 0


@dataclass(slots=True)
class _Window:
    """What a user has used since the last event about it."""

    since: int
    sums: dict[tuple[str, str], _Sum] = field(default_factory=dict)
    tokens_used: dict[str, int] = field(default_factory=dict)

    def tallies(self) -> tuple[Tally, ...]:
        return tuple(
            Tally(
                agent_id=agent_id,
                backend=s.backend,
                model=model,
                requests=s.requests,
                errors=s.errors,
                prompt_tokens=s.prompt_tokens,
                completion_tokens=s.completion_tokens,
                unknown=s.unknown,
                estimated=s.estimated,
            )
            for (agent_id, model), s in self.sums.items()
        )


class UsageMeter:
    """Counts requests, tokens and errors. What a crash costs is the last minutes of counting, never a message."""

    def __init__(self, log: EventLog, views: Views) -> None:
        self._views = views
        self._ends = StreamEnds(log)
        self._writing = trio.Lock()
        self._windows: defaultdict[str, _Window] = defaultdict(lambda: _Window(int(time.time())))
        self._closed: defaultdict[str, list[_Window]] = defaultdict(list)
        """Windows that are being written, or that the disk has refused so far."""

    def count(
        self,
        agent: Agent,
        backend: Backend,
        model: str,
        usage: Usage | None,
        *,
        failed: bool,
        cut: int | None = None,
    ) -> None:
        """Count one request; `usage` is what the agent told of it, None when it told nothing.

        `cut` is for an answer that broke off, perhaps just before the agent would tell: about how many tokens it
        has taken by what was sent. For a budget it counts as the mean of this month, or as that if it is more. A
        model that is not declared counts under the backend's name: there could be any number of them.
        """
        user_id = agent.user_id
        name = model if model in backend.models else backend.name
        found = self._windows[user_id].sums.setdefault((agent.id, name), _Sum(backend.name))
        found.requests += 1
        found.errors += failed
        prompt = usage.prompt_tokens if usage else None
        completion = usage.completion_tokens if usage else None
        if prompt is None and completion is None:
            found.unknown += not failed
            found.estimated += self._estimate(user_id, cut)
        found.prompt_tokens += prompt or 0
        found.completion_tokens += completion or 0

    def note_token(self, user_id: str, token_id: str) -> None:
        """Note that an API token is being used."""
        self._windows[user_id].tokens_used[token_id] = int(time.time())

    def token_used_at(self, user_id: str, token_id: str) -> int | None:
        """Return when an API token was used last, if no event tells that yet."""
        times = (window.tokens_used.get(token_id) for window in self._of(user_id))
        return max((at for at in times if at is not None), default=None)

    def tokens_this_month(self, user_id: str) -> int:
        """Return how many tokens a user has used in this month (UTC)."""
        return self._month(user_id).tokens

    def usual_answer(self, user_id: str) -> int:
        """Return how many tokens an answer to a user takes, by the mean of this month; 0 when nobody knows yet."""
        month = self._month(user_id)
        return -(-month.told // month.answers) if month.answers else 0

    def _estimate(self, user_id: str, cut: int | None) -> int:
        user = self._views.users.find(user_id)
        has_budget = user is not None and user.monthly_tokens is not None
        return max(cut, self.usual_answer(user_id)) if has_budget and cut is not None else 0

    def _month(self, user_id: str) -> MonthRow:
        now = time.time()
        tallies = (t for w in self._of(user_id) if month_of(w.since) == month_of(now) for t in w.tallies())
        return self._views.usage.month(user_id, now).with_tallies(tallies)

    def check_budget(self, user: User) -> None:
        """Raise TooMany when a user has spent this month's budget."""
        if user.monthly_tokens is None or self.tokens_this_month(user.id) < user.monthly_tokens:
            return
        raise TooMany(
            f"You have used up this month's budget, which is {user.monthly_tokens} tokens. "
            "Ask the admin for more, or wait for the next month.",
            code="budget_spent",
            retry_after=int(next_month(time.time()) - time.time()) + 1,
        )

    def pending(self, user_id: str) -> list[tuple[int, Tally]]:
        """Return what no event tells yet of a user, with its day."""
        return [(window.since // DAY, tally) for window in self._of(user_id) for tally in window.tallies()]

    def pending_users(self) -> list[str]:
        """Return the users of whom there is something that no event tells yet."""
        return list({*self._windows, *self._closed})

    def forget(self, user_id: str) -> None:
        """Drop what was counted for a user who was deleted."""
        self._windows.pop(user_id, None)
        self._closed.pop(user_id, None)

    def not_writing(self) -> AbstractAsyncContextManager[None]:
        """While this lasts, no usage becomes an event."""
        return self._writing

    def _of(self, user_id: str) -> list[_Window]:
        open_ = self._windows.get(user_id)
        return [*self._closed.get(user_id, ()), *([open_] if open_ else ())]

    async def run(self) -> None:
        """Turn the numbers into events from time to time, and for the last time when cancelled."""
        try:
            while True:
                # Not over midnight: a window belongs to one day.
                await trio.sleep(min(FLUSH_SECONDS, DAY - time.time() % DAY))
                await self.flush()
        finally:
            with trio.CancelScope(shield=True):
                await self.flush()

    async def flush(self) -> None:
        """Turn the numbers into events now. A window counts as it is until its event is on disk."""
        for user_id, window in self._windows.items():
            self._closed[user_id].append(window)
        self._windows.clear()
        with trio.CancelScope(shield=True):
            for user_id in list(self._closed):
                for window in list(self._closed.get(user_id, ())):
                    async with self._writing:
                        await self._write(user_id, window)

    async def _write(self, user_id: str, window: _Window) -> None:
        if self._views.users.find(user_id) is None:
            self.forget(user_id)
            return
        event = UsageRecorded(
            user_id=user_id,
            since=window.since,
            until=int(time.time()),
            tallies=window.tallies(),
            tokens_used=window.tokens_used,
        )
        try:
            await self._ends.append(f"usage:{user_id}", event, Origin("system", "usage"), owner=user_id)
        except EventLogError:
            _logger.exception("usage_not_recorded", user=user_id)
            return
        left = [w for w in self._closed.get(user_id, ()) if w is not window]
        if left:
            self._closed[user_id] = left
        else:
            self._closed.pop(user_id, None)


def next_month(now: float) -> float:
    """Return when the next month begins (UTC)."""
    year, month = time.gmtime(now)[:2]
    return float(calendar.timegm((year + month // 12, month % 12 + 1, 1, 0, 0, 0)))
