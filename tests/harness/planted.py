"""A user of a server under test who writes a text to look for into every place there is."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx

from tests.harness.processes import is_running, runner_processes
from tests.harness.scripted import Gates, scripted_backend
from tests.harness.server import Server
from tests.harness.waiting import eventually

KEY = "LLM_API_KEY"
EMAIL = "ada@planted-email.example.org"
PASSWORD = "planted-password-1"
Json = dict[str, Any]


def planted_backend(gates: Gates, **changes: Any) -> Json:
    """Return the scripted agent, with a variable that users may set."""
    return scripted_backend(gates, {KEY: "none"}, user_overridable_env=[KEY], **changes)


class Planted:
    """A user; `plant` writes. Every text begins with `planted-`, and the address's slug does not."""

    def __init__(self, server: Server, gates: Gates) -> None:
        self.server = server
        self.gates = gates
        self.http = server.client(headers={"user-agent": "planted-device"})
        body = {"email": EMAIL, "password": PASSWORD, "name": "planted-name"}
        me = self._post("/auth/signup", body)["user"]
        self.id: str = me["id"]
        self.slug: str = me["slug"]
        self.token = ""
        self.pid = 0

    def plant(self) -> None:
        """Write into every place."""
        self._send("PATCH", "/api/me", {"name": "planted-other-name"})
        self._put_key("planted-key-1")
        self._put_key("planted-key-2", "scripted")
        token = self._post("/api/me/tokens", {"name": "planted-token", "scope": "all"})
        self.token = token["secret"]
        agent = self._post(
            "/api/agents", {"backend": "scripted", "name": "planted-agent", "model": "planted-model"}
        )
        agent_id = agent["agent"]["id"]
        self._send("PATCH", f"/api/agents/{agent_id}", {"name": "planted-agent-2", "model": "planted-model-2"})
        about = {"agent_id": agent_id, "title": "planted-title"}
        conversation = self._post("/api/conversations", about)["conversation"]["id"]
        self._send("PATCH", f"/api/conversations/{conversation}", {"title": "planted-title-2"})
        self._post(f"/api/conversations/{conversation}/messages", {"role": "user", "content": "planted-message"})
        self._ask(conversation, "say planted-question-and-answer")
        self._call_back(agent_id, conversation)
        self._ask(conversation, "print planted-output")
        self._die(conversation)
        self._ask(conversation, "say planted-last-answer")
        self._login("planted-other-device")
        chat = {"model": "scripted", "messages": [{"role": "user", "content": "say planted-v1"}]}
        headers = {"authorization": f"Bearer {self.token}"}
        answer = self.server.client(headers=headers).post("/v1/chat/completions", json=chat)
        assert answer.is_success, answer.text
        self.pid = next(r.pid for r in runner_processes(self.server))

    # -- what is there ------------------------------------------------------------------------------------

    def in_the_clear(self, *, homes: bool = False) -> dict[str, list[str]]:
        """Return the files of the data folder in which a planted text is found, without the agents' homes."""
        found: dict[str, list[str]] = {}
        data = self.server.data
        for path in data.rglob("*"):
            if not path.is_file() or (not homes and path.is_relative_to(data / "users")):
                continue
            parts = path.read_bytes().split(b"planted-")[1:]
            if parts:
                found[str(path.relative_to(data))] = sorted({p[:20].decode("latin-1") for p in parts})
        return found

    def tables(self) -> set[str]:
        """Return the tables of the saved read models that know the user."""
        with closing(sqlite3.connect(f"{(self.server.data / 'views.db').as_uri()}?mode=ro", uri=True)) as database:
            names = [n for (n,) in database.execute("SELECT name FROM sqlite_master WHERE type='table'")]
            return {n for n in names if self.id in str(database.execute(f"SELECT * FROM {n}").fetchall())}

    def has_key(self) -> bool:
        """Tell whether the vault has the user's key."""
        with closing(sqlite3.connect(f"{(self.server.data / 'vault.db').as_uri()}?mode=ro", uri=True)) as database:
            return bool(database.execute("SELECT 1 FROM keys WHERE owner=?", (self.id,)).fetchone())

    def check_gone(self) -> None:
        """Fail unless nothing is left of the user but who did what when."""
        assert not self.has_key()
        assert not (self.server.data / "users" / self.slug).exists()
        assert not is_running(self.pid)
        eventually(lambda: not self.tables(), "the saved read models have forgotten the user")
        assert self.in_the_clear(homes=True) == {}
        verified = self.server.cli("audit", "verify")
        assert verified.returncode == 0, verified.stderr
        shown = self.server.cli("events", "list", "--json", "--limit", "10000").stdout
        assert "planted" not in shown
        events = [json.loads(line) for line in shown.splitlines()]
        mine = [e for e in events if e["erased"]]
        assert {e["type"] for e in mine} >= {
            *("user.registered", "user.renamed", "session.opened", "token.created", "keys.set"),
            *("agent.created", "agent.changed", "conversation.started", "conversation.renamed"),
            *("message.posted", "turn.finished", "turn.failed", "runner.failed"),
        }
        assert all(e["time"] and e["actor"] for e in mine)
        assert f"user:{self.id}" in {e["actor"] for e in mine}
        (registered,) = [e for e in mine if e["type"] == "user.registered" and e["stream"] == f"user:{self.id}"]
        assert (registered["payload"]["email"], registered["payload"]["name"]) == ("", "")
        assert [e["type"] for e in events if e["stream"] == f"user:{self.id}"][-1] == "user.deleted"

    def sign_in(self) -> httpx.Response:
        """Try to sign in with the address and the password."""
        return self.server.client().post("/auth/login", json={"email": EMAIL, "password": PASSWORD})

    # -- helpers ------------------------------------------------------------------------------------------

    def _send(self, method: str, path: str, body: Json) -> Json:
        answer = self.http.request(method, path, json=body)
        assert answer.is_success, (path, answer.text)
        found: Json = answer.json() if answer.content else {}
        return found

    def _post(self, path: str, body: Json) -> Json:
        return self._send("POST", path, body)

    def _put_key(self, value: str, backend: str = "") -> None:
        self._send("PUT", f"/api/me/env-overrides/{KEY}", {"value": value, "backend": backend})

    def _login(self, device: str) -> None:
        body = {"email": EMAIL, "password": PASSWORD}
        assert self.server.client(headers={"user-agent": device}).post("/auth/login", json=body).is_success

    def _ask(self, conversation: str, text: str) -> str:
        turn = self._post(f"/api/conversations/{conversation}/turns", {"content": text})["turn"]["id"]

        def ended() -> str:
            last = self.http.get(f"/api/conversations/{conversation}").json()["last_turn"]
            return "" if last["id"] != turn or last["status"] == "running" else str(last["status"])

        return eventually(ended, f"{text!r} is answered")

    def _call_back(self, agent_id: str, conversation: str) -> None:
        (runner,) = runner_processes(self.server)
        environ = Path(f"/proc/{runner.pid}/environ").read_bytes().split(b"\0")
        key = next(e.decode().partition("=")[2] for e in environ if e.startswith(b"AGENT_STACK_RUNNER_API_KEY="))
        for persist in (True, False):
            body = {
                "conversation_id": conversation,
                "content": "planted-callback",
                "payload": {"planted-payload-key": "planted-payload"},
                "persist": persist,
            }
            answer = self.server.client(headers={"authorization": f"Bearer {key}"}).post(
                f"/api/internal/agents/{agent_id}/event", json=body
            )
            assert answer.is_success, answer.text

    def _die(self, conversation: str) -> None:
        """Have the agent end in the middle of an answer: its output, with what it printed, goes into the log."""
        gate = "die-at-once"
        self.gates.open(gate)
        assert self._ask(conversation, f"die {gate}") == "failed"
        eventually(lambda: not runner_processes(self.server), "what is left of the runner is removed")
