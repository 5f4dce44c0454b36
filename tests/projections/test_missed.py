"""Handlers of read models that raise: the event is missed, and nothing else."""

from pathlib import Path
from typing import Any
from unittest.mock import patch

from structlog.typing import EventDict

from domain.catalogue import EVENT_TYPES
from domain.users.events import UserRegistered, UserRenamed
from eventlog.codec import EventMapper
from eventlog.envelope import Recorded, StreamAppend
from eventlog.log import EventLog, open_log
from projections.projection import Projection
from projections.users import Users
from projections.views import Views, open_views
from tests.projections.histories import ORIGIN, record, rows

MAPPER = EventMapper(EVENT_TYPES)
ADA = UserRegistered(
    user_id="u1", email="u1@example.org", name="u1", slug="u1", role="admin", password_hash="$argon2id$"
)


def _at(position: int) -> Any:
    """Return a handler for names that raises at one position, and does what it should at all others."""
    original = Projection.apply

    def apply(self: Projection, records: Any) -> None:
        if isinstance(self, Users):
            right = self.on[UserRenamed]

            def handler(event: Any, of: Recorded[Any]) -> None:
                if of.position == position:
                    raise RuntimeError("a fault of a handler")
                right(event, of)

            self.on[UserRenamed] = handler
            try:
                original(self, records)
            finally:
                self.on[UserRenamed] = right
        else:
            original(self, records)

    return patch.object(Projection, "apply", apply)


async def _rename(log: EventLog, *names: str) -> None:
    for name in names:
        version = len(await log.read_stream("user:u1"))
        event = UserRenamed(user_id="u1", name=name)
        await log.append(StreamAppend("user:u1", version, [event]), origin=ORIGIN)


async def test_a_handler_that_raises_misses_its_event_and_nothing_else(
    tmp_path: Path, logged: list[EventDict]
) -> None:
    async with open_log(tmp_path, MAPPER) as log, open_views(tmp_path, log) as views:
        await log.append(StreamAppend("user:u1", 0, [ADA]), origin=ORIGIN)
        with _at(3):
            await _rename(log, "one", "two")
            assert views.users.get("u1").name == "one"
            assert views.users.missed == [3]
            assert views.problems == [
                "Read model users: Events could not be applied: #3. The log of the server says why."
            ]
            await _rename(log, "three")
        assert views.users.get("u1").name == "three"
        assert views.users.position == views.agents.position == 4
        assert log.faults == {}
    (told,) = [e for e in logged if e["event"] == "event_not_applied"]
    assert (told["projection"], told["position"], told["type"]) == ("users", 3, "user.renamed")


async def test_what_has_missed_something_is_made_anew_at_every_start_until_it_has_not(tmp_path: Path) -> None:
    with _at(3):
        async with open_log(tmp_path, MAPPER) as log, open_views(tmp_path, log) as views:
            await log.append(StreamAppend("user:u1", 0, [ADA]), origin=ORIGIN)
            await _rename(log, "one", "two", "three")
            expected = rows(views)
        async with open_log(tmp_path, MAPPER) as log, open_views(tmp_path, log) as views:
            assert views.users.missed == [3]
            assert rows(views) == expected
    async with open_log(tmp_path, MAPPER) as log, open_views(tmp_path, log) as views:
        assert views.problems == []
    async with open_log(tmp_path, MAPPER) as log:
        with patch.object(Users, "apply", side_effect=AssertionError("nothing is left to apply")):
            async with open_views(tmp_path, log) as views:
                assert views.users.get("u1").name == "three"


def test_a_handler_that_always_raises_names_the_first_and_counts_all(logged: list[EventDict]) -> None:
    views = Views()
    views.users.on[UserRenamed] = lambda event, _: event.missing
    views.apply(record([("user:u1", ADA), *[("user:u1", UserRenamed(user_id="u1", name="n"))] * 100]))
    assert views.users.missed_count == 100
    assert len([e for e in logged if e["event"] == "event_not_applied"]) == len(views.users.missed) == 20
    assert "#2, #3, #4 and 97 more" in views.users.problem
