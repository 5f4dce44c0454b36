"""A usage meter on a log of its own, with a clock and a disk that do as they are told."""

import calendar
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from domain.backends.definition import Backend
from domain.conversations.events import Usage
from domain.usage.events import UsageRecorded
from eventlog.filter import Filter
from projections.agents import Agent
from projections.users import User
from supervisors.usage import UsageMeter
from tests.supervisors.accounts_setup import AccountsSetup
from tests.supervisors.whole import ORIGIN, PASSWORD

BACKEND = Backend.model_validate(
    {
        "name": "demo",
        "display_name": "D",
        "engine": "process",
        "command": ["x"],
        "extra_models": ["demo/large"],
    }
)


def at(text: str) -> float:
    return float(calendar.timegm(time.strptime(text, "%Y-%m-%d %H:%M:%S")))


NOON = at("2026-01-15 12:00:00")


class Disk:
    """Refuses commits while it is told to."""

    def __init__(self) -> None:
        self.fails = False

    def __call__(self, point: str) -> None:
        if self.fails and point == "before_commit":
            raise OSError(28, "No space left on device")


class Clock:
    """The time that the meter sees."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = NOON
        self.read: Callable[[], float] = lambda: self.now
        monkeypatch.setattr("supervisors.usage.time", SimpleNamespace(time=self._read, gmtime=time.gmtime))

    def _read(self) -> float:
        return self.read()

    def set(self, text: str) -> None:
        """Set it."""
        self.now = at(text)


async def make_user(setup: AccountsSetup, name: str) -> User:
    email = f"{name}@example.org"
    return await setup.accounts.register(email=email, password=PASSWORD, name=None, role="user", origin=ORIGIN)


def agent_of(user: User, id_: str = "a1") -> Agent:
    return Agent(id_, user.id, "demo", "A", "", 1, 0.0, 0.0)


def count(
    meter: UsageMeter,
    user: User,
    prompt: int | None = 0,
    completion: int | None = 0,
    *,
    model: str = "demo",
    agent: str = "a1",
    failed: bool = False,
) -> None:
    told = Usage(prompt_tokens=prompt, completion_tokens=completion)
    meter.count(agent_of(user, agent), BACKEND, model, told, failed=failed)


def by_day(setup: AccountsSetup, user: User) -> dict[int, tuple[int, int]]:
    """Return (requests, tokens) of each day."""
    found: dict[int, tuple[int, int]] = {}
    for row in setup.views.usage.of_user(user.id, 0, 10**6):
        requests, tokens = found.get(row.day, (0, 0))
        found[row.day] = (requests + row.requests, tokens + row.prompt_tokens + row.completion_tokens)
    return found


async def recorded(setup: AccountsSetup) -> list[UsageRecorded]:
    return [r.event for r in await setup.log.read(Filter(types=(UsageRecorded.TOPIC,)), limit=-1)]
