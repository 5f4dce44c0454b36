"""/api/admin/events: finding events, looking at one, counting them."""

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.harness.contract import has_shape, is_problem, new_email
from tests.harness.waiting import eventually
from tests.web.inspector_setup import EVENT, EVENTS, MASK, PATHS, Json, World, shows_no_secret, world


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Return a server with a past."""
    with world(tmp_path_factory.mktemp("events")) as made:
        yield made


@pytest.mark.parametrize("path", PATHS)
def test_only_the_admin_may_look(past: World, path: str) -> None:
    is_problem(past.server.client().get(path), 401)
    is_problem(past.person.http.get(path), 403, "admin_only")
    is_problem(past.server.client(headers={"authorization": f"Bearer {past.secret}"}).get(path), 403)
    if not path.endswith("/live"):
        assert past.admin.get(path).status_code == 200


def test_the_newest_events_come_first_unless_the_oldest_are_asked_for(past: World) -> None:
    newest = past.get(EVENTS)
    has_shape(newest, {"events": list, "head": int, "more": bool})
    positions = [e["position"] for e in newest["events"]]
    assert positions == list(range(newest["head"], newest["head"] - len(positions), -1))
    oldest = past.get(EVENTS, order="oldest", limit=7)
    assert [e["position"] for e in oldest["events"]] == list(range(1, 8))
    assert oldest["more"]


def test_an_event_is_shown_with_its_whole_envelope(past: World) -> None:
    for event in past.everything():
        has_shape(event, EVENT)
        assert event["time_us"] // 1_000_000 == event["time"]
        assert event["time"] > 1_700_000_000


def test_no_secret_is_ever_shown(past: World) -> None:
    events = past.everything()
    shows_no_secret(str(events))
    assert past.secret not in str(events)
    masked = {(e["type"], name) for e in events for name, value in e["payload"].items() if value == MASK}
    assert masked >= {("keys.set", "value"), ("user.registered", "password_hash"), ("token.created", "hash")}


def test_what_was_private_to_a_deleted_user_is_blank_and_marked(past: World) -> None:
    events = past.everything(user=past.bob)
    erased = [e for e in events if e["erased"]]
    assert {e["type"] for e in erased} >= {"user.registered", "keys.set", "message.posted", "conversation.started"}
    assert all(e["owner_email"] == "" for e in events)
    (registered,) = [e for e in erased if e["stream"] == f"user:{past.bob}"]
    assert (registered["payload"]["email"], registered["payload"]["name"]) == ("", "")
    assert registered["payload"]["user_id"] == past.bob
    assert not [e for e in past.everything(user=past.ada) if e["erased"]]


def test_whom_an_event_is_about_is_told_with_the_address(past: World) -> None:
    owned = [e for e in past.everything() if e["owner"] == past.ada]
    assert owned
    assert {e["owner_email"] for e in owned} == {past.ada_email}


# -- filters ----------------------------------------------------------------------------------------------


def test_by_stream_and_by_prefix(past: World) -> None:
    stream = f"conversation:{past.conversation}"
    assert {e["stream"] for e in past.everything(stream=stream)} == {stream}
    assert [e["version"] for e in past.everything(stream=stream)] == list(
        range(1, len(past.everything(stream=stream)) + 1)
    )
    users = {e["stream"] for e in past.everything(prefix="user:")}
    assert users >= {f"user:{past.ada}", f"user:{past.bob}"}
    assert all(s.startswith("user:") for s in users)
    assert past.events(stream="user:") == []
    assert {e["stream"] for e in past.everything(prefix=f"user:{past.ada[:10]}")} <= users


def test_by_one_or_several_types(past: World) -> None:
    assert {e["type"] for e in past.everything(type="user.registered")} == {"user.registered"}
    both = ["user.registered", "conversation.started"]
    assert {e["type"] for e in past.everything(type=both)} == set(both)
    assert past.events(type="no.such.type") == []


def test_by_user_means_about_them_or_by_them(past: World) -> None:
    everything = past.everything()
    expected = [e for e in everything if e["owner"] == past.bob or e["actor"] == f"user:{past.bob}"]
    assert past.everything(user=past.bob) == expected
    assert [e for e in expected if e["actor"] != f"user:{past.bob}"], "the admin deleted him"


def test_by_correlation_and_by_several_conditions_at_once(past: World) -> None:
    everything = past.everything()
    correlation = next(e["correlation"] for e in everything if e["type"] == "turn.started")
    same = [e for e in everything if e["correlation"] == correlation]
    assert past.everything(correlation=correlation) == same
    assert past.everything(correlation=correlation, type="turn.started", user=past.ada) == [
        e for e in same if e["type"] == "turn.started"
    ]
    assert past.everything(correlation=correlation, user=past.bob) == []


def test_by_time_the_beginning_is_inclusive_and_the_end_exclusive(past: World) -> None:
    everything = past.everything()
    times = sorted({e["time"] for e in everything})
    assert past.everything(since=times[0]) == everything
    assert past.everything(until=times[0]) == []
    assert past.everything(since=times[-1] + 1) == []
    middle = times[len(times) // 2]
    assert past.everything(since=middle) == [e for e in everything if e["time"] >= middle]
    assert past.everything(until=middle) == [e for e in everything if e["time"] < middle]
    assert past.everything(since=middle, until=middle) == []
    assert past.everything(until=0) == []


@pytest.mark.parametrize("order", ["newest", "oldest"])
@pytest.mark.parametrize("filters", [{}, {"prefix": "user:"}, {"type": ["session.opened", "conversation.started"]}])
def test_pages_hold_everything_once(past: World, order: str, filters: dict[str, str]) -> None:
    expected = past.everything(**filters)
    if order == "newest":
        expected.reverse()
    found: list[Json] = []
    place: dict[str, int] = {}
    while True:
        page = past.get(EVENTS, order=order, limit=3, **filters, **place)
        found += page["events"]
        if not page["more"]:
            break
        assert len(page["events"]) == 3
        place = {"before" if order == "newest" else "after": page["events"][-1]["position"]}
    assert found == expected


def test_there_is_no_more_when_the_last_page_is_just_full(past: World) -> None:
    count = len(past.everything(prefix="user:"))
    assert past.get(EVENTS, prefix="user:", limit=count)["more"] is False
    assert past.get(EVENTS, prefix="user:", limit=count - 1)["more"] is True


def test_before_and_after_are_exclusive(past: World) -> None:
    assert [e["position"] for e in past.events(after=3, before=6, order="oldest")] == [4, 5]
    for before in (0, 1):
        assert past.events(before=before) == []
    assert past.events(after=past.get(EVENTS)["head"]) == []


def test_what_is_empty_does_not_count(past: World) -> None:
    params = dict.fromkeys(("stream", "prefix", "type", "user", "correlation", "since", "until", "after"), "")
    assert past.get(EVENTS, **params)["events"] == past.get(EVENTS)["events"]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=501",
        "limit=-1",
        "limit=ten",
        "limit=1.5",
        "limit=%201",
        "after=-1",
        "after=x",
        "before=1e3",
        "since=yesterday",
        "until=99999999999999999999",
        "after=9999999999999999999999999999999999999999",
        "after=" + "0" * 20 + "9" * 20,
        "since=" + "0" * 25 + "1" * 5000,
        "before=" + "9" * 5000,
        "limit=" + "0" * 5000 + "1",
        "order=sideways",
        "stream=a%00b",
        "user=%00",
    ],
)
def test_a_query_that_means_nothing_is_a_bad_query(past: World, query: str) -> None:
    is_problem(past.admin.get(f"{EVENTS}?{query}"), 400, "bad_query")


def test_a_hundred_types_may_be_asked_for_together_with_a_user_and_no_more(past: World) -> None:
    types = [f"type{n}" for n in range(99)] + ["user.registered"]
    assert {e["type"] for e in past.events(type=types, user=past.ada)} == {"user.registered"}
    answer = past.admin.get(EVENTS, params={"type": [*types, "one.more"], "user": past.ada})
    assert is_problem(answer, 400, "bad_query")["detail"] == "At most 100 types can be asked for at once."


def test_the_largest_time_that_is_taken_finds_everything_or_nothing(past: World) -> None:
    assert past.events(since=2**53) == []
    assert len(past.events(until=2**53, limit=500)) > 20


# -- one event, types, timeline ---------------------------------------------------------------------------


def test_types_are_those_of_the_events(past: World) -> None:
    assert past.get(f"{EVENTS}/types") == {"types": sorted({e["type"] for e in past.everything()})}


def test_an_event_is_shown_with_its_commit_and_what_belongs_to_it(past: World) -> None:
    everything = past.everything()
    started = next(e for e in everything if e["type"] == "turn.started")
    found = past.get(f"{EVENTS}/{started['position']}")
    assert found["event"] == started
    has_shape(found["commit"], {"first": int, "last": int, "at": int, "hash": str})
    assert found["commit"]["first"] <= started["position"] <= found["commit"]["last"]
    assert len(bytes.fromhex(found["commit"]["hash"])) == 32
    assert found["related"] == [e for e in everything if e["correlation"] == started["correlation"]]
    assert found["effects"] == [e for e in everything if e["causation"] == started["position"]]


def test_an_answer_is_an_effect_of_its_question(past: World) -> None:
    caused = next(e for e in past.everything() if e["causation"])
    found = past.get(f"{EVENTS}/{caused['causation']}")
    assert caused in found["effects"]
    assert caused in found["related"]


def test_of_a_correlation_with_many_events_the_first_two_hundred_are_shown(past: World) -> None:
    with past.server.client(headers={**past.person.bearer, "x-request-id": "many"}) as client:
        for _ in range(205):
            made = client.post("/api/conversations", json={"backend": "demo"})
            assert made.is_success
    correlation = past.events(stream=f"conversation:{made.json()['conversation']['id']}")[0]["correlation"]
    if correlation != "many":
        pytest.fail(f"the id of a request is not kept as its correlation: {correlation}")
    newest = past.events(correlation="many")[0]
    related = past.get(f"{EVENTS}/{newest['position']}")["related"]
    assert len(related) == 200
    assert related == past.everything(correlation="many")[:200]


@pytest.mark.parametrize("position", ["0", "999999999", "9999999999999999999999999", "-1", "x", "1.5", "%D9%A3x"])
def test_an_event_that_is_not_there_is_not_found(past: World, position: str) -> None:
    assert past.admin.get(f"{EVENTS}/{position}").status_code == 404


def test_the_timeline_counts_every_event_once(past: World) -> None:
    found = past.get(f"{EVENTS}/timeline")
    has_shape(found, {"since": int, "until": int, "seconds": int, "buckets": list})
    assert found["until"] - found["since"] == 86400
    counts: Counter[str] = Counter()
    for bucket in found["buckets"]:
        assert found["since"] - found["seconds"] < bucket["at"] < found["until"]
        counts.update(bucket["counts"])
    assert counts == Counter(e["type"] for e in past.everything())


@pytest.mark.parametrize("buckets", [1, 7, 500])
def test_the_timeline_has_as_many_spans_as_asked_for_at_most(past: World, buckets: int) -> None:
    found = past.get(f"{EVENTS}/timeline", buckets=buckets, since=past.everything()[0]["time"] - 10)
    assert found["seconds"] * buckets >= found["until"] - found["since"]
    assert len(found["buckets"]) <= buckets + 1, "one more where the first is cut"
    starts = [b["at"] for b in found["buckets"]]
    assert starts == sorted(set(starts))


def test_the_timeline_takes_the_same_filters(past: World) -> None:
    found = past.get(f"{EVENTS}/timeline", user=past.bob, type=["user.registered", "keys.set"])
    counts: Counter[str] = Counter()
    for bucket in found["buckets"]:
        counts.update(bucket["counts"])
    expected = past.everything(user=past.bob, type=["user.registered", "keys.set"])
    assert counts == Counter(e["type"] for e in expected)
    assert past.get(f"{EVENTS}/timeline", since=10, until=20)["buckets"] == []


@pytest.mark.parametrize(
    "query", ["buckets=0", "buckets=501", "buckets=x", "since=20&until=10", "since=10&until=10", "since=-5"]
)
def test_a_timeline_that_means_nothing_is_a_bad_query(past: World, query: str) -> None:
    is_problem(past.admin.get(f"{EVENTS}/timeline?{query}"), 400, "bad_query")


def test_looking_leaves_no_trace(past: World) -> None:
    head = past.get(EVENTS)["head"]
    for path in PATHS:
        if not path.endswith("/live"):
            past.admin.get(path)
    assert past.get(EVENTS)["head"] == head


def test_what_has_just_happened_is_there_at_once(past: World) -> None:
    email = new_email("late")
    client = past.server.sign_up(email)
    user = client.get("/auth/me").json()["user"]["id"]
    events = past.everything(user=user)
    assert {"user.registered", "session.opened"} <= {e["type"] for e in events}
    assert {e["owner_email"] for e in events if e["owner"]} == {email}
    eventually(lambda: past.get(EVENTS)["head"] >= events[-1]["position"], "the head is known")
