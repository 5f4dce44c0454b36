"""supervisors.quota and supervisors.broadcasts: what agents say by themselves is bounded."""

import pytest

from domain.errors import TooMany
from supervisors import broadcasts
from supervisors.broadcasts import Broadcasts
from supervisors.quota import Quota
from tests.harness.clock import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("supervisors.quota.time", clock)
    return clock


def test_a_user_has_so_much_kept_in_a_minute_and_no_more(clock: Clock) -> None:
    quota = Quota(mib_per_minute=4, posts_per_minute=0)
    for _ in range(4):
        quota.take_text("ada", "x" * (1 << 20))
    with pytest.raises(TooMany, match="4 MiB kept within a minute") as refused:
        quota.take_text("ada", "x" * (1 << 20))
    assert refused.value.fields["retry_after"] == 15
    quota.take_text("bob", "x" * (1 << 20))
    clock.now += 15
    quota.take_text("ada", "x" * (1 << 20))


def test_what_counts_is_bytes_with_what_comes_along(clock: Clock) -> None:
    quota = Quota(mib_per_minute=1, posts_per_minute=0)
    quota.take_text("ada", "\N{CJK UNIFIED IDEOGRAPH-4E2D}" * (1 << 18), 1 << 18)
    with pytest.raises(TooMany):
        quota.take_text("ada", "x")


def test_an_answer_is_kept_however_long_it_is_and_the_next_text_waits_for_it(clock: Clock) -> None:
    quota = Quota(mib_per_minute=1, posts_per_minute=0)
    for _ in range(10):
        quota.spend_text("ada", "x" * (1 << 20))
    with pytest.raises(TooMany) as refused:
        quota.take_text("ada", "x")
    assert refused.value.fields["retry_after"] == pytest.approx(9 * 60, abs=1)
    with pytest.raises(TooMany):
        quota.take_text("ada", "")  # As for an answer that is asked for again.
    clock.now += 9 * 60 + 1
    quota.take_text("ada", "")


def test_an_agent_posts_so_often_and_no_more(clock: Clock) -> None:
    quota = Quota(mib_per_minute=0, posts_per_minute=3)
    for _ in range(3):
        quota.take_post("agent")
    with pytest.raises(TooMany, match="posted 3 times within a minute"):
        quota.take_post("agent")
    quota.take_post("another")
    clock.now += 20
    quota.take_post("agent")


def test_without_limits_anything_goes(clock: Clock) -> None:
    quota = Quota(mib_per_minute=0, posts_per_minute=0)
    for _ in range(1000):
        quota.take_post("agent")
        quota.take_text("ada", "x" * 100_000)
        quota.spend_text("ada", "x" * 100_000)


def test_announcements_are_kept_by_their_size() -> None:
    told: list[str] = []
    kept = Broadcasts(told.append)
    for number in range(300):
        kept.send(f"c{number}", "note", {"content": "x" * 1_000_000})
        assert kept.statistics()["bytes"] <= broadcasts._BYTES + 1_000_100
    assert kept.after("c0", 0) == []
    assert len(kept.after("c299", 0)) == 1
    for _ in range(100):
        kept.send("c", "note", {"content": "x" * 1_000_000})
    assert 1 <= len(kept.after("c", 0)) <= 2
    kept.send("c", "note", {"content": "x" * 9_000_000})
    assert [len(b.payload["content"]) for b in kept.after("c", 0)] == [9_000_000], (
        "the newest stays, whatever it takes"
    )
    for number in range(300):
        kept.forget(f"c{number}")
    kept.forget("c")
    assert kept.statistics() == {"bytes": 0, "conversations": 0}
    assert len(told) == 401


def test_small_announcements_are_kept_by_their_number() -> None:
    kept = Broadcasts(lambda _: None)
    for number in range(500):
        kept.send("c", "note", {"n": number})
    assert [b.payload["n"] for b in kept.after("c", 0)] == list(range(400, 500))
