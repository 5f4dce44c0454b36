"""Logs with events that cannot be read: the server starts, serves all the rest, tells of them, and deletes them."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import httpx
import pytest
import trio
from click.testing import CliRunner, Result
from structlog.testing import capture_logs

from agentstack.cli import cli
from domain.conversations.events import MessagePosted, TurnStarted
from domain.keys.events import KeyCleared
from domain.users.events import UserDeleted, UserIdleChanged
from eventlog.filter import Filter
from tests.harness.inside import ORIGIN, Inside, inside
from tests.harness.poison import append_deep, append_unreadable
from tests.harness.server import PASSWORD

ADA, BOB = "ada@example.org", "bob@example.org"
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
        exported = (await admin.get("/api/admin/events/export")).text
        assert exported.count("\n") == made.log.position
        (model,) = [
            p
            for p in (await admin.get("/api/admin/projections")).json()["projections"]
            if p["name"] == "unreadable"
        ]
        assert model["rows"] == 3
        assert (await admin.get("/api/admin/audit/verify")).json()["ok"]


@HOW_IT_STARTS
async def test_readiness_and_metrics_tell_of_them(tmp_path: Path, how: dict[str, bool]) -> None:
    async with poisoned(tmp_path, **how) as made:
        made.running.stack.services.lifecycle.ready = True
        ready = await made.running.client().get("/readyz")
        assert ready.status_code == 200
        (told,) = ready.json()["degraded"]
        assert told.startswith("3 events cannot be read as written, 2 of them lost but for their envelope: #")
        metrics = (await made.running.client().get("/metrics")).text
        assert "agentstack_events_unreadable 3.0" in metrics


async def test_the_log_of_the_server_tells_of_each_once(tmp_path: Path) -> None:
    for told in (3, 0):
        with capture_logs() as logged:
            if told:
                async with poisoned(tmp_path):
                    pass
            else:
                async with inside(tmp_path):
                    pass
        assert [e["log_level"] for e in logged if e["event"] == "event_unreadable"] == ["warning"] * told


def doctor() -> Result:
    return CliRunner().invoke(cli, ["doctor"])


async def test_the_doctor_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STACK_DATA_ROOT", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "400")
    async with poisoned(tmp_path, anew=True) as made:
        while_it_runs = await trio.to_thread.run_sync(doctor)
    (tmp_path / "data" / "views.db").unlink()
    without_a_copy = await trio.to_thread.run_sync(doctor)
    for found in (while_it_runs, without_a_copy):
        assert "3 events cannot be read as written" in found.output
        assert "All is well" not in found.output
        assert found.exit_code == 1
    async with inside(tmp_path) as running:
        await running.stack.services.deletion.delete(running.stack.services.views.users.get(made.ada_id), ORIGIN)
    assert "every event can be read" in (await trio.to_thread.run_sync(doctor)).output
