"""/api/admin/streams: the histories that the log is made of, and their states."""

from collections.abc import Iterator
from urllib.parse import quote

import pytest

from tests.harness.contract import has_shape, is_problem
from tests.web.inspector_setup import EVENT, MASK, STREAMS, VARIABLE, Json, World, shows_no_secret, world

STREAM = {
    "stream": str,
    "version": int,
    "position": int,
    "changed_at": int,
    "owner": str,
    "owner_email": str,
}


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Return a server with a past."""
    with world(tmp_path_factory.mktemp("streams")) as made:
        yield made


def _heads(past: World) -> dict[str, Json]:
    """Return the newest event of every stream."""
    return {e["stream"]: e for e in past.everything()}


def test_streams_are_listed_with_the_one_that_changed_last_first(past: World) -> None:
    found = past.get(STREAMS, limit=500)
    has_shape(found, {"streams": list, "more": bool})
    heads = _heads(past)
    assert [s["stream"] for s in found["streams"]] == sorted(
        heads, key=lambda name: heads[name]["position"], reverse=True
    )
    assert found["more"] is False
    for stream in found["streams"]:
        has_shape(stream, STREAM)
        head = heads[stream["stream"]]
        assert (stream["version"], stream["position"]) == (head["version"], head["position"])
        assert (stream["changed_at"], stream["owner"]) == (head["time"], head["owner"])
        assert stream["owner_email"] == head["owner_email"]


def test_streams_with_the_most_changes_come_first_if_asked_for(past: World) -> None:
    found = past.get(STREAMS, order="changes", limit=500)["streams"]
    heads = _heads(past)
    assert {s["stream"] for s in found} == set(heads)
    versions = [s["version"] for s in found]
    assert versions == sorted(versions, reverse=True)
    assert found[0]["version"] == max(e["version"] for e in heads.values())


@pytest.mark.parametrize("order", ["newest", "changes"])
def test_by_prefix(past: World, order: str) -> None:
    found = past.get(STREAMS, prefix="user:", order=order)["streams"]
    assert {s["stream"] for s in found} == {name for name in _heads(past) if name.startswith("user:")}


@pytest.mark.parametrize("order", ["newest", "changes"])
def test_by_user(past: World, order: str) -> None:
    found = {s["stream"] for s in past.get(STREAMS, user=past.ada, order=order, limit=500)["streams"]}
    assert {f"user:{past.ada}", f"conversation:{past.conversation}", f"keys:{past.ada}"} <= found
    assert not [s for s in found if past.bob in s]
    assert "admin" not in found


def test_pages_of_streams_hold_every_stream_once(past: World) -> None:
    expected = [s["stream"] for s in past.get(STREAMS, limit=500)["streams"]]
    found: list[str] = []
    place: dict[str, int] = {}
    while True:
        page = past.get(STREAMS, limit=4, **place)
        found += [s["stream"] for s in page["streams"]]
        if not page["more"]:
            break
        place = {"before": page["streams"][-1]["position"]}
    assert found == expected


@pytest.mark.parametrize("order", ["newest", "changes"])
def test_there_is_no_more_when_the_page_is_just_full(past: World, order: str) -> None:
    count = len(_heads(past))
    assert past.get(STREAMS, order=order, limit=count)["more"] is False
    assert past.get(STREAMS, order=order, limit=count - 1)["more"] is True


def test_one_stream_is_described(past: World) -> None:
    for name, head in _heads(past).items():
        found = past.get(f"{STREAMS}/{quote(name)}")
        has_shape(found, {**STREAM, "created_at": int})
        first = past.events(stream=name, order="oldest", limit=1)[0]
        assert (found["stream"], found["version"], found["position"]) == (name, head["version"], head["position"])
        assert (found["created_at"], found["changed_at"]) == (first["time"], head["time"])


def test_a_stream_that_is_not_there_is_not_found(past: World) -> None:
    for name in ("none", "user:", "user:none", "state", "a/b/c", "user:none/state", "%00", "%ff", "\u2603"):
        is_problem(past.admin.get(f"{STREAMS}/{name}"), 404)


@pytest.mark.parametrize(
    "query", ["order=oldest", "limit=0", "limit=501", "before=x", "user=%00", "prefix=%00&order=newest"]
)
def test_a_query_that_means_nothing_is_a_bad_query(past: World, query: str) -> None:
    is_problem(past.admin.get(f"{STREAMS}?{query}"), 400, "bad_query")


# -- states -----------------------------------------------------------------------------------------------


def _state(past: World, stream: str, version: int | None = None) -> Json:
    return past.get(f"{STREAMS}/{stream}/state", **({} if version is None else {"version": version}))


def test_the_state_is_that_of_the_newest_version_unless_another_is_asked_for(past: World) -> None:
    stream = f"conversation:{past.conversation}"
    head = _heads(past)[stream]
    newest = _state(past, stream)
    assert (newest["version"], newest["event"]) == (head["version"], head)
    assert newest["state"]["title"] == "Another title"
    assert _state(past, stream, head["version"]) == newest
    has_shape(
        newest, {"stream": str, "version": int, "event": dict, "state": dict, "previous": dict, "changes": list}
    )
    has_shape(newest["event"], EVENT)


def test_the_first_version_has_none_before_it(past: World) -> None:
    first = _state(past, f"conversation:{past.conversation}", 1)
    assert first["previous"] is None
    assert first["state"]["messages"] == {}
    assert {"path": "id", "before": None, "after": past.conversation} in first["changes"]


def test_each_version_changes_the_one_before(past: World) -> None:
    stream = f"conversation:{past.conversation}"
    previous: Json | None = None
    for event in past.everything(stream=stream):
        found = _state(past, stream, event["version"])
        assert found["event"] == event
        assert found["previous"] == previous
        for change in found["changes"]:
            has_shape(change, {"path": str})
            assert change["before"] != change["after"]
        previous = found["state"]
    assert previous is not None
    assert next(iter(previous["messages"].values()))["content"] == "a question"
    assert previous["turns"][past.turn]["status"] == "finished"


def test_a_rename_is_one_change(past: World) -> None:
    stream = f"conversation:{past.conversation}"
    renamed = past.events(stream=stream, type="conversation.renamed")[0]
    found = _state(past, stream, renamed["version"])
    assert [c["path"] for c in found["changes"]] == ["title"]
    assert found["changes"][0]["after"] == "Another title"


def test_states_show_no_secret(past: World) -> None:
    for name, head in _heads(past).items():
        for version in range(1, head["version"] + 1):
            answer = past.admin.get(f"{STREAMS}/{quote(name)}/state", params={"version": version})
            assert answer.status_code == 200, (name, version, answer.text)
            shows_no_secret(answer.text)
            assert past.secret not in answer.text
    keys = _state(past, f"keys:{past.ada}")
    assert keys["state"] == {f"all/{VARIABLE}": MASK}


def test_of_a_deleted_user_the_state_has_blanks(past: World) -> None:
    found = _state(past, f"user:{past.bob}", 1)
    assert found["event"]["erased"]
    assert (found["state"]["email"], found["state"]["name"]) == ("", "")
    assert found["state"]["user_id"] == past.bob


@pytest.mark.parametrize("version", ["0", "-1", "x", "1.5", "999999", "9" * 100, "0" * 30 + "1" * 30])
def test_a_version_that_there_is_not_is_a_bad_query(past: World, version: str) -> None:
    answer = past.admin.get(f"{STREAMS}/conversation:{past.conversation}/state?version={version}")
    is_problem(answer, 400, "bad_query")
