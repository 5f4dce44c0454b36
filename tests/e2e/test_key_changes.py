"""A change of a value renews the runners that it concerns, and no others, without harm to what they are doing."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.harness.events import events
from tests.harness.faults import faults
from tests.harness.keys import OVERRIDES, process_environment, set_key, share
from tests.harness.person import Person, chat_body
from tests.harness.processes import is_running, kill_runners
from tests.harness.scripted import Gates, scripted_backend
from tests.harness.server import Server
from tests.harness.sse import frames
from tests.harness.waiting import eventually

KEY, MODEL = "LLM_API_KEY", "LLM_MODEL"
CHAT = "/v1/chat/completions"


def _backends(gates: Gates) -> list[dict[str, Any]]:
    keyed = scripted_backend(gates, {KEY: "default key"}, user_overridable_env=[KEY])
    return [
        keyed,
        {**keyed, "name": "second"},
        scripted_backend(gates, {MODEL: "default model"}, name="modelled", user_overridable_env=[MODEL]),
        scripted_backend(gates, {KEY: "-", "SCRIPTED_BOOT": "boot"}, name="waiting", user_overridable_env=[KEY]),
    ]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, gates: Gates) -> Iterator[Server]:
    """Return a server whose agents have variables."""
    with Server(tmp_path_factory.mktemp("server"), backends=_backends(gates)) as running:
        yield running


@pytest.fixture
def admin(server: Server) -> Iterator[httpx.Client]:
    """Return the admin, who shares nothing before and after."""
    client = server.admin()
    yield client
    share(client, KEY, shared=False)
    client.delete(f"{OVERRIDES}/{KEY}")


def _value(pid: int) -> str:
    return process_environment(pid)[KEY]


def _agents(user: Person) -> set[str]:
    return {r["backend"] for r in user.runners() if r["running"]}


def test_a_change_renews_every_agent_that_it_concerns_and_no_other(server: Server, user: Person) -> None:
    set_key(user.http, KEY, "of the second", "second")
    user.pid()
    made = user.http.post("/api/agents", json={"backend": "scripted", "name": "another"}).json()["agent"]
    opened = user.http.post("/api/conversations", json={"agent_id": made["id"]}).json()["conversation"]["id"]

    def pids() -> list[int]:
        other = user.chat("echo", user=f"agstack-{opened}").json()["pid"]
        return [user.pid("scripted"), other, user.pid("second"), user.pid("modelled")]

    with Person(server, "other") as other:
        first, theirs = pids(), other.pid("scripted")
        assert len(set(first)) == 4
        set_key(user.http, KEY, "of all")
        eventually(lambda: _agents(user) == {"second", "modelled"}, "two runners are stopped")
        second = pids()
        assert other.pid("scripted") == theirs
    assert [_value(pid) for pid in second[:3]] == ["of all", "of all", "of the second"]
    assert [a == b for a, b in zip(first, second, strict=True)] == [False, False, True, True]
    assert not [pid for pid in first[:2] if is_running(pid)]
    assert [e["payload"]["reason"] for e in events(server, "runner.stopped")][-2:] == ["keys_changed"] * 2


def test_a_value_that_was_cleared_gives_way_to_the_next_one(user: Person) -> None:
    set_key(user.http, KEY, "of all")
    set_key(user.http, KEY, "of one", "scripted")
    for value, backend in (("of one", "scripted"), ("of all", "")):
        assert _value(user.pid()) == value
        user.http.delete(f"{OVERRIDES}/{KEY}", params={"backend": backend})
        eventually(lambda: user.runners() == [], "the runner is stopped")
    assert _value(user.pid()) == "default key"


def test_what_changes_nothing_that_counts_renews_nothing(user: Person) -> None:
    set_key(user.http, KEY, "of one", "scripted")
    pid = user.pid()
    set_key(user.http, KEY, "of all", force=True)
    set_key(user.http, KEY, "of one", "scripted", force=True)
    user.http.delete(f"{OVERRIDES}/{KEY}", params={"force": "true"})
    assert user.pid() == pid


def test_a_running_stream_is_not_disturbed_and_who_waits_gets_the_fresh_runner(user: Person, gates: Gates) -> None:
    pid = user.pid()
    body = chat_body("gates stream 1", stream=True)
    with (
        user.http.stream("POST", CHAT, json=body, headers=user.bearer) as stream,
        ThreadPoolExecutor(3) as pool,
    ):
        gates.await_reached("stream")
        set_key(user.http, KEY, "fresh")
        waiting = [pool.submit(user.pid) for _ in range(3)]
        assert [r["state"] for r in user.runners()] == ["ready"]
        assert is_running(pid)
        gates.open("stream")
        text = "".join(stream.iter_text())
    assert text.endswith("data: [DONE]\n\n")
    assert "error" not in text
    (fresh,) = {w.result() for w in waiting}
    assert fresh != pid
    assert _value(fresh) == "fresh"


def test_a_running_turn_is_not_disturbed_and_the_next_one_gets_the_fresh_runner(user: Person, gates: Gates) -> None:
    first, second = user.conversation(), user.conversation()
    turn = user.ask(first, "gates turn 1")
    gates.await_reached("turn")
    set_key(user.http, KEY, "fresh")
    next_turn = user.ask(second, "say next")
    gates.open("turn")
    assert user.await_turn(first, turn) == "finished"
    assert user.messages(first)[-1] == ("assistant", "turn-0 end")
    assert user.await_turn(second, next_turn) == "finished"
    assert _value(user.pid()) == "fresh"


def test_a_change_by_force_ends_what_runs_at_once(user: Person, gates: Gates) -> None:
    conversation = user.conversation()
    turn = user.ask(conversation, "gates forced 1")
    gates.await_reached("forced")
    pid = user.pid()
    set_key(user.http, KEY, "fresh", force=True)
    assert user.await_turn(conversation, turn) == "failed"
    assert ("assistant", "forced-0 ") in user.messages(conversation)
    assert not is_running(pid)
    assert _value(user.pid()) == "fresh"


def test_clearing_and_sharing_by_force_end_what_runs_at_once(
    user: Person, admin: httpx.Client, gates: Gates
) -> None:
    set_key(user.http, KEY, "own")
    set_key(admin, KEY, "the admin's")
    calls = [("DELETE", f"{OVERRIDES}/{KEY}", user.http), ("PUT", f"/api/admin/shared-env/{KEY}", admin)]
    for method, path, client in calls:
        conversation = user.conversation()
        turn = user.ask(conversation, f"gates by-{method} 1")
        gates.await_reached(f"by-{method}")
        body = {"shared": True} if method == "PUT" else None
        assert client.request(method, path, json=body, params={"force": "true"}).is_success
        assert user.await_turn(conversation, turn) == "failed"
    assert _value(user.pid()) == "the admin's"


def test_a_change_during_a_start_begins_it_anew_and_refuses_nobody(user: Person, gates: Gates) -> None:
    def state() -> list[str]:
        return [r["state"] for r in user.runners()]

    with ThreadPoolExecutor(1) as pool:
        try:
            asked = pool.submit(user.pid, "waiting")
            eventually(lambda: state() == ["probing"], "the runner is coming up")
            for value in ("first", "second"):
                set_key(user.http, KEY, value)
                eventually(lambda: state() == ["probing"], "the runner is coming up")
        finally:
            gates.folder.joinpath("boot").touch()
        assert _value(asked.result()) == "second"
    assert len(user.runners()) == 1


def test_a_start_that_begins_anew_is_followed_to_its_end(user: Person, gates: Gates) -> None:
    gates.folder.joinpath("boot").unlink(missing_ok=True)
    with (
        ThreadPoolExecutor(1) as pool,
        user.http.stream("GET", "/api/runners/waiting/progress") as stream,
    ):
        shown = frames(stream)
        assert next(shown)[1]["stage"] == "snapshot"
        try:
            asked = pool.submit(user.pid, "waiting")
            seen = [next(f for _, f in shown if f["stage"] == "probing")]
            set_key(user.http, KEY, "fresh")
        finally:
            gates.folder.joinpath("boot").touch()
        seen += [f for _, f in shown]
        assert _value(asked.result()) == "fresh"
    assert seen[-1]["stage"] == "ready"
    percents = [f["progress"] for f in seen]
    assert percents == sorted(percents), "it went back"


def test_a_shared_value_renews_all_who_use_it_and_nobody_with_a_value_of_their_own(
    server: Server, admin: httpx.Client
) -> None:
    set_key(admin, KEY, "shared")
    with Person(server, "user") as user, Person(server, "user") as another, Person(server, "own") as own:
        set_key(own.http, KEY, "my own")
        for change in ("share", "change", "unshare"):
            before = {p: p.pid() for p in (user, another, own)}
            if change == "change":
                set_key(admin, KEY, "another one")
            else:
                share(admin, KEY, shared=change == "share")
            eventually(lambda: not user.runners() and not another.runners(), change)
            values = {"share": "shared", "change": "another one", "unshare": "default key"}
            assert _value(user.pid()) == _value(another.pid()) == values[change]
            assert own.pid() == before[own]
            assert _value(before[own]) == "my own"


def test_a_runner_whose_values_changed_before_a_crash_is_not_adopted(tmp_path: Path, gates: Gates) -> None:
    env = {"STOP_RUNNERS_ON_EXIT": "false"}
    server = Server(tmp_path, backends=_backends(gates), env=env)
    try:
        with server, Person(server, "crash") as user:
            kept, pid = user.pid("second"), user.pid()
            conversation = user.conversation()
            user.ask(conversation, "gates crash 1")
            gates.await_reached("crash")
            set_key(user.http, KEY, "fresh", "scripted")
            server.kill()
            server.start()
            assert user.pid("second") == kept
            assert user.pid() != pid
            assert _value(user.pid()) == "fresh"
            assert not is_running(pid)
            assert faults(server) == []
    finally:
        kill_runners(server)


def test_the_server_met_all_this_without_an_error_of_its_own(server: Server) -> None:
    assert faults(server) == []
