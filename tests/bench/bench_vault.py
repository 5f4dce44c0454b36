"""What privacy costs: encrypted appends beside plain ones, token checks, and looking up values."""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import trio

from agentstack.root import GIL_SWITCH_SECONDS
from agentstack.settings import load_settings
from domain.backends.definition import Backend
from domain.catalogue import EVENT_TYPES
from domain.event import Event
from domain.keys.events import KeySet, KeyShared
from domain.sessions.events import SessionOpened
from domain.tokens.events import TokenCreated
from domain.tokens.rules import hash_of, new_secret, shown
from domain.users.events import UserRegistered
from eventlog.codec import EventMapper
from eventlog.envelope import Origin, Recorded, StreamAppend
from eventlog.filter import Filter
from eventlog.log import EventLog, open_log
from eventlog.vault import Vault
from projections.sessions import Session
from projections.views import Views
from tests.bench.bench_log import EACH, ORIGIN, TASKS, message
from tests.bench.report import Figure, median, show
from web.auth import jwts
from web.auth.guard import Guard
from web.auth.pages import Asking

ROUNDS = 3
USERS = 1000
CALLS = 20_000
SECRET = "bench secret of the necessary length, 0123456789"
NAMES = ("LLM_BASE_URL", "LLM_API_KEY", "LLM_MODEL")


async def saturate(log: EventLog, owners: list[str], round_: int) -> float:
    """Return events per second with 200 tasks that append one event after the other."""

    async def one(stream: int) -> None:
        name = f"conversation:{round_}-{stream}"
        for number in range(EACH):
            append = StreamAppend(name, number, [message(stream, number)], owners[stream % len(owners)])
            await log.append(append, origin=ORIGIN)

    started = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for stream in range(TASKS):
            nursery.start_soon(one, stream)
    return TASKS * EACH / (time.perf_counter() - started)


def appends(folder: Path) -> tuple[list[float], list[float], float, float]:
    """Return events per second, plain and sealed by turns, and how many of each are read in a second."""

    async def run() -> tuple[list[float], list[float], float, float]:
        vault = Vault(folder, SECRET)
        owners = [f"user-{n}" for n in range(20)]
        for owner in owners:
            vault.create(owner)
        plain: list[float] = []
        sealed: list[float] = []
        (folder / "plain").mkdir()
        async with (
            open_log(folder / "plain", EventMapper(EVENT_TYPES)) as plain_log,
            open_log(folder, EventMapper(EVENT_TYPES, vault)) as sealed_log,
        ):
            for round_ in range(ROUNDS):
                plain.append(await saturate(plain_log, owners, round_))
                sealed.append(await saturate(sealed_log, owners, round_))
            read = [await trio.to_thread.run_sync(_read_speed, log) for log in (plain_log, sealed_log)]
        vault.close()
        return plain, sealed, read[0], read[1]

    return trio.run(run)


def _read_speed(log: EventLog) -> float:
    started = time.perf_counter()
    return len(log.reader.events(Filter(), 100_000)) / (time.perf_counter() - started)


def lookups() -> Iterator[tuple[str, float]]:
    """Yield what was done and the median of its microseconds, with a thousand users."""
    views, tokens = Views(), [new_secret() for _ in range(USERS)]
    views.apply(list(_history(tokens)))
    settings = load_settings(_env_file=None)
    guard = Guard(_WebSettings(settings.cookie_name), views, _Unused(), set())  # type: ignore[arg-type]
    session = Session("s500", "u500", "bench", time.time(), int(time.time()) + 3600)
    as_program, as_person = _asking(tokens[500]), _asking(jwts.issue(session, SECRET))
    backend = Backend.model_validate(
        {"name": "b", "display_name": "B", "image": "b", "user_overridable_env": list(NAMES)}
    )
    yield "check an API token", _micros(partial(guard.identify, as_program))
    yield "check a sign-in's token", _micros(partial(guard.identify, as_person))
    yield "look up the values of a backend's three variables", _micros(partial(views.effective, backend, "u500"))


def _asking(token: str) -> Asking:
    return Asking("POST", {"authorization": f"Bearer {token}"}, "c", frozenset())


def _history(tokens: list[str]) -> Iterator[Recorded[Event]]:
    position = 0
    for number in range(USERS):
        user = f"u{number}"
        role = "user" if number else "admin"
        events: list[Event] = [
            UserRegistered(
                user_id=user,
                email=f"{user}@example.org",
                name=user,
                slug=user,
                role=role,
                password_hash="-",
            ),
            SessionOpened(session_id=f"s{number}", user_id=user, device="bench", expires_at=2**40),
            TokenCreated(
                token_id=f"t{number}",
                user_id=user,
                name="bench",
                hash=hash_of(tokens[number]),
                prefix=shown(tokens[number]),
                scope="v1",
            ),
            KeySet(user_id=user, backend="b" if number else "", name="LLM_MODEL", value="m"),
            *([KeyShared(name=name, shared=True) for name in NAMES] if not number else []),
        ]
        for event in events:
            position += 1
            yield Recorded(position, "s", position, event.TOPIC, 0.0, Origin("system", ""), event)


class _Unused:
    def note_token(self, user_id: str, token_id: str) -> None:
        """Do nothing: counting is measured with the proxy."""


class _WebSettings:
    jwt_secret = SECRET

    def __init__(self, cookie_name: str) -> None:
        self.cookie_name = cookie_name


def _micros(call: Callable[[], object]) -> float:
    took = []
    for _ in range(CALLS):
        started = time.perf_counter_ns()
        call()
        took.append((time.perf_counter_ns() - started) / 1000)
    return median(took)


def figures() -> Iterator[Figure]:
    """Measure."""
    sys.setswitchinterval(GIL_SWITCH_SECONDS)
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        plain, sealed, read_plain, read_sealed = appends(Path(name))
    ratio = median([s / p for p, s in zip(plain, sealed, strict=True)])
    yield Figure(f"append, {TASKS} tasks, encrypted", f"{median(sealed):,.0f} events/s")
    told = f"{median(plain):,.0f} events/s, ratio {ratio:.2f}"
    yield Figure("beside: the same, plain, by turns", told, ">= 0.70", ratio >= 0.7)
    yield Figure("read, encrypted", f"{read_sealed:,.0f} events/s beside {read_plain:,.0f} plain")
    for what, micros in lookups():
        yield Figure(f"{what}, median of {CALLS:,}", f"{micros:.1f} µs", "<= 50 µs", micros <= 50)


def main() -> None:
    """Measure and show."""
    show("Vault, tokens and values", list(figures()))


if __name__ == "__main__":
    main()
