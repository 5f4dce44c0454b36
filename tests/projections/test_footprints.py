"""projections.footprints: bytes in the log by user."""

from typing import Any

from domain.sessions.events import SessionRevoked
from domain.users.events import UserDeleted, UserRegistered
from eventlog.envelope import Origin, Recorded
from projections.footprints import ENVELOPE_BYTES, Footprints
from projections.usage import DAY

ORIGIN = Origin("system", "c")


def registered(position: int, user: str) -> Recorded[UserRegistered]:
    event = UserRegistered(
        user_id=user,
        email="a@example.org",
        name="A",
        slug=user,
        role="user",
        password_hash="x",
    )
    return Recorded(position, f"user:{user}", 1, event.TOPIC, DAY * 10.0, ORIGIN, event, owner=user, size=100)


def noted(position: int, user: str, size: int, at: float) -> Recorded[SessionRevoked]:
    event = SessionRevoked(session_id="s", user_id=user, reason="logout")
    return Recorded(position, f"session:{user}", position, event.TOPIC, at, ORIGIN, event, owner=user, size=size)


def test_every_event_of_a_user_counts_for_its_day_and_in_all() -> None:
    found = Footprints()
    found.apply([registered(1, "ada"), noted(2, "ada", 1000, DAY * 10.5), registered(3, "bob")])
    found.apply([noted(4, "ada", 5000, DAY * 11.0)])
    ada = found.of("ada")
    assert (ada.on(11), ada.on(12)) == (5000 + ENVELOPE_BYTES, 0)
    assert ada.total == 6100 + 3 * ENVELOPE_BYTES
    assert found.of("bob").on(10) == found.of("bob").total == 100 + ENVELOPE_BYTES
    assert found.position == 4


def test_what_was_counted_is_not_counted_again_and_batches_make_no_difference() -> None:
    records: list[Recorded[Any]] = [
        registered(1, "ada"),
        *(noted(n, "ada", n, DAY * 10.0 + n * 20_000) for n in range(2, 30)),
    ]
    at_once, one_by_one = Footprints(), Footprints()
    at_once.apply(records)
    at_once.apply(records)
    for record in records:
        one_by_one.apply([record])
    assert at_once.of("ada") == one_by_one.of("ada")
    assert at_once.of("ada").total == 100 + sum(range(2, 30)) + 29 * ENVELOPE_BYTES


def test_of_a_user_who_is_gone_nothing_is_left_whatever_comes_later() -> None:
    found = Footprints()
    gone = UserDeleted(user_id="ada")
    end = Recorded(2, "user:ada", 2, gone.TOPIC, DAY * 10.0, ORIGIN, gone, owner="ada", size=10)
    found.apply([registered(1, "ada"), end, noted(3, "ada", 1000, DAY * 10.0)])
    assert found.of("ada").total == 0
    assert len(found.tables[0]) == 0


def test_what_has_no_owner_is_nobodys() -> None:
    found = Footprints()
    found.apply([registered(1, "ada"), noted(2, "", 1000, DAY * 10.0)])
    assert found.of("ada").total == 100 + ENVELOPE_BYTES
    assert found.of("").total == 0
