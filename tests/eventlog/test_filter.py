"""eventlog.filter: any combination of conditions, against the simplest program that could do the same."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.event import Event
from eventlog.codec import EventMapper
from eventlog.envelope import Origin, Recorded, StreamAppend
from eventlog.filter import Filter
from eventlog.log import open_log
from eventlog.reader import Reader
from tests.eventlog.things import Happened, Noted


class Seen(Event):
    """A third type."""

    TOPIC = "test.seen"


EVENTS = 240
NAMES = ["test.happened", "test.noted", "test.seen", "test.none"]
STREAMS = ["user:1", "user:10", "user:2", "userx", "agent:1", "agent:10", "admin", "a:b:c", "user:\u00e4", "%:1"]
USERS = ["1", "10", "2", "nobody"]
TYPES: list[type[Happened] | type[Noted] | type[Seen]] = [Happened, Noted, Seen]
CORRELATIONS = ["c1", "c2", "c3", ""]
START_US = 1_700_000_000_000_000
MAPPER = EventMapper(TYPES)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a log of many events that differ in everything, some of them at the same microsecond."""
    folder = tmp_path_factory.mktemp("random")

    async def write() -> None:
        random, versions, at, count = Random(5), dict.fromkeys(STREAMS, 0), START_US, 0
        async with open_log(folder, MAPPER) as log:
            while count < EVENTS:
                streams = random.sample(STREAMS, random.randint(1, 3))
                at += random.choice([0, 1, 1_000_000])
                appends = []
                for stream in streams:
                    events = [random.choice(TYPES)() for _ in range(random.randint(1, 3))]
                    owner = random.choice([*USERS, ""])
                    appends.append(StreamAppend(stream, versions[stream], events, owner, at))
                    versions[stream] += len(events)
                    count += len(events)
                actor = random.choice([*(f"user:{user}" for user in USERS), "system", "runner:1"])
                causation = random.choice([None, random.randint(1, max(1, count))])
                await log.append(*appends, origin=Origin(actor, random.choice(CORRELATIONS), causation))

    trio.run(write)
    return folder / "events.db"


@pytest.fixture(scope="module")
def reader(path: Path) -> Iterator[Reader]:
    """Return a reader of it."""
    reader = Reader(path, MAPPER)
    yield reader
    reader.close()


@pytest.fixture(scope="module")
def everything(reader: Reader) -> list[Recorded[Any]]:
    """Return all that is in it."""
    found = reader.events(Filter(), -1)
    assert len(found) >= EVENTS
    assert [r.position for r in found] == list(range(1, len(found) + 1))
    return found


def _us(record: Recorded[Any]) -> int:
    return round(record.time * 1e6)


def _fits(wanted: Filter, record: Recorded[Any]) -> bool:
    """Say the same as the documentation of a filter, word for word."""
    by = f"user:{wanted.user}"
    return all(
        (
            record.position > wanted.after,
            wanted.until is None or record.position <= wanted.until,
            wanted.stream is None or record.stream == wanted.stream,
            record.stream.startswith(wanted.stream_prefix or ""),
            not wanted.types or record.type in wanted.types,
            not wanted.user or record.owner == wanted.user or record.origin.actor == by,
            wanted.correlation is None or record.origin.correlation == wanted.correlation,
            wanted.causation is None or record.origin.causation == wanted.causation,
            wanted.since_us is None or _us(record) >= wanted.since_us,
            wanted.until_us is None or _us(record) < wanted.until_us,
        )
    )


def _naive(wanted: Filter, everything: list[Recorded[Any]]) -> list[int]:
    found = [r.position for r in everything if _fits(wanted, r)]
    return found[::-1] if wanted.newest_first else found


TIMES = st.integers(START_US - 2_000_000, START_US + 60_000_000) | st.integers(START_US, START_US + 3)
PREFIXES = st.sampled_from(
    ["user:", "user", "u", "user:1", "agent:", "a", "%", "_ser:", "USER:", "zz", ":", "user:\u00e4"]
)
FILTERS = st.builds(
    Filter,
    after=st.just(0) | st.integers(0, EVENTS + 50),
    until=st.none() | st.integers(-1, EVENTS + 50),
    stream=st.none() | st.sampled_from([*STREAMS, "user:", "none"]),
    stream_prefix=st.none() | PREFIXES,
    types=st.lists(st.sampled_from(NAMES), max_size=4).map(tuple),
    user=st.none() | st.sampled_from([*USERS, "unknown"]),
    correlation=st.none() | st.sampled_from([*CORRELATIONS, "unknown"]),
    causation=st.none() | st.integers(1, EVENTS),
    since_us=st.none() | TIMES,
    until_us=st.none() | TIMES,
    newest_first=st.booleans(),
)


@settings(max_examples=400, deadline=None)
@given(wanted=FILTERS, limit=st.sampled_from([-1, 0, 1, 2, 7, 1000]), few=st.sampled_from([0, 10_000]))
def test_any_combination_of_conditions_reads_what_a_naive_filter_would(
    reader: Reader, everything: list[Recorded[Any]], wanted: Filter, limit: int, few: int
) -> None:
    expected = _naive(wanted, everything)
    with pytest.MonkeyPatch.context() as patch:  # Streams that are few are looked up in another way.
        patch.setattr("eventlog.reader._FEW", few)
        found = [r.position for r in reader.events(wanted, limit)]
    assert found == (expected if limit < 0 else expected[:limit])


@settings(max_examples=150, deadline=None)
@given(wanted=FILTERS)
def test_one_condition_alone_reads_what_a_naive_filter_would(
    reader: Reader, everything: list[Recorded[Any]], wanted: Filter
) -> None:
    """Combinations leave little: here each condition has all events to choose from."""
    for name in ("stream", "stream_prefix", "types", "user", "correlation", "causation", "since_us", "until_us"):
        alone = replace(Filter(newest_first=wanted.newest_first), **{name: getattr(wanted, name)})
        assert [r.position for r in reader.events(alone, -1)] == _naive(alone, everything)


@pytest.mark.parametrize("prefix", ["a:b:", "a:b:c", "a:b"])
def test_a_prefix_with_two_colons_is_a_prefix_like_any_other(
    reader: Reader, everything: list[Recorded[Any]], prefix: str
) -> None:
    wanted = Filter(stream_prefix=prefix)
    expected = _naive(wanted, everything)
    assert expected
    assert [r.position for r in reader.events(wanted, -1)] == expected


@settings(max_examples=100, deadline=None)
@given(wanted=FILTERS, size=st.integers(1, 20))
def test_paging_on_shows_everything_once(
    reader: Reader, everything: list[Recorded[Any]], wanted: Filter, size: int
) -> None:
    found: list[int] = []
    page = wanted
    while records := reader.events(page, size):
        found += [r.position for r in records]
        last = records[-1].position
        page = replace(page, until=last - 1) if wanted.newest_first else replace(page, after=last)
    assert found == _naive(wanted, everything)


@settings(max_examples=60, deadline=None)
@given(wanted=FILTERS, size=st.integers(1, 20))
def test_paging_back_leads_to_where_one_was(
    reader: Reader, everything: list[Recorded[Any]], wanted: Filter, size: int
) -> None:
    """From a page in the middle, the page before it is the one with the other order beyond its first event."""
    expected = _naive(wanted, everything)
    middle = expected[len(expected) // 2 :]
    if not middle:
        return
    turned = replace(wanted, newest_first=not wanted.newest_first)
    beyond = replace(turned, after=middle[0]) if wanted.newest_first else replace(turned, until=middle[0] - 1)
    before = [r.position for r in reader.events(beyond, size)][::-1]
    assert before == expected[: len(expected) // 2][-size:]


@settings(max_examples=150, deadline=None)
@given(wanted=FILTERS, seconds=st.integers(1, 100))
def test_counts_are_those_of_the_events_that_are_read(
    reader: Reader, everything: list[Recorded[Any]], wanted: Filter, seconds: int
) -> None:
    expected: dict[tuple[int, str], int] = {}
    for record in everything:
        if _fits(wanted, record):
            place = (_us(record) // 1_000_000 // seconds * seconds, record.type)
            expected[place] = expected.get(place, 0) + 1
    found = reader.counts(wanted, seconds)
    assert {(at, type_): count for at, type_, count in found} == expected
    assert [at for at, *_ in found] == sorted(at for at, *_ in found)


@settings(max_examples=100, deadline=None)
@given(at=TIMES)
def test_the_position_at_a_moment_is_that_of_the_newest_event_before(
    reader: Reader, everything: list[Recorded[Any]], at: int
) -> None:
    assert reader.position_at(at) == max((r.position for r in everything if _us(r) < at), default=0)


def test_a_user_is_found_in_what_is_about_them_and_in_what_they_did_once(
    reader: Reader, everything: list[Recorded[Any]]
) -> None:
    found = reader.events(Filter(user="1"), -1)
    both = [r for r in found if r.owner == "1" and r.origin.actor == "user:1"]
    assert both, "some are both"
    assert [r for r in found if r.owner != "1"]
    assert [r for r in found if r.origin.actor != "user:1"]
    assert len({r.position for r in found}) == len(found)


def test_the_newest_event_of_every_stream_is_its_head(reader: Reader, everything: list[Recorded[Any]]) -> None:
    newest = {r.stream: r.position for r in everything}
    assert [s.position for s in reader.heads(Filter(), 100)] == sorted(newest.values(), reverse=True)
    users = sorted((p for s, p in newest.items() if s.startswith("user:")), reverse=True)
    assert [s.position for s in reader.heads(Filter(stream_prefix="user:"), 2)] == users[:2]


def test_the_streams_with_the_most_changes_come_first(reader: Reader, everything: list[Recorded[Any]]) -> None:
    versions = {r.stream: r.version for r in everything}
    found = [(s.originator_id, s.originator_version) for s in reader.longest("", "", 100)]
    assert dict(found) == versions
    assert [v for _, v in found] == sorted(versions.values(), reverse=True)
    assert {s.originator_id for s in reader.longest("agent:", "", 100)} == {"agent:1", "agent:10"}


def test_types_and_commits_are_those_of_the_events(reader: Reader, everything: list[Recorded[Any]]) -> None:
    assert reader.types() == ["test.happened", "test.noted", "test.seen"]
    covered = 0
    while covered < len(everything):
        commit = reader.commit_of(covered + 1)
        assert commit is not None
        assert (commit.first, len(commit.hash)) == (covered + 1, 32)
        assert reader.commit_of(commit.last) == commit
        covered = commit.last
    assert reader.commit_of(covered + 1) is None


INDEXES = {
    "position": (Filter(after=100), "INTEGER PRIMARY KEY"),
    "stream": (Filter(stream="user:1"), "sqlite_autoindex_stored_events_1"),
    "kind of stream": (Filter(stream_prefix="user:"), "by_kind"),
    "prefix": (Filter(stream_prefix="user:1"), ""),
    "prefix of few": (
        Filter(stream_prefix="user:1", types=("test.noted",), by_stream=True),
        "sqlite_autoindex_stored_events_1",
    ),
    "type": (Filter(types=("test.noted",)), "by_topic"),
    "types": (Filter(types=("test.noted", "test.seen")), "by_topic"),
    "user": (Filter(user="1"), "by_owner by_actor"),
    "correlation": (Filter(correlation="c1"), "by_correlation"),
    "causation": (Filter(after=3, correlation="c1", causation=3), "by_correlation"),
}


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("what", INDEXES)
def test_each_condition_finds_its_rows_by_an_index_in_order(path: Path, what: str, newest_first: bool) -> None:
    """Nothing is scanned from one end to the other, and no rows but those of a page are sorted."""
    wanted, names = INDEXES[what]
    query, parameters = replace(wanted, newest_first=newest_first).sql(50)
    with closing(sqlite3.connect(path)) as connection:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}", parameters)]
    looked_up = [line for line in plan if "stored_events" in line]
    assert looked_up, plan
    assert not [line for line in looked_up if not line.startswith("SEARCH stored_events USING")], plan
    for name in names.split():
        assert name in " ".join(looked_up), plan
    if what not in {"stream", "prefix", "prefix of few"}:  # Those are few, or sorted by name.
        before = [plan[n - 1] for n, line in enumerate(plan) if line == "USE TEMP B-TREE FOR ORDER BY"]
        assert not [line for line in before if not line.startswith("SCAN (subquery")], plan


def test_times_are_turned_into_positions_which_have_an_index(reader: Reader, path: Path) -> None:
    placed = reader._placed(Filter(since_us=START_US + 5_000_000, until_us=START_US + 9_000_000))
    assert (placed.since_us, placed.until_us) == (None, None)
    assert 0 < placed.after < (placed.until or 0)
