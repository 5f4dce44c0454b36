"""Logs with events that cannot be read: the server starts, serves all the rest, tells of them, and deletes them."""

import json
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import pytest
import trio
from click.testing import CliRunner
from structlog.testing import capture_logs

from agentstack.cli import cli
from agentstack.cli.doctor import findings
from agentstack.root import first_admin, open_stack
from agentstack.settings import load_settings
from domain.conversations.events import ConversationDeleted, MessagePosted, TurnStarted
from domain.event import Event
from domain.keys.events import KeyCleared
from domain.runners.events import (
    RunnerFailed,
    RunnerReady,
    RunnerRequested,
    RunnerStarted,
    RunnerStopped,
    RunnerVanished,
)
from domain.users.events import UserDeleted, UserIdleChanged
from eventlog.envelope import StoredRecord, StreamAppend
from eventlog.filter import Filter
from tests.harness.inside import ORIGIN, Inside, inside
from tests.harness.poison import append_deep, append_unreadable, unreadable_when
from tests.harness.server import PASSWORD

ADA, BOB = "ada@example.org", "bob@example.org"
CREDENTIALS = {"email": ADA, "password": PASSWORD}
DEEP = "what was said with it is kept"


class Poisoned:
    """Ada, with a conversation in which an event cannot be read and a message came with too much; and bob."""

    def __init__(self, running: Inside, ada: httpx.AsyncClient, bob: httpx.AsyncClient) -> None:
        self.running, self.ada, self.bob = running, ada, bob
        self.log = running.stack.services.log
        self.conversation = self.ada_id = self.bob_id = ""

    async def fill(self) -> None:
        """Make the conversations and append to ada's what today's program would not."""
        self.ada_id = (await self.ada.get("/auth/me")).json()["user"]["id"]
        self.bob_id = (await self.bob.get("/auth/me")).json()["user"]["id"]
        self.conversation = await _conversation(self.ada, "before")
        await _conversation(self.bob, "bob's own words")
        stream = f"conversation:{self.conversation}"
        await append_unreadable(self.log, stream, MessagePosted, self.ada_id, conversation_id=self.conversation)
        await append_deep(self.log, self.conversation, self.ada_id, DEEP)
        await append_unreadable(self.log, stream, TurnStarted, self.ada_id, conversation_id=self.conversation)
        await _say(self.ada, self.conversation, "after")


async def _conversation(client: httpx.AsyncClient, first: str) -> str:
    made = await client.post("/api/conversations", json={"backend": "demo"})
    id_: str = made.json()["conversation"]["id"]
    await _say(client, id_, first)
    return id_


async def _say(client: httpx.AsyncClient, conversation: str, content: str) -> None:
    said = await client.post(
        f"/api/conversations/{conversation}/messages", json={"role": "user", "content": content}
    )
    assert said.is_success, said.text


@asynccontextmanager
async def poisoned(folder: Path, *, restarts: bool = True, anew: bool = False) -> AsyncIterator[Poisoned]:
    """Return the stack on such a log, restarted unless told otherwise; `anew`: it has to replay all of it."""
    async with inside(folder) as running:
        made = Poisoned(running, await running.sign_up(ADA), await running.sign_up(BOB))
        await made.fill()
        if not restarts:
            yield made
            return
    if anew:
        (folder / "data" / "views.db").unlink()
    else:  # As an earlier version left it, which marked nothing.
        with closing(sqlite3.connect(folder / "data" / "views.db")) as views, views:
            views.execute("DELETE FROM projections WHERE name = 'unreadable'")
    async with inside(folder) as running:
        while running.stack.services.views.unreadable.is_postponed:
            await trio.sleep(0.01)
        ada, bob = running.client(), running.client()
        for client, email in ((ada, ADA), (bob, BOB)):
            answer = await client.post("/auth/login", json={"email": email, "password": PASSWORD})
            assert answer.is_success, answer.text
        again = Poisoned(running, ada, bob)
        again.conversation, again.ada_id, again.bob_id = made.conversation, made.ada_id, made.bob_id
        yield again


STARTS = [{}, {"anew": True}]
HOW = pytest.mark.parametrize(
    "how", [{"restarts": False}, *STARTS], ids=["as it comes", "after a start", "after a replay"]
)
HOW_IT_STARTS = pytest.mark.parametrize("how", STARTS, ids=["after a start", "after a replay"])


@HOW
async def test_all_the_rest_is_served(tmp_path: Path, how: dict[str, bool]) -> None:
    async with poisoned(tmp_path, **how) as made:
        path = f"/api/conversations/{made.conversation}"
        found = (await made.ada.get(path)).json()
        assert [m["content"] for m in found["messages"]] == ["before", DEEP, "after"]
        hits = (await made.ada.get("/api/search", params={"q": "kept"})).json()["results"]
        assert len(hits) == 1
        for form in ("markdown", "json"):
            assert DEEP in (await made.ada.get(f"{path}/export", params={"format": form})).text
        export = (await made.ada.get("/api/me/export")).json()
        assert DEEP in str(export["conversations"])
        assert "bob's own words" in (await made.bob.get("/api/me/export")).text
        await _say(made.ada, made.conversation, "and on")
        assert made.log.faults == {}


@HOW
async def test_the_conversation_can_be_deleted(tmp_path: Path, how: dict[str, bool]) -> None:
    async with poisoned(tmp_path, **how) as made:
        path = f"/api/conversations/{made.conversation}"
        assert (await made.ada.delete(path)).status_code == 204
        assert (await made.ada.get(path)).status_code == 404
        assert made.running.stack.services.views.unreadable.count == 0


@HOW
async def test_its_user_can_be_deleted_for_good(tmp_path: Path, how: dict[str, bool]) -> None:
    async with poisoned(tmp_path, **how) as made:
        # Whatever their events hold: of each kind of stream.
        await append_unreadable(made.log, f"user:{made.ada_id}", UserIdleChanged, made.ada_id)
        await append_unreadable(made.log, f"keys:{made.ada_id}", KeyCleared, made.ada_id)
        admin = await made.running.admin()
        answer = await admin.delete(f"/api/admin/users/{made.ada_id}")
        assert answer.status_code == 204, answer.text
        assert made.ada_id not in made.running.stack.vault
        assert made.running.stack.services.views.users.find(made.ada_id) is None
        assert (await made.ada.get("/auth/me")).status_code == 401
        assert (await made.running.sign_up(ADA)).cookies
        assert made.running.stack.services.views.unreadable.count == 0
        for record in await made.log.read(Filter(user=made.ada_id)):
            assert DEEP not in str(record.event)


async def test_a_deletion_that_was_cut_short_is_finished_though_its_event_cannot_be_read(tmp_path: Path) -> None:
    async with poisoned(tmp_path, restarts=False) as made:
        await append_unreadable(made.log, f"user:{made.ada_id}", UserDeleted, made.ada_id)
        assert made.ada_id in made.running.stack.vault
    async with inside(tmp_path) as running:
        await running.stack.services.deletion.finish_interrupted()
        assert made.ada_id not in running.stack.vault


@HOW_IT_STARTS
async def test_the_inspector_shows_which_cannot_be_read_and_why(tmp_path: Path, how: dict[str, bool]) -> None:
    async with poisoned(tmp_path, **how) as made:
        admin = await made.running.admin()
        stream = f"conversation:{made.conversation}"
        listed = (await admin.get("/api/admin/events", params={"stream": stream, "order": "oldest"})).json()[
            "events"
        ]
        marked = {e["position"]: e["problem"] for e in listed if e["problem"]}
        assert [e["type"] for e in listed if e["problem"]] == ["message.posted", "message.posted", "turn.started"]
        for position, problem in marked.items():
            assert f"position {position}" in problem
            one = await admin.get(f"/api/admin/events/{position}")
            assert one.json()["event"]["problem"] == problem
        for path in (f"/api/admin/streams/{stream}", f"/api/admin/streams/{stream}/state"):
            assert (await admin.get(path)).is_success
        exported = [json.loads(line) for line in (await admin.get("/api/admin/events/export")).text.splitlines()]
        assert len(exported) == made.log.position
        assert {e["position"]: e["problem"] for e in exported if e["problem"]} == marked
        assert (await admin.get("/api/admin/audit/verify")).json()["ok"]


@HOW_IT_STARTS
async def test_readiness_and_metrics_tell_of_them(tmp_path: Path, how: dict[str, bool]) -> None:
    async with poisoned(tmp_path, **how) as made:
        made.running.stack.services.lifecycle.ready = True
        ready = await made.running.client().get("/readyz")
        assert ready.status_code == 200
        (told,) = ready.json()["degraded"]
        assert told.startswith("3 events cannot be read as written: #")
        metrics = (await made.running.client().get("/metrics")).text
        assert "agentstack_events_unreadable 3.0" in metrics


async def test_the_log_of_the_server_tells_of_each_once(tmp_path: Path) -> None:
    for told in (3, 0):
        with capture_logs() as logged:
            if told:
                async with poisoned(tmp_path):
                    pass
            else:
                async with inside(tmp_path) as running:
                    assert running.stack.services.views.unreadable.count == 3
        assert [e["log_level"] for e in logged if e["event"] == "event_unreadable"] == ["warning"] * told


def told_by_the_doctor() -> tuple[bool, str]:
    """Return whether the log is well, and what is said of it."""
    (found,) = [f for f in findings() if f.subject == "event log"]
    return found.well, found.text


async def test_the_doctor_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STACK_DATA_ROOT", str(tmp_path / "data"))
    async with poisoned(tmp_path, anew=True):
        while_it_runs = await trio.to_thread.run_sync(told_by_the_doctor)
    (tmp_path / "data" / "views.db").unlink()
    without_a_copy = await trio.to_thread.run_sync(told_by_the_doctor)
    for well, text in (while_it_runs, without_a_copy):
        assert not well
        assert text.startswith("3 events cannot be read as written")
    printed = await trio.to_thread.run_sync(CliRunner().invoke, cli, ["doctor"])
    assert printed.exit_code == 1
    assert "All is well" not in printed.output


async def test_the_command_line_lists_them_and_exports_what_is_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STACK_DATA_ROOT", str(tmp_path / "data"))
    async with poisoned(tmp_path, anew=True) as made:
        position = made.log.position

    def lines(*args: str) -> list[Any]:
        printed = CliRunner().invoke(cli, args)
        assert printed.exit_code == 0, printed.output
        return [json.loads(line) for line in printed.stdout.splitlines()]

    listed = await trio.to_thread.run_sync(lines, "events", "unreadable", "--json")
    assert [e["type"] for e in listed] == ["message.posted", "message.posted", "turn.started"]
    exported = await trio.to_thread.run_sync(lines, "events", "export")
    assert len(exported) == position
    problems = {e["position"]: e["problem"] for e in exported if e["problem"]}
    assert problems == {e["position"]: e["problem"] for e in listed}
    shown = await trio.to_thread.run_sync(lines, "events", "list", "--json", "--limit", "1000")
    assert {e["position"]: e["problem"] for e in shown if e["problem"]} == problems
    for_people = await trio.to_thread.run_sync(CliRunner().invoke, cli, ["events", "list"])
    assert "It is passed over." in for_people.output


async def test_the_doctor_is_content_once_what_it_named_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STACK_DATA_ROOT", str(tmp_path / "data"))
    async with poisoned(tmp_path, restarts=False) as made:
        pass
    async with inside(tmp_path) as running:
        await running.stack.services.deletion.delete(running.stack.services.views.users.get(made.ada_id), ORIGIN)
    well, text = await trio.to_thread.run_sync(told_by_the_doctor)
    assert well
    assert text.endswith("all that matter today can be read")


# -- other streams ----------------------------------------------------------------------------------------


async def _replayed(tmp_path: Path, poison: Callable[[Poisoned], Awaitable[None]]) -> Poisoned:
    """Have something appended to a log, and see to it that the next start has to replay all of it."""
    async with poisoned(tmp_path, restarts=False) as made:
        await poison(made)
    (tmp_path / "data" / "views.db").unlink()
    return made


@pytest.mark.parametrize("event_type", [RunnerReady, RunnerFailed, RunnerStopped, RunnerStarted])
async def test_a_runner_whose_history_cannot_be_read_is_closed_at_the_next_start(
    tmp_path: Path, event_type: type[Event]
) -> None:
    async def poison(made: Poisoned) -> None:
        about = {"runner_id": "r1", "agent_id": "a1", "user_id": made.ada_id, "backend": "demo"}
        requested = RunnerRequested(**about, container_name="demo-ada", engine="process", spec_hash="0f")
        await made.log.append(StreamAppend("runner:r1", 0, [requested], made.ada_id), origin=ORIGIN)
        await append_unreadable(made.log, "runner:r1", event_type, made.ada_id, runner_id="r1")

    await _replayed(tmp_path, poison)
    async with inside(tmp_path) as running:
        await running.stack.services.pool.begin()
        assert running.stack.services.views.runners.alive() == []
        newest = (await running.stack.services.log.read_stream("runner:r1"))[-1]
        assert isinstance(newest.event, RunnerVanished)


async def test_a_user_whose_registration_cannot_be_read_can_be_deleted_for_good(tmp_path: Path) -> None:
    """As in a log that was tampered with: its first event is another one."""

    async def poison(made: Poisoned) -> None:
        home = tmp_path / "data" / "users" / "ada" / "demo"
        home.mkdir(parents=True)
        home.joinpath("diary").write_text("words")

    made = await _replayed(tmp_path, poison)
    with unreadable_when(lambda stored: stored.topic == "user.registered" and made.ada_id in stored.originator_id):
        async with inside(tmp_path) as running:
            services, admin = running.stack.services, await running.admin()
            assert (await running.client().post("/auth/login", json=CREDENTIALS)).status_code == 401
            listed = (await admin.get("/api/admin/users")).json()["users"]
            assert made.ada_id in {u["id"] for u in listed}
            again = await running.client().post("/auth/signup", json=CREDENTIALS)
            assert again.status_code == 409
            assert (await admin.delete(f"/api/admin/users/{made.ada_id}")).status_code == 204
            assert made.ada_id not in running.stack.vault
            assert not (tmp_path / "data" / "users" / "ada").exists()
            assert services.views.conversations.of_user(made.ada_id) == []
            assert (await running.client().post("/auth/signup", json=CREDENTIALS)).is_success


def _is_one_of(topics: set[str], stored: StoredRecord) -> bool:
    return stored.topic in topics


async def test_an_admin_who_cannot_be_read_does_not_keep_the_server_from_starting(tmp_path: Path) -> None:
    made = await _replayed(tmp_path, lambda _: trio.lowlevel.checkpoint())
    bootstrap = {"bootstrap_admin_email": "other@example.org", "bootstrap_admin_password": "another long password"}
    for chosen in ({"user.registered"}, {"user.registered", "admin.appointed"}):
        with unreadable_when(partial(_is_one_of, chosen)):
            settings = load_settings(_env_file=None, stack_data_root=tmp_path / "data", **bootstrap)
            async with open_stack(settings) as stack:
                assert await first_admin(stack) == ""
                assert stack.services.views.users.find(made.ada_id) is not None
        (tmp_path / "data" / "views.db").unlink()


async def test_a_conversation_whose_beginning_cannot_be_read_is_read_and_deleted(tmp_path: Path) -> None:
    made = await _replayed(tmp_path, lambda _: trio.lowlevel.checkpoint())
    with unreadable_when(lambda stored: stored.topic == "conversation.started"):
        async with inside(tmp_path) as running:
            ada = running.client()
            await ada.post("/auth/login", json=CREDENTIALS)
            (listed,) = (await ada.get("/api/conversations")).json()["conversations"]
            assert listed["id"] == made.conversation
            path = f"/api/conversations/{made.conversation}"
            messages = (await ada.get(path)).json()["messages"]
            assert [m["content"] for m in messages] == ["before", DEEP, "after"]
            assert (await ada.post(f"{path}/turns", json={"content": "x"})).status_code in {202, 404}
            for form in ("markdown", "json"):
                assert DEEP in (await ada.get(f"{path}/export", params={"format": form})).text
            assert (await ada.delete(path)).status_code == 204


async def test_a_deletion_ends_though_a_read_model_does_not_follow(tmp_path: Path) -> None:
    def fault(*_: object) -> None:
        raise RuntimeError("a fault of a handler")

    async with poisoned(tmp_path, restarts=False) as made:
        services = made.running.stack.services
        before = made.log.position
        with patch.dict(services.views.conversations.on, {ConversationDeleted: fault}), trio.fail_after(60):
            await services.deletion.delete(services.views.users.get(made.ada_id), ORIGIN)
        assert made.ada_id not in made.running.stack.vault
        assert made.log.position < before + 20
