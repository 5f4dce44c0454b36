"""`agentstack replay`, and looking at what it made with `serve --read-only`."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from eventlog.errors import BrokenChainError
from tests.agentstack.replay_setup import BACKEND, LATER, VARIABLE, Past, make_past
from tests.agentstack.serving import digests, serving, stored
from tests.agentstack.test_cli import ok, told
from tests.harness.contract import is_problem, operations
from tests.harness.keys import put_key
from tests.harness.server import ADMIN, PASSWORD, Server
from tests.harness.waiting import eventually


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Past:
    """Return such a folder; no server runs in it."""
    return make_past(tmp_path_factory.mktemp("past"))


@pytest.fixture
def stopped(past: Past) -> Server:
    """Return a server on that folder, which does not run."""
    return Server(past.folder, backends=[BACKEND])


@pytest.fixture(scope="module")
def shown(past: Past, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a read-only server on how it was."""
    folder = tmp_path_factory.mktemp("shown")
    out = folder / "then"
    ok(Server(past.folder, backends=[BACKEND]).cli("replay", "--to", str(past.position), "--out", str(out)))
    server = Server(folder, backends=[BACKEND])
    server.data = out
    with serving(server, "--read-only", "--data", str(out)):
        yield server


def _sign_in(server: Server, email: str, password: str = PASSWORD) -> httpx.Client:
    client = server.client()
    answer = client.post("/auth/login", json={"email": email, "password": password})
    assert answer.is_success, answer.text
    return client


# -- making one -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["position", "time"])
def test_a_folder_is_made_with_the_log_up_to_a_moment(past: Past, stopped: Server, tmp_path: Path, by: str) -> None:
    out = tmp_path / "then"
    before = digests(past.data)
    moment = str(past.position) if by == "position" else past.time
    made = json.loads(ok(stopped.cli("replay", "--to", moment, "--out", str(out), "--json")))
    assert (made["position"], made["folder"]) == (past.position, str(out))
    assert made["rows"] > 5
    assert stored(out) == stored(past.data)[: past.position]
    assert digests(past.data) == before, "the original is not touched"
    assert out.stat().st_mode & 0o777 == 0o700
    assert not [p for p in out.rglob("*") if p.is_file() and p.stat().st_mode & 0o077]


def test_it_says_how_to_look_at_it(stopped: Server, tmp_path: Path) -> None:
    out = tmp_path / "then"
    said = ok(stopped.cli("replay", "--to", "5", "--out", str(out))).replace("\n", " ")
    assert "serve --read-only --data" in said
    assert str(out) in said


@pytest.mark.parametrize(
    ("moment", "expected"), [("0", 0), ("1999-12-31", 0), ("999999", -1), ("2099-01-01T00:00", -1)]
)
def test_moments_before_the_beginning_and_after_the_end_are_those(
    past: Past, stopped: Server, tmp_path: Path, moment: str, expected: int
) -> None:
    out = tmp_path / "then"
    made = json.loads(ok(stopped.cli("replay", "--to", moment, "--out", str(out), "--json")))
    assert made["position"] == (len(stored(past.data)) if expected else 0)
    assert len(stored(out)) == made["position"]


def test_a_position_inside_a_commit_ends_before_it(past: Past, stopped: Server, tmp_path: Path) -> None:
    """An account is made in one commit of several events."""
    registered = next(r for r in stored(past.data) if r.topic == "email.claimed" and r.position > 5)
    out = tmp_path / "then"
    made = json.loads(ok(stopped.cli("replay", "--to", str(registered.position), "--out", str(out), "--json")))
    assert made["position"] < registered.position


def test_a_position_inside_a_commit_is_told_with_where_the_copy_ends(
    past: Past, stopped: Server, tmp_path: Path
) -> None:
    inside = next(r.position for r in stored(past.data) if r.topic == "email.claimed" and r.position > 5)
    out = tmp_path / "then"
    said = ok(stopped.cli("replay", "--to", str(inside), "--out", str(out))).replace("\n", " ")
    last = len(stored(out))
    assert f"as it was at position {last} " in said
    assert f"events from {last + 1} on were appended at once, the one at {inside} among them" in said
    whole = ok(stopped.cli("replay", "--to", str(last), "--out", str(tmp_path / "whole")))
    assert "at once" not in whole


def test_a_folder_that_holds_a_log_is_not_written_into(past: Past, stopped: Server, tmp_path: Path) -> None:
    before = digests(past.data)
    assert "exists already" in told(stopped.cli("replay", "--to", "5", "--out", str(past.data)))
    assert digests(past.data) == before
    out = tmp_path / "then"
    ok(stopped.cli("replay", "--to", "5", "--out", str(out)))
    before = digests(out)
    assert "exists already" in told(stopped.cli("replay", "--to", "6", "--out", str(out)))
    assert digests(out) == before


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["--to", "5"],
        ["--out", "then"],
        ["--to", "5", "--out", "then", "--diff", "1", "2"],
        ["--to", "yesterday", "--out", "then"],
        ["--to", "-5", "--out", "then"],
        ["--diff", "1", "soon"],
        ["--diff", "1"],
    ],
)
def test_what_means_nothing_is_refused(stopped: Server, args: list[str]) -> None:
    told(stopped.cli("replay", *args))
    assert not (stopped.folder / "then" / "events.db").exists()


def test_it_is_made_beside_a_running_server(past: Past, tmp_path: Path) -> None:
    shutil.copytree(past.data, tmp_path / "data")
    with Server(tmp_path, backends=[BACKEND]) as server:
        ok(server.cli("replay", "--to", str(past.position), "--out", str(tmp_path / "then")))
        assert stored(tmp_path / "then") == stored(past.data)[: past.position]
        assert server.sign_up("late@example.org").get("/auth/me").is_success


# -- looking at it ----------------------------------------------------------------------------------------


def test_the_page_is_served_and_knows_that_it_shows_the_past(shown: Server) -> None:
    client = shown.client()
    assert "<html" in client.get("/").text
    state = client.get("/auth/state").json()
    assert (state["read_only"], state["allow_signup"], state["needs_setup"]) == (True, False, False)


def test_people_see_what_they_saw_then_with_the_password_of_then(past: Past, shown: Server) -> None:
    ada = _sign_in(shown, past.email)
    found = ada.get(f"/api/conversations/{past.conversation}").json()
    assert found["conversation"]["title"] == "As it was"
    assert found["messages"][0]["content"] == "How was it?"
    assert "Late" not in str(found)
    listed = ada.get("/api/me/env-overrides").json()
    assert VARIABLE in str(listed)
    answer = shown.client().post("/auth/login", json={"email": past.email, "password": LATER})
    is_problem(answer, 401)
    is_problem(shown.client().post("/auth/login", json={"email": "eve@example.org", "password": PASSWORD}), 401)


def test_who_was_deleted_since_stays_unreadable(past: Past, shown: Server) -> None:
    answer = shown.client().post("/auth/login", json={"email": past.bob_email, "password": PASSWORD})
    is_problem(answer, 401)
    admin = _sign_in(shown, *ADMIN)
    assert past.bob_email not in admin.get("/api/admin/users").text
    events = admin.get("/api/admin/events", params={"user": past.bob}).json()["events"]
    assert [e for e in events if e["erased"]]
    assert past.bob_email not in str(events)


def test_the_admin_sees_the_log_as_it_was(past: Past, shown: Server) -> None:
    admin = _sign_in(shown, *ADMIN)
    assert admin.get("/api/admin/events").json()["head"] == past.position
    assert admin.get("/api/admin/audit/verify").json()["events"] == past.position
    for path in ("projections", "disk", "streams", "runners", "usage", "events/timeline"):
        assert admin.get(f"/api/admin/{path}").is_success, path


def _changes(past: Past) -> dict[str, tuple[str, str, Any]]:
    conversation = f"/api/conversations/{past.conversation}"
    return {
        "a conversation": ("POST", "/api/conversations", {"agent_id": past.agent}),
        "a title": ("PATCH", conversation, {"title": "Changed"}),
        "a message": ("POST", f"{conversation}/messages", {"role": "user", "content": "x"}),
        "a turn": ("POST", f"{conversation}/turns", {"content": "x"}),
        "the end of a conversation": ("DELETE", conversation, None),
        "an agent": ("POST", "/api/agents", {"backend": "demo", "name": "New"}),
        "another name of an agent": ("PATCH", f"/api/agents/{past.agent}", {"name": "Changed"}),
        "the end of an agent": ("DELETE", f"/api/agents/{past.agent}", None),
        "a runner": ("POST", "/api/runners/demo/start", None),
        "a name": ("PATCH", "/api/me", {"name": "Changed"}),
        "a password": ("POST", "/api/me/password", {"current_password": PASSWORD, "new_password": LATER + "!"}),
        "a token": ("POST", "/api/me/tokens", {"name": "t", "scope": "all"}),
        "a value": (
            "PUT",
            f"/api/me/env-overrides/{VARIABLE}?force=true",
            {"value": "x-0123456789", "backend": ""},
        ),
        "an idle time": ("PUT", "/api/runners/demo/idle", {"idle_seconds": 120}),
    }


@pytest.mark.parametrize("what", _changes(Past(Path(), 0, "", "", "", "c", "a", "", "")))
def test_a_user_can_change_nothing(past: Past, shown: Server, what: str) -> None:
    before = stored(shown.data)
    ada = _sign_in(shown, past.email)
    method, path, body = _changes(past)[what]
    answer = ada.request(method, path, json=body)
    assert answer.status_code in {403, 503}, (answer.status_code, answer.text)
    assert "read-only" in answer.text
    assert stored(shown.data) == before
    assert ada.get(f"/api/conversations/{past.conversation}").json()["conversation"]["title"] == "As it was"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/admin/users", {"email": "new@example.org", "password": PASSWORD}),
        ("DELETE", "/api/admin/users/{user}", None),
        ("PUT", "/api/admin/users/{user}/budget", {"monthly_tokens": 5}),
        ("PATCH", "/api/admin/users/{user}", {"name": "Changed"}),
        ("POST", "/api/admin/invites", {"note": "n"}),
        ("PUT", f"/api/admin/shared-env/{VARIABLE}", {"shared": True}),
    ],
)
def test_the_admin_can_change_nothing(past: Past, shown: Server, method: str, path: str, body: Any) -> None:
    before = stored(shown.data)
    admin = _sign_in(shown, *ADMIN)
    users = admin.get("/api/admin/users").json()
    answer = admin.request(method, path.replace("{user}", past.user), json=body)
    assert answer.status_code in {403, 503}, (answer.status_code, answer.text)
    assert stored(shown.data) == before
    assert admin.get("/api/admin/users").json() == users


def test_nobody_can_sign_up(shown: Server) -> None:
    answer = shown.client().post("/auth/signup", json={"email": "new@example.org", "password": PASSWORD})
    assert answer.status_code in {403, 503}, answer.text


def test_an_agent_cannot_be_asked_over_v1(past: Past, shown: Server) -> None:
    ada = _sign_in(shown, past.email)
    headers = {"authorization": f"Bearer {shown.token(ada)}"}
    body = {"model": "demo", "messages": [{"role": "user", "content": "x"}]}
    answer = ada.post("/v1/chat/completions", json=body, headers=headers)
    assert answer.status_code in {403, 503}, answer.text
    assert "read-only" in answer.text


def test_whatever_is_called_nothing_is_written(past: Past, shown: Server) -> None:
    """Every operation that there is, as a user and as the admin: none succeeds but those of signing in and out."""
    before = stored(shown.data)
    allowed = {"/auth/login", "/auth/logout", "/api/me/sessions", "/api/me/env-overrides/test"}
    done = set()
    for email, password in ((past.email, PASSWORD), ADMIN):
        for operation in operations(shown):
            if operation.method != "get":
                answer = operation.call(_sign_in(shown, email, password))
                assert answer.status_code < 500 or answer.status_code == 503, (operation, answer.text)
                done |= {operation.path} if answer.is_success else set()
    assert done <= allowed
    assert stored(shown.data) == before


def test_a_rebuild_of_the_sessions_does_not_sign_everybody_out(shown: Server) -> None:
    admin = _sign_in(shown, *ADMIN)
    path = "/api/admin/projections"
    answer = admin.post(f"{path}/sessions/rebuild")
    assert answer.status_code in {202, 403, 503}

    def rebuilt() -> bool:
        found = admin.get(path)
        assert found.is_success, found.text
        return not [p for p in found.json()["projections"] if p["rebuilding"]]

    eventually(rebuilt, "it is rebuilt, or was refused")
    assert admin.get(path).is_success


def test_signing_out_works_and_is_kept_nowhere(past: Past, shown: Server) -> None:
    before = stored(shown.data)
    ada, other = _sign_in(shown, past.email), _sign_in(shown, past.email)
    assert ada.post("/auth/logout").is_success
    is_problem(ada.get("/api/conversations"), 401)
    assert other.get("/api/conversations").is_success
    assert stored(shown.data) == before


def test_the_folder_is_the_same_after_it_was_looked_at(past: Past, stopped: Server, tmp_path: Path) -> None:
    out = tmp_path / "then"
    ok(stopped.cli("replay", "--to", str(past.position), "--out", str(out)))
    before = stored(out)
    server = Server(tmp_path, backends=[BACKEND])
    for _ in range(2):
        with serving(server, "--read-only", "--data", str(out)):
            client = _sign_in(server, past.email)
            sessions = client.get("/api/me/sessions").json()["sessions"]
        assert stored(out) == before
    assert len([s for s in sessions if s["current"]]) == 1
    assert "Traceback" not in server.errors()
    assert not [p for p in out.iterdir() if p.name == "users"]


def test_the_live_folder_can_be_looked_at_too_and_is_not_changed(past: Past, tmp_path: Path) -> None:
    shutil.copytree(past.data, tmp_path / "data")
    server = Server(tmp_path, backends=[BACKEND])
    before = stored(server.data)
    with serving(server, "--read-only"):
        admin = _sign_in(server, *ADMIN)
        assert admin.get("/api/admin/users").is_success
        assert put_key(admin, VARIABLE, "x-0123456789").status_code in {403, 503}
    assert stored(server.data) == before


def test_a_folder_without_a_log_is_not_made_by_looking(tmp_path: Path) -> None:
    server = Server(tmp_path, backends=[BACKEND])
    assert "There is no event log" in told(server.cli("serve", "--read-only", "--data", str(tmp_path / "none")))
    assert not (tmp_path / "none").exists()


# -- differences ------------------------------------------------------------------------------------------


def test_what_changed_since_is_printed_by_user(past: Past, stopped: Server) -> None:
    end = str(len(stored(past.data)))
    said = ok(stopped.cli("replay", "--diff", str(past.position), end))
    assert past.email in said
    assert "As it was" in said
    assert "As it is now" in said
    assert "planted" not in said
    assert "$argon2" not in said
    lines = [
        json.loads(line) for line in ok(stopped.cli("replay", "--diff", past.time, end, "--json")).splitlines()
    ]
    titles = [line["fields"]["title"] for line in lines if "title" in line["fields"] and line["what"] == "changed"]
    assert titles == [["As it was", "As it is now"]]
    assert {line["what"] for line in lines} <= {"added", "removed", "changed"}
    assert "planted" not in str(lines)
    assert [line for line in lines if line["table"] == "keys" and line["what"] == "changed"]
    backwards = ok(stopped.cli("replay", "--diff", end, past.time, "--json"))
    assert [json.loads(line) for line in backwards.splitlines()] == lines


def test_a_moment_does_not_differ_from_itself(past: Past, stopped: Server) -> None:
    assert "Nothing changed" in ok(stopped.cli("replay", "--diff", str(past.position), past.time))


def test_a_log_that_was_changed_cannot_be_passed_off_as_how_it_was(past: Past, tmp_path: Path) -> None:
    shutil.copytree(past.data, tmp_path / "data")
    server = Server(tmp_path, backends=[BACKEND])
    path = server.data / "events.db"
    path.write_bytes(path.read_bytes().replace(b'"slug":"bob"', b'"slug":"rob"'))
    with pytest.raises(BrokenChainError):
        stored(server.data)
    assert "does not verify" in told(server.cli("serve", "--read-only"))
