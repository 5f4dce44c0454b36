"""`agentstack compact`: forgetting what may be forgotten, on a folder in which a server has run."""

import json
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from agentstack.settings import MASTER, kept_secret
from domain.catalogue import EVENT_TYPES
from domain.sessions.events import SessionOpened, SessionRevoked
from domain.usage.events import Tally, UsageRecorded
from eventlog.codec import EventMapper
from eventlog.envelope import Origin, StreamAppend
from eventlog.log import open_log
from eventlog.vault import Vault
from tests.agentstack.serving import digests, stored
from tests.agentstack.test_cli import ok, told
from tests.conftest import FAST_DEMO
from tests.harness.person import Person
from tests.harness.server import Server

DAY = 86400
BROKEN = {
    **FAST_DEMO,
    "name": "broken",
    "command": ["{python}", "-c", "import sys; print('planted-output'); sys.exit(3)"],
}
BACKENDS = [FAST_DEMO, BROKEN]
TALLY = Tally(
    agent_id="a", backend="demo", model="m", requests=1, errors=0, prompt_tokens=1, completion_tokens=1, unknown=0
)


@dataclass(frozen=True)
class Past:
    """A folder with what may go, by age and by deletion, and what may not."""

    folder: Path
    conversation: str
    token: str
    """Of ada's session, which is still good."""
    bob: str


def _age(data: Path) -> None:
    """Write usage and sign-ins of the last two years: one of each every fifty days."""
    data.mkdir(mode=0o700, parents=True)

    async def write() -> None:
        with closing(Vault(data, kept_secret(data, MASTER))) as vault:
            vault.create("old")
            async with open_log(data, EventMapper(EVENT_TYPES, vault)) as log:
                now = time.time()
                for n, days in enumerate(range(700, 0, -50)):
                    at = int(now - days * DAY)
                    usage = UsageRecorded(user_id="old", since=at - 60, until=at, tallies=(TALLY,))
                    opened = SessionOpened(session_id=f"s{n}", user_id="old", device="d", expires_at=at + 7 * DAY)
                    ended = SessionRevoked(session_id=f"s{n}", user_id="old", reason="logout")
                    await log.append(
                        StreamAppend("usage:old", n, [usage], "old", at * 1_000_000),
                        StreamAppend("session:old", 2 * n, [opened, ended], "old", at * 1_000_000),
                        origin=Origin("system", "test"),
                    )

    trio.run(write)


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Past:
    """Return such a folder; no server runs in it."""
    folder = tmp_path_factory.mktemp("past")
    _age(folder / "data")
    with Server(folder, backends=BACKENDS) as server, Person(server, "ada") as person:
        admin = server.admin()
        conversation = person.conversation("demo")
        turn = person.ask(conversation, "kept for ever")
        assert person.await_turn(conversation, turn) == "finished"
        with Person(server, "bob") as bob:
            for backend in ("demo", "broken"):
                bobs = bob.conversation(backend)
                bob.await_turn(bobs, bob.ask(bobs, f"planted-question {'x' * 100_000}"))
            bob_id: str = bob.http.get("/auth/me").json()["user"]["id"]
            assert admin.delete(f"/api/admin/users/{bob_id}").is_success
        return Past(folder, conversation, person.token, bob_id)


@pytest.fixture
def own(past: Past, tmp_path: Path) -> Iterator[Server]:
    """Return a server on a copy of it, which does not run."""
    shutil.copytree(past.folder / "data", tmp_path / "data")
    server = Server(tmp_path, backends=BACKENDS)
    yield server
    server.__exit__()


def _compacted(server: Server, *args: str) -> dict[str, int]:
    found: dict[str, int] = json.loads(ok(server.cli("compact", "--json", *args)))
    return found


def _blank(server: Server) -> set[int]:
    return {r.position for r in stored(server.data) if not r.state}


def test_what_is_old_and_what_was_a_deleted_users_goes_and_nothing_else(past: Past, own: Server) -> None:
    before = stored(own.data)
    now = time.time()
    done = _compacted(own)
    limits = {"usage.recorded": 400, "session.opened": 90, "session.revoked": 90}
    old = {r.position for r in before if r.topic in limits and r.at < (now - limits[r.topic] * DAY) * 1e6}
    bobs = {r.position for r in before if r.owner == past.bob and b"\0" in r.state}
    assert len(old) > 20
    assert len(bobs) > 5
    assert _blank(own) <= old | bobs
    assert old <= _blank(own)
    assert done["events"] == len(_blank(own))
    # Who did what and when stays.
    assert [r._replace(state=b"") for r in stored(own.data)] == [r._replace(state=b"") for r in before]


def test_how_long_things_are_kept_may_be_said(own: Server) -> None:
    usage = [r for r in stored(own.data) if r.topic == "usage.recorded" and r.owner == "old"]
    _compacted(own, "--usage-days", "99", "--session-days", "301")
    kept = [r for r in stored(own.data) if r.topic == "usage.recorded" and r.owner == "old" and r.state]
    assert len(kept) == 1 < len(usage)
    opened = [r for r in stored(own.data) if r.topic == "session.opened" and r.owner == "old" and r.state]
    assert len(opened) == 6


def test_a_sign_in_that_is_still_good_is_kept_however_short_the_time(own: Server) -> None:
    """Sign-ins last longer here than what was asked for."""
    own.env["JWT_TTL_SECONDS"] = str(200 * DAY)
    _compacted(own, "--session-days", "1")
    opened = [r for r in stored(own.data) if r.topic == "session.opened" and r.owner == "old" and r.state]
    assert 3 <= len(opened) <= 4


def test_the_file_gets_smaller_and_it_says_by_how_much(own: Server) -> None:
    before = (own.data / "events.db").stat().st_size
    done = _compacted(own)
    assert done["before"] >= before > done["after"] == (own.data / "events.db").stat().st_size
    assert before - done["after"] > 150_000
    assert _compacted(own)["events"] == 0
    assert "its chain verifies" in ok(own.cli("compact")).replace("\n", " ")


def test_a_dry_run_changes_nothing_and_tells_what_would_go(own: Server) -> None:
    before = digests(own.data)
    dry = _compacted(own, "--dry-run")
    said = ok(own.cli("compact", "--dry-run")).replace("\n", " ")
    assert "Nothing was changed" in said
    assert f"{dry['events']} events" in said
    assert digests(own.data) == before
    done = _compacted(own)
    assert (dry["events"], dry["payload_bytes"]) == (done["events"], done["payload_bytes"])


def test_the_server_goes_on_as_if_nothing_had_happened(past: Past, own: Server) -> None:
    _compacted(own)
    own.start()
    client = own.client(headers={"authorization": f"Bearer {past.token}"})
    found = client.get(f"/api/conversations/{past.conversation}").json()
    assert [m["content"] for m in found["messages"]][:1] == ["kept for ever"]
    turn = client.post(f"/api/conversations/{past.conversation}/turns", json={"content": "And now?"})
    assert turn.status_code == 202
    admin = own.admin()
    assert admin.get("/api/admin/audit/verify").json()["ok"]
    for path in ("users", "usage", "streams", "events", "projections", "disk", "runners"):
        answer = admin.get(f"/api/admin/{path}")
        assert answer.is_success, answer.text
    assert own.sign_up("eve@example.org").get("/auth/me").is_success
    assert own.stop() == 0
    assert not [r for r in own.records() if r["level"] in {"error", "critical"}]


def test_a_runner_of_a_deleted_user_that_had_failed_is_not_taken_to_be_alive(past: Past, own: Server) -> None:
    """Else the next start looks after it: it writes about a runner that ended long ago."""
    ends = {"runner.failed", "runner.stopped", "runner.vanished"}
    assert [r for r in stored(own.data) if r.topic == "runner.failed" and r.owner == past.bob]
    _compacted(own)
    before = stored(own.data)
    own.start()
    assert own.admin().get("/api/admin/runners").json()["runners"] == []
    assert own.stop() == 0
    mine = {r.originator_id for r in before if r.owner == past.bob}
    written = [r for r in stored(own.data)[len(before) :] if r.originator_id in mine and r.topic in ends]
    assert written == []
    assert not [r for r in own.records() if r["level"] in {"error", "critical"}]


def test_every_stream_and_event_can_still_be_looked_at(past: Past, own: Server) -> None:
    _compacted(own)
    own.start()
    admin = own.admin()
    events = admin.get("/api/admin/events", params={"user": past.bob, "limit": 500}).json()["events"]
    blank = [e for e in events if e["erased"]]
    assert blank
    assert "planted" not in str(events)
    for stream in {e["stream"] for e in events}:
        for version in range(1, max(e["version"] for e in events if e["stream"] == stream) + 1):
            answer = admin.get(f"/api/admin/streams/{stream}/state", params={"version": version})
            assert answer.is_success, (stream, version, answer.text)
    assert admin.get(f"/api/admin/events/{blank[0]['position']}").json()["event"] == blank[0]


def test_a_checkpoint_of_before_still_fits(own: Server) -> None:
    note = own.folder / "checkpoint"
    note.write_text(ok(own.cli("audit", "head")), encoding="utf-8")
    _compacted(own)
    ok(own.cli("audit", "verify", "--against", str(note)))


def test_verifying_tells_how_many_events_were_emptied(own: Server) -> None:
    assert json.loads(ok(own.cli("audit", "verify", "--json")))["emptied"] == 0
    assert "are gone" not in ok(own.cli("audit", "verify"))
    done = _compacted(own)
    assert json.loads(ok(own.cli("audit", "verify", "--json")))["emptied"] == done["events"] > 0
    assert f"Of {done['events']} of them the contents are gone" in ok(own.cli("audit", "verify"))


@pytest.mark.parametrize("args", [[], ["--dry-run"]])
def test_a_log_that_was_tampered_with_is_refused_before_anything_goes(own: Server, args: list[str]) -> None:
    """Afterwards nobody could tell any more: what is blank is not compared with its digest."""
    position = next(r.position for r in stored(own.data) if r.topic == "usage.recorded")
    with closing(sqlite3.connect(own.data / "events.db")) as connection, connection:
        connection.execute("UPDATE stored_events SET state = state || x'20' WHERE position = ?", (position,))
    before = digests(own.data)
    run = own.cli("compact", *args)
    assert f"does not verify at position {position}" in told(run)
    assert run.returncode == 1
    assert digests(own.data) == before


def test_a_running_server_is_left_alone(own: Server) -> None:
    own.start()
    for args in ([], ["--dry-run"]):
        assert "in use" in told(own.cli("compact", *args))
    assert own.client().get("/readyz").is_success


@pytest.mark.parametrize("args", [["--usage-days", "30"], ["--session-days", "0"], ["--usage-days", "x"]])
def test_times_that_are_too_short_are_refused(own: Server, args: list[str]) -> None:
    before = digests(own.data)
    assert args[0] in told(own.cli("compact", *args))
    assert digests(own.data) == before


def test_without_a_log_there_is_nothing_to_forget(tmp_path: Path) -> None:
    server = Server(tmp_path)
    assert "There is no event log" in told(server.cli("compact"))
    assert not server.data.exists()


def test_read_models_that_were_saved_by_a_compaction_that_was_cut_short_do_no_harm(past: Past, own: Server) -> None:
    """It was killed when payloads were blanked and before the read models were made anew."""
    shutil.copy(own.data / "views.db", own.folder / "views.db")
    _compacted(own)
    shutil.copy(own.folder / "views.db", own.data / "views.db")
    with closing(sqlite3.connect(own.data / "views.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    own.start()
    client = own.client(headers={"authorization": f"Bearer {past.token}"})
    assert client.get(f"/api/conversations/{past.conversation}").is_success
    ok(own.cli("audit", "verify"))
