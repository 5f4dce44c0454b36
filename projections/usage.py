"""What was used: by user, day (UTC), agent and model."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from domain.runners.events import (
    RunnerFailed,
    RunnerReady,
    RunnerRequested,
    RunnerStopped,
    RunnerVanished,
)
from domain.usage.events import Tally, UsageRecorded
from domain.users.events import UserDeleted
from eventlog.bounds import MAX_INTEGER
from eventlog.envelope import Recorded
from projections.projection import Projection
from projections.table import Table

DAY = 86400
COUNTS = ("requests", "errors", "prompt_tokens", "completion_tokens", "unknown", "estimated")


@dataclass(frozen=True, slots=True)
class UsageRow:
    """What one agent did under one model on one day; `key` is all of these. Time of runners has the model ""."""

    key: str
    user_id: str
    day: int
    agent_id: str
    backend: str
    model: str
    requests: int = 0
    errors: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    unknown: int = 0
    estimated: int = 0
    runner_seconds: float = 0.0

    def with_tally(self, tally: Tally) -> "UsageRow":
        """Return the row with a tally added."""
        added: dict[str, Any] = {name: _sum(getattr(self, name), getattr(tally, name)) for name in COUNTS}
        return replace(self, **added)


@dataclass(frozen=True, slots=True)
class MonthRow:
    """Tokens of one user in one month; `key` is `<user id>/<year>-<month>`.

    `tokens` are those in both directions and those estimated; `answers` counts the requests whose tokens were told,
    `told` is what these took.
    """

    key: str
    user_id: str
    tokens: int
    answers: int
    told: int

    def with_tallies(self, tallies: Iterable[Tally]) -> "MonthRow":
        """Return the row with tallies added."""
        tokens, answers, told = self.tokens, self.answers, self.told
        for tally in tallies:
            both = (tally.prompt_tokens, tally.completion_tokens)
            tokens, told = _sum(tokens, *both, tally.estimated), _sum(told, *both)
            answers = _sum(answers, max(0, tally.requests - tally.errors - tally.unknown))
        return replace(self, tokens=tokens, answers=answers, told=told)


@dataclass(frozen=True, slots=True)
class RunningSince:
    """A runner whose time is not counted yet."""

    runner_id: str
    user_id: str
    agent_id: str
    backend: str
    since: float


class Usage(Projection):
    """Sums of what the log says was used. Days are numbered from the epoch."""

    name = "usage"
    version = 2

    def __init__(self) -> None:
        super().__init__()
        self._rows: Table[UsageRow] = Table("usage_rows", UsageRow)
        self._running: Table[RunningSince] = Table("running_since", RunningSince)
        self._by_user = self._rows.index(lambda r: r.user_id)
        self._months: Table[MonthRow] = Table("usage_months", MonthRow)
        self._months_by_user = self._months.index(lambda m: m.user_id)
        self.tables = (self._rows, self._running, self._months)
        self.on = {
            UsageRecorded: self._recorded,
            RunnerRequested: self._requested,
            RunnerReady: self._ready,
            RunnerFailed: self._ended,
            RunnerStopped: self._ended,
            RunnerVanished: self._vanished,
            UserDeleted: self._user_deleted,
        }

    def of_user(self, user_id: str, first_day: int, last_day: int) -> list[UsageRow]:
        """Return a user's rows of some days, the last one included."""
        return [r for r in self._by_user.all(user_id) if first_day <= r.day <= last_day]

    def all(self, first_day: int, last_day: int) -> list[UsageRow]:
        """Return everybody's rows of some days, the last one included."""
        return [r for r in self._rows if first_day <= r.day <= last_day]

    def month(self, user_id: str, at: float) -> MonthRow:
        """Return what a user has used in the month (UTC) of a moment in unix seconds."""
        key = f"{user_id}/{month_of(at)}"
        return self._months.get(key) or MonthRow(key, user_id, 0, 0, 0)

    def row_of(self, user_id: str, day: int, tally: Tally) -> UsageRow:
        """Return the row that a tally belongs to, without it."""
        return self._row(user_id, day, tally.agent_id, tally.backend, tally.model)

    def _row(self, user_id: str, day: int, agent_id: str, backend: str, model: str) -> UsageRow:
        key = f"{user_id}/{day}/{agent_id}/{model}"
        return self._rows.get(key) or UsageRow(key, user_id, day, agent_id, backend, model)

    def _recorded(self, event: UsageRecorded, _: Recorded[Any]) -> None:
        for tally in event.tallies:
            self._rows.put(self.row_of(event.user_id, event.since // DAY, tally).with_tally(tally))
        self._months.put(self.month(event.user_id, event.since).with_tallies(event.tallies))

    def _requested(self, event: RunnerRequested, _: Recorded[Any]) -> None:
        self._running.put(RunningSince(event.runner_id, event.user_id, event.agent_id, event.backend, 0.0))

    def _ready(self, event: RunnerReady, record: Recorded[Any]) -> None:
        running = self._running.get(event.runner_id)
        if running:
            self._running.put(replace(running, since=record.time))

    def _ended(self, event: RunnerFailed | RunnerStopped, record: Recorded[Any]) -> None:
        running = self._running.get(event.runner_id)
        self._running.remove(event.runner_id)
        if running and running.since:
            for day, seconds in by_day(running.since, record.time):
                row = self._row(running.user_id, day, running.agent_id, running.backend, "")
                self._rows.put(replace(row, runner_seconds=round(row.runner_seconds + seconds, 3)))

    def _vanished(self, event: RunnerVanished, _: Recorded[Any]) -> None:
        """Nobody knows when it ended, so none of its time is counted: a guess is not a fact."""
        self._running.remove(event.runner_id)

    def _user_deleted(self, event: UserDeleted, _: Recorded[Any]) -> None:
        for row in self._by_user.all(event.user_id):
            self._rows.remove(row.key)
        for month in self._months_by_user.all(event.user_id):
            self._months.remove(month.key)
        for running in [r for r in self._running if r.user_id == event.user_id]:
            self._running.remove(running.runner_id)


def _sum(*counts: int) -> int:
    """Return a sum that SQLite can hold: agents tell what they like, as often as they like."""
    return min(sum(counts), MAX_INTEGER)


def by_day(since: float, until: float) -> Iterator[tuple[int, float]]:
    """Return (day, seconds) of the days (UTC) on which a span of time lies."""
    while since < until:
        day = int(since // DAY)
        end = min(until, (day + 1) * DAY)
        yield day, end - since
        since = end


def month_of(at: float) -> str:
    """Return the month (UTC) of a moment: `2026-11`."""
    return time.strftime("%Y-%m", time.gmtime(at))
