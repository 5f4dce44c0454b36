"""/api/admin/projections, /audit and /disk."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import pytest

from domain.users.events import UserIdleChanged
from eventlog import chain
from eventlog.checkpoint import read_note
from eventlog.codec import EventMapper
from eventlog.envelope import StoredRecord
from eventlog.schema import COLUMNS
from tests.conftest import FAST_DEMO
from tests.harness.contract import has_shape, is_problem, new_email
from tests.harness.server import Server
from tests.harness.sse import frames
from tests.harness.waiting import eventually
from tests.web.inspector_setup import EVENTS, Json, World, world

PROJECTIONS, AUDIT, DISK = "/api/admin/projections", "/api/admin/audit", "/api/admin/disk"
PROJECTION = {
    "name": str,
    "version": int,
    "position": int,
    "saved_position": int,
    "lag": int,
    "rows": int,
    "events_per_second": (int, float),
    "error": str,
    "rebuilding": (dict, None),
}
NAMES = [
    "users",
    "sessions",
    "tokens",
    "invites",
    "keys",
    "agents",
    "runners",
    "conversations",
    "usage",
    "footprints",
    "unreadable",
]
MOST_FRAMES = 200
"""A verification tells of its progress fifty times or so."""


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Return a server with a past."""
    with world(tmp_path_factory.mktemp("health")) as made:
        yield made


# -- read models ------------------------------------------------------------------------------------------


def _projection(past: World, name: str) -> Json:
    return next(p for p in past.get(PROJECTIONS)["projections"] if p["name"] == name)


def _rebuilt(past: World, name: str) -> None:
    answer = past.admin.post(f"{PROJECTIONS}/{name}/rebuild")
    assert (answer.status_code, answer.json()) == (202, {"rebuilding": True})
    _await_rebuilt(past, name)


def _await_rebuilt(past: World, name: str) -> None:
    eventually(lambda: _projection(past, name)["rebuilding"] is None, f"{name} is rebuilt")


def test_every_read_model_is_shown_and_gets_saved(past: World) -> None:
    found = past.get(PROJECTIONS)
    assert [p["name"] for p in found["projections"]] == NAMES
    for projection in found["projections"]:
        has_shape(projection, PROJECTION)
        assert projection["position"] == found["head"] == past.get(EVENTS)["head"]
        assert projection["lag"] == found["head"] - projection["saved_position"]
        assert (projection["error"], projection["rebuilding"]) == ("", None)
    eventually(lambda: not [p for p in past.get(PROJECTIONS)["projections"] if p["lag"]], "all are saved")
    rows = {p["name"]: p["rows"] for p in found["projections"]}
    assert rows["users"] >= 2
    assert rows["conversations"] == 1


@pytest.mark.parametrize("name", NAMES)
def test_a_read_model_that_is_rebuilt_shows_the_same(past: World, name: str) -> None:
    def shown() -> list[Any]:
        paths = ("/api/conversations", "/api/agents", "/api/me/sessions", "/api/me/tokens", "/api/me/env-overrides")
        return [past.person.http.get(path).json() for path in ("/auth/me", *paths)] + [
            past.admin.get("/api/admin/users").json()["users"]
        ]

    before, rows = shown(), _projection(past, name)["rows"]
    _rebuilt(past, name)
    assert shown() == before
    after = _projection(past, name)
    assert (after["rows"], after["error"]) == (rows, "")
    assert after["events_per_second"] > 0


def test_people_notice_nothing_of_a_rebuild(past: World) -> None:
    for name in ("conversations", "users", "sessions"):
        past.admin.post(f"{PROJECTIONS}/{name}/rebuild")
        title = f"While {name} are rebuilt"
        path = f"/api/conversations/{past.conversation}"
        assert past.person.http.patch(path, json={"title": title}).is_success
        assert past.person.read(past.conversation)["conversation"]["title"] == title
        _await_rebuilt(past, name)
        assert past.person.read(past.conversation)["conversation"]["title"] == title


def test_an_unknown_read_model_is_not_found(past: World) -> None:
    for name in ("nope", "Users", "%00", "n" * 500, "a.b"):
        answer = past.admin.post(f"{PROJECTIONS}/{name}/rebuild")
        problem = is_problem(answer, 404)
        assert len(problem["detail"]) < 500


def test_only_the_admin_may_rebuild(past: World) -> None:
    path = f"{PROJECTIONS}/users/rebuild"
    is_problem(past.server.client().post(path), 401)
    is_problem(past.person.http.post(path), 403, "admin_only")
    is_problem(past.admin.post(path, headers={"origin": "https://evil.example.org"}), 403)
    assert past.admin.get(path).status_code == 405


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Return a server with so many events that a rebuild and a verification take several steps."""
    folder = tmp_path_factory.mktemp("long")
    with world(folder) as made:
        server = made.server
        server.stop()
        _lengthen(server.data / "events.db", 25_000)
        server.start()
        yield made


def _lengthen(path: Path, count: int) -> None:
    """Append renames of nobody, as the program would."""
    mapper = EventMapper([UserIdleChanged])
    topic, payload, digest = mapper.encode(
        UserIdleChanged(user_id="nobody", backend="demo", idle_seconds=60), "user:nobody", 1, ""
    )
    with closing(sqlite3.connect(path)) as c, c:
        last, previous, at = c.execute(
            "SELECT last_position, hash, at FROM commits ORDER BY last_position DESC LIMIT 1"
        ).fetchone()
        for start in range(0, count, 1000):
            records = [
                StoredRecord(last + n, "user:nobody", start + n, topic, payload, at, "system", "x", None, digest)
                for n in range(1, 1001)
            ]
            c.executemany(f"INSERT INTO stored_events ({COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?)", records)
            previous = chain.link(previous, records)
            c.execute(
                "INSERT INTO commits (last_position, first_position, at, hash) VALUES (?,?,?,?)",
                (last + 1000, last + 1, at, previous),
            )
            last += 1000


def test_a_rebuild_tells_how_far_it_is_and_there_is_one_at_a_time(long: World) -> None:
    assert long.admin.post(f"{PROJECTIONS}/users/rebuild").status_code == 202
    progress = []
    refused = is_problem(long.admin.post(f"{PROJECTIONS}/agents/rebuild"), 409, "rebuilding")
    assert "users" in refused["detail"]
    while (running := _projection(long, "users")["rebuilding"]) is not None:
        progress.append((running["done"], running["total"]))
    assert progress
    assert progress == sorted(progress)
    assert all(total == long.get(EVENTS)["head"] for _, total in progress)
    assert _projection(long, "users")["events_per_second"] > 0
    _rebuilt(long, "agents")


# -- the chain --------------------------------------------------------------------------------------------


def test_the_head_of_the_chain_is_a_checkpoint_that_its_key_has_signed(past: World) -> None:
    found = past.get(f"{AUDIT}/head")
    has_shape(found, {"position": int, "hash": str, "at": int, "checkpoint": str, "key": str})
    checkpoint = read_note(found["checkpoint"], found["key"])
    assert (checkpoint.position, checkpoint.hash.hex()) == (found["position"], found["hash"])
    assert found["position"] == past.get(EVENTS)["head"]
    assert found["hash"] == past.get(f"{EVENTS}/{found['position']}")["commit"]["hash"]


def test_an_earlier_checkpoint_is_of_the_same_key(past: World) -> None:
    first = past.get(f"{AUDIT}/head")
    past.server.sign_up(new_email())
    second = past.get(f"{AUDIT}/head")
    assert first["key"] == second["key"]
    assert first["hash"] != second["hash"]


def _streamed(admin: httpx.Client) -> list[Json]:
    """Return what a verification tells as a stream, in which the result comes last and once."""
    with admin.stream("GET", f"{AUDIT}/verify", headers={"accept": "text/event-stream"}) as stream:
        assert stream.headers["content-type"] == "text/event-stream"
        found = [frame for _, frame in islice(frames(stream), MOST_FRAMES)]
    assert [f["kind"] for f in found] == ["progress"] * (len(found) - 1) + ["result"], found[-1]
    return [f["payload"] for f in found]


def test_a_log_that_nobody_touched_verifies(past: World) -> None:
    head = past.get(EVENTS)["head"]
    assert past.get(f"{AUDIT}/verify") == {"ok": True, "events": head, "position": None, "problem": ""}
    *progress, result = _streamed(past.admin)
    assert result == {"ok": True, "events": head, "position": None, "problem": ""}
    assert [p["done"] for p in progress] == sorted({p["done"] for p in progress})
    assert all(0 < p["done"] < p["total"] == head for p in progress)


def test_progress_is_told_in_steps(long: World) -> None:
    *progress, result = _streamed(long.admin)
    assert result["ok"]
    assert 10 <= len(progress) <= 60


def test_verifying_while_things_happen_is_no_false_alarm(past: World) -> None:
    for n in range(10):
        assert past.person.http.patch("/api/me", json={"name": f"Ada {n}"}).is_success
        assert past.get(f"{AUDIT}/verify")["ok"]
        assert _streamed(past.admin)[-1]["ok"]


def test_a_verification_that_nobody_waits_for_ends(past: World) -> None:
    for _ in range(3):
        with past.admin.stream("GET", f"{AUDIT}/verify", headers={"accept": "text/event-stream"}) as stream:
            next(frames(stream))
    assert past.get(f"{AUDIT}/verify")["ok"]


# -- a log that was changed -------------------------------------------------------------------------------

CHANGES = {
    "an actor": "UPDATE stored_events SET actor = 'user:other' WHERE position = 5",
    "a payload": "UPDATE stored_events SET state = X'7B7D' WHERE position = 5",
    "a payload, by hand": "UPDATE stored_events SET state = '{}' WHERE position = 5",
    "an event": "DELETE FROM stored_events WHERE position = 5",
}


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which a server has run."""
    folder = tmp_path_factory.mktemp("stopped")
    with Server(folder, backends=[FAST_DEMO]) as server:
        for _ in range(3):
            server.sign_up(new_email())
    return folder / "data"


@pytest.fixture
def own(tmp_path: Path, stopped: Path) -> Iterator[Server]:
    """Return a server on a copy of it, whose log is to be changed."""
    shutil.copytree(stopped, tmp_path / "data")
    with Server(tmp_path, backends=[FAST_DEMO]) as server:
        yield server


def _edit(server: Server, *statements: str) -> None:
    with closing(sqlite3.connect(server.data / "events.db")) as connection, connection:
        for statement in statements:
            connection.execute(statement)


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_found_with_its_position(own: Server, what: str) -> None:
    admin = own.admin()
    _edit(own, CHANGES[what])
    told = admin.get(f"{AUDIT}/verify")
    assert told.status_code == 200, told.text
    streamed = _streamed(admin)[-1]
    for result in (told.json(), streamed):
        has_shape(result, {"ok": bool, "events": int, "position": int, "problem": str})
        assert not result["ok"]
        assert abs(result["position"] - 5) <= 2, "the event, or the first of its commit"
        assert "does not verify" in result["problem"]


def test_a_log_that_was_cut_off_under_the_server_is_found_out_and_the_stream_ends(own: Server) -> None:
    """Events, commits and the counter are cut back together, so that what is left verifies: but there was more."""
    admin = own.admin()
    _edit(
        own,
        "DELETE FROM stored_events WHERE position > (SELECT last_position FROM commits LIMIT 1)",
        "DELETE FROM commits WHERE last_position > (SELECT MIN(last_position) FROM commits)",
        "UPDATE sqlite_sequence SET seq = (SELECT MAX(last_position) FROM commits)",
    )
    assert not _streamed(admin)[-1]["ok"]


# -- disk -------------------------------------------------------------------------------------------------


def test_the_disk_is_told_by_kind_and_by_type_of_event(past: World) -> None:
    found = past.get(DISK)
    has_shape(found, {"total": int, "free": int, "kinds": list, "events": list})
    assert found["free"] > 0
    assert found["total"] == sum(k["bytes"] for k in found["kinds"])
    sizes = [k["bytes"] for k in found["kinds"]]
    assert sizes == sorted(sizes, reverse=True)
    by_kind = {k["kind"]: k for k in found["kinds"]}
    assert by_kind["log"] == {"kind": "log", "bytes": (past.server.data / "events.db").stat().st_size, "files": 1}
    assert by_kind["vault"]["files"] == 1
    counts = {e["type"]: e["count"] for e in found["events"]}
    everything = past.everything()
    assert counts == {t: sum(e["type"] == t for e in everything) for t in {e["type"] for e in everything}}
    assert all(e["bytes"] > 0 for e in found["events"])
    assert [e["bytes"] for e in found["events"]] == sorted((e["bytes"] for e in found["events"]), reverse=True)


def test_what_agents_make_counts_as_homes(past: World) -> None:
    before = {k["kind"]: k["bytes"] for k in past.get(DISK)["kinds"]}.get("homes", 0)
    home = next((past.server.data / "users").iterdir())
    (home / "large").write_bytes(bytes(300_000))
    (home / "loop").symlink_to("loop")
    after = {k["kind"]: k["bytes"] for k in past.get(DISK)["kinds"]}["homes"]
    assert 300_000 <= after - before < 310_000


def test_the_kinds_are_those_of_the_contract(past: World) -> None:
    kinds = {"log", "write-ahead log", "vault", "read models", "homes", "backups", "runners", "other", "secrets"}
    assert {k["kind"] for k in past.get(DISK)["kinds"]} <= kinds


def test_an_admin_who_is_signed_out_sees_nothing_any_more(past: World) -> None:
    other = past.server.admin()
    assert other.post("/auth/logout").is_success
    for path in (PROJECTIONS, f"{AUDIT}/head", f"{AUDIT}/verify", DISK):
        is_problem(other.get(path), 401)
