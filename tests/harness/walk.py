"""Everything that a user has, and every route that could lead to it."""

from dataclasses import dataclass
from typing import Any, Self

import httpx

from tests.harness.contract import Operation
from tests.harness.keys import OVERRIDES, set_key
from tests.harness.person import Person
from tests.harness.tokens import new_token

Json = dict[str, Any]
OWNED = frozenset({"agent_id", "conversation_id", "message_id", "turn_id", "token_id", "session_id"})
"""Parameters that name a thing of one user."""
OTHER = frozenset({"backend", "seq", "name", "user_id", "invite_id", "position", "stream", "runner_id"})
"""Parameters that name what is nobody's, or what only the admin may touch."""


@dataclass(frozen=True)
class Belongings:
    """A user who has one of each thing. `marks` are texts that nobody else may ever see."""

    person: Person
    ids: Json
    marks: tuple[str, ...]

    @classmethod
    def of(cls, person: Person, backend: str, variable: str) -> Self:
        """Give a user one of each thing."""
        http = person.http
        name, title, text, value = ("name-MARK-1", "title-MARK-2", "text-MARK-3", "value-MARK-4-0123456789")
        assert http.patch("/api/me", json={"name": "user-MARK-5"}).is_success
        set_key(http, variable, value)
        agent = http.post("/api/agents", json={"backend": backend, "name": name}).json()["agent"]
        body = {"agent_id": agent["id"], "title": title}
        conversation = http.post("/api/conversations", json=body).json()["conversation"]
        turn = person.ask(conversation["id"], text)
        assert person.await_turn(conversation["id"], turn) == "finished"
        read = person.read(conversation["id"])
        token, secret = new_token(http, "token-MARK-6")
        user = http.get("/auth/me").json()["user"]
        session = http.get("/api/me/sessions").json()["sessions"][0]
        ids = {
            "agent_id": agent["id"],
            "conversation_id": conversation["id"],
            "message_id": read["messages"][0]["id"],
            "turn_id": turn,
            "token_id": token["id"],
            "session_id": session["id"],
            "user_id": user["id"],
            "backend": backend,
            "seq": 1,
            "name": variable,
            "invite_id": "none",
            "position": 1,
            "runner_id": "none",
            "stream": f"conversation:{conversation['id']}",
        }
        owned = [ids[name] for name in OWNED]
        return cls(person, ids, ("MARK-", user["email"], user["id"], token["prefix"], secret, *owned))

    def snapshot(self) -> Json:
        """Return all that the user has, as the user sees it."""
        http = self.person.http
        paths = (
            "/auth/me",
            "/api/agents",
            "/api/conversations",
            "/api/me/sessions",
            "/api/me/tokens",
            "/api/me/export",
        )
        found = {path: _read(http, path) for path in (*paths, OVERRIDES)}
        found["conversation"] = _read(http, f"/api/conversations/{self.ids['conversation_id']}")
        found["conversation"].pop("event_id")  # How far the log is, whoever has written.
        found["runners"] = [(r["agent_id"], r["state"], r["started_at"]) for r in self.person.runners()]
        found["idle"] = [(b["name"], b["idle_seconds"]) for b in _read(http, "/api/backends")["backends"]]
        found["usage"] = {**_read(http, "/api/me/usage")["totals"], "runner_seconds": 0}
        return found

    def path(self, operation: Operation) -> str:
        """Return an operation's path with this user's ids in it."""
        return "/".join(str(self.ids[p[1:-1]]) if p.startswith("{") else p for p in operation.path.split("/"))

    def told(self, answer: httpx.Response, sent: str = "") -> list[str]:
        """Return which marks an answer holds that the request did not."""
        return [mark for mark in self.marks if mark in answer.text and mark not in sent]


def parameters(operation: Operation) -> set[str]:
    """Return the names of an operation's parameters."""
    return {part[1:-1] for part in operation.path.split("/") if part.startswith("{")}


def _read(http: httpx.Client, path: str) -> Any:
    answer = http.get(path)
    assert answer.is_success, (path, answer.text)
    return answer.json()
