"""/api/admin/events/live and /export: following the log, and taking it along."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import FAST_DEMO
from tests.harness.contract import new_email
from tests.harness.server import Server
from tests.harness.sse import frames
from tests.web.inspector_setup import EVENT, EVENTS, Json, World, shows_no_secret, world

LIVE, EXPORT = f"{EVENTS}/live", f"{EVENTS}/export"
Frames = Iterator[tuple[str, Any]]


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Return a server with a past."""
    with world(tmp_path_factory.mktemp("live")) as made:
        yield made


@contextmanager
def _live(past: World, last: int | str | None = None, **params: Any) -> Iterator[Frames]:
    """Open the stream, read the greeting, and give what follows."""
    headers = {} if last is None else {"last-event-id": str(last)}
    with past.admin.stream("GET", LIVE, params=params, headers=headers) as stream:
        assert stream.status_code == 200
        assert stream.headers["content-type"] == "text/event-stream"
        found = frames(stream)
        id_, hello = next(found)
        assert hello["kind"] == "hello"
        assert id_.isdecimal()
        assert isinstance(hello["payload"]["head"], int)
        yield found


def _rename(past: World, title: str) -> None:
    path = f"/api/conversations/{past.conversation}"
    assert past.person.http.patch(path, json={"title": title}).is_success


def _next(found: Frames) -> Json:
    id_, frame = next(found)
    assert frame["kind"] == "event"
    assert id_ == str(frame["payload"]["position"])
    assert set(EVENT) <= set(frame["payload"])
    event: Json = frame["payload"]
    return event


def test_events_come_as_they_happen_in_the_shape_of_the_list(past: World) -> None:
    with _live(past) as found:
        for n in range(3):
            _rename(past, f"Live {n}")
            event = _next(found)
            assert (event["type"], event["payload"]["title"]) == ("conversation.renamed", f"Live {n}")
            assert past.events(limit=1) == [event]


def test_it_begins_with_now(past: World) -> None:
    head = past.get(EVENTS)["head"]
    with _live(past) as found:
        _rename(past, "The first that comes")
        assert _next(found)["position"] == head + 1


@pytest.mark.parametrize(
    "what", ["stream", "prefix", "type", "user", "correlation of another", "several", "another user"]
)
def test_only_what_fits_is_sent(past: World, what: str) -> None:
    choices: dict[str, dict[str, Any]] = {
        "stream": {"stream": f"user:{past.ada}"},
        "prefix": {"prefix": "user:"},
        "type": {"type": ["user.renamed", "no.such"]},
        "user": {"user": past.ada, "type": "user.renamed"},
        "correlation of another": {"correlation": "none"},
        "several": {"prefix": "user:", "user": past.ada, "type": "user.renamed"},
        "another user": {"user": past.bob},
    }
    filters = choices[what]
    before = past.get(EVENTS)["head"]
    with _live(past, **filters) as found:
        _rename(past, f"Not wanted, {what}")
        assert past.person.http.patch("/api/me", json={"name": f"Ada {what}"}).is_success
        if what in {"correlation of another", "another user"}:
            assert past.events(after=before, **filters) == []
            return
        assert _next(found) == past.events(after=before, **filters)[0]


def test_a_tail_goes_on_where_it_was_without_gap_or_duplicate(past: World) -> None:
    head = past.get(EVENTS)["head"]
    for last in (0, 1, head // 2, head - 1):
        expected = past.everything(after=last)
        with _live(past, last) as found:
            assert [_next(found) for _ in expected] == expected
            _rename(past, f"Then live, after {last}")
            assert _next(found)["position"] == expected[-1]["position"] + 1


def test_a_tail_that_was_cut_off_misses_nothing(past: World) -> None:
    last = past.get(EVENTS)["head"]
    seen: list[int] = []
    for n in range(5):
        with _live(past, last) as found:
            _rename(past, f"Cut {n}")
            event = _next(found)
            seen.append(event["position"])
            last = event["position"]
        _rename(past, f"Between {n}")
    with _live(past, last) as found:
        seen.append(_next(found)["position"])
    first = seen[0]
    assert sorted(seen) == seen
    assert [e["position"] for e in past.everything(after=first - 1)][: seen[-1] - first + 1] == list(
        range(first, seen[-1] + 1)
    )
    # What came between two connections was sent by the next one.
    assert [e["payload"]["title"] for e in past.everything(after=first - 1)][:4] == [
        "Cut 0",
        "Between 0",
        "Cut 1",
        "Between 1",
    ]


def test_a_tail_with_a_filter_goes_on_from_an_event_that_did_not_fit(past: World) -> None:
    expected = past.everything(user=past.bob)
    with _live(past, 0, user=past.bob) as found:
        assert [_next(found) for _ in expected] == expected


@pytest.mark.parametrize("last", ["x", "", "-1", "1.5", "999999999999999", "9" * 400])
def test_a_last_event_id_that_means_nothing_begins_with_now(past: World, last: str) -> None:
    with _live(past, last) as found:
        _rename(past, f"Now {len(last)}")
        assert _next(found)["payload"]["title"] == f"Now {len(last)}"


def test_secrets_are_masked_and_what_is_erased_is_marked(past: World) -> None:
    expected = past.everything()
    with _live(past, 0) as found:
        events = [_next(found) for _ in expected]
    shows_no_secret(str(events))
    assert [e for e in events if e["erased"]]


@pytest.mark.parametrize("query", ["after=x", "before=-1", "since=x", "user=%00"])
def test_a_bad_query_opens_no_stream(past: World, query: str) -> None:
    assert past.admin.get(f"{LIVE}?{query}").status_code == 400
    assert past.admin.get(f"{EXPORT}?{query}").status_code == 400


def test_it_ends_when_the_session_of_the_admin_is_revoked(past: World) -> None:
    other = past.server.admin()
    session = next(s for s in other.get("/api/me/sessions").json()["sessions"] if s["current"])
    with other.stream("GET", LIVE) as stream:
        found = frames(stream)
        next(found)
        _rename(past, "Still there")
        assert _next(found)["payload"]["title"] == "Still there"
        assert past.admin.delete(f"/api/me/sessions/{session['id']}").is_success
        _rename(past, "Not for them")
        rest = [frame for _, frame in found]
    assert "Not for them" not in str(rest)
    assert other.get(EVENTS).status_code == 401
    assert past.admin.get(EVENTS).status_code == 200


def test_it_ends_with_the_server(tmp_path: Path) -> None:
    with Server(tmp_path, backends=[FAST_DEMO]) as server:
        admin = server.admin()
        with admin.stream("GET", LIVE) as stream:
            found = frames(stream)
            next(found)
            assert server.stop() == 0
            try:
                assert list(found) == []
            except httpx.RemoteProtocolError as error:
                raise AssertionError("it was cut off in the middle") from error


# -- export -----------------------------------------------------------------------------------------------


def _exported(past: World, **params: Any) -> list[Json]:
    answer = past.admin.get(EXPORT, params=params)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert "attachment" in answer.headers["content-disposition"]
    assert answer.headers["cache-control"] == "no-store"
    assert answer.text == "" or answer.text.endswith("\n")
    return [json.loads(line) for line in answer.text.splitlines()]


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"type": "user.registered"},
        {"prefix": "user:"},
        {"after": 5, "before": 12},
        {"since": 10},
        {"until": 10},
    ],
    ids=str,
)
def test_an_export_is_what_is_listed_oldest_first(past: World, params: dict[str, Any]) -> None:
    assert _exported(past, **params) == past.everything(**params)


def test_an_export_of_one_user_shows_no_secret(past: World) -> None:
    for user in (past.ada, past.bob):
        found = _exported(past, user=user)
        assert found == past.everything(user=user)
        shows_no_secret(str(found))


@pytest.mark.parametrize("before", [0, 1, 2])
def test_an_export_of_what_is_before_the_beginning_is_empty(past: World, before: int) -> None:
    assert [e["position"] for e in _exported(past, before=before)] == list(range(1, before))


def test_an_export_ends_even_if_events_keep_coming(past: World) -> None:
    """It is of the moment when it was asked for."""
    head = past.get(EVENTS)["head"]
    with past.admin.stream("GET", EXPORT) as stream:
        _rename(past, "During the export")
        found = [json.loads(line) for line in stream.iter_lines()]
    assert [e["position"] for e in found] == list(range(1, head + 1))


def test_a_user_with_many_events_is_exported_whole(past: World) -> None:
    email = new_email("busy")
    client = past.server.sign_up(email)
    user = client.get("/auth/me").json()["user"]["id"]
    for n in range(30):
        assert client.patch("/api/me", json={"name": f"Name {n}"}).is_success
    names = [e["payload"]["name"] for e in _exported(past, user=user, type="user.renamed")]
    assert names == [f"Name {n}" for n in range(30)]
