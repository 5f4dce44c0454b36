"""An installation with a past, for the tests of the admin's look into the log."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.conftest import FAST_DEMO
from tests.harness.keys import set_key
from tests.harness.person import Person
from tests.harness.server import PASSWORD, Server
from tests.harness.tokens import new_token

EVENTS = "/api/admin/events"
STREAMS = "/api/admin/streams"
VARIABLE = "LLM_API_KEY"
VALUE = "sk-planted-value-0123456789"
MASK = "\u2022" * 8
Json = dict[str, Any]
EVENT = {
    "position": int,
    "stream": str,
    "version": int,
    "type": str,
    "time": int,
    "time_us": int,
    "actor": str,
    "correlation": str,
    "causation": (int, None),
    "owner": str,
    "owner_email": str,
    "payload": dict,
    "erased": bool,
    "problem": str,
}
PATHS = [
    EVENTS,
    f"{EVENTS}/types",
    f"{EVENTS}/1",
    f"{EVENTS}/live",
    f"{EVENTS}/timeline",
    f"{EVENTS}/export",
    STREAMS,
    f"{STREAMS}/admin",
    f"{STREAMS}/admin/state",
    "/api/admin/projections",
    "/api/admin/audit/head",
    "/api/admin/audit/verify",
    "/api/admin/disk",
]
"""Everything that can be read."""


@dataclass(frozen=True)
class World:
    """An admin, ada who has one of each thing, and bob who had something and was deleted."""

    server: Server
    admin: httpx.Client
    person: Person
    ada: str
    ada_email: str
    bob: str
    conversation: str
    turn: str
    secret: str
    """Of ada's API token."""

    def get(self, path: str, **params: Any) -> Json:
        """Return what the admin is told."""
        answer = self.admin.get(path, params=params)
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found

    def events(self, **params: Any) -> list[Json]:
        """Return some events."""
        found: list[Json] = self.get(EVENTS, **params)["events"]
        return found

    def everything(self, **params: Any) -> list[Json]:
        """Return all events that fit, oldest first, page by page."""
        found: list[Json] = []
        while True:
            after = found[-1]["position"] if found else 0
            page = self.get(EVENTS, **{"limit": 500, "order": "oldest", "after": after, **params})
            found += page["events"]
            if not page["more"]:
                return found


@contextmanager
def world(folder: Path) -> Iterator[World]:
    """Run a server and have them all do something."""
    backend = {**FAST_DEMO, "user_overridable_env": [VARIABLE]}
    with Server(folder, backends=[backend]) as server:
        admin = server.admin()
        with Person(server, "ada") as person:
            set_key(person.http, VARIABLE, VALUE)
            _, secret = new_token(person.http, "program")
            conversation = person.conversation("demo")
            turn = person.ask(conversation, "a question")
            assert person.await_turn(conversation, turn) == "finished"
            person.http.patch(f"/api/conversations/{conversation}", json={"title": "Another title"})
            bob = server.sign_up("bob@planted.example.org")
            set_key(bob, VARIABLE, VALUE)
            made = bob.post("/api/conversations", json={"backend": "demo", "title": "planted-title"})
            bobs = made.json()["conversation"]["id"]
            bob.post(f"/api/conversations/{bobs}/messages", json={"role": "user", "content": "planted-message"})
            bob_id = bob.get("/auth/me").json()["user"]["id"]
            assert admin.delete(f"/api/admin/users/{bob_id}").is_success
            me = person.http.get("/auth/me").json()["user"]
            yield World(server, admin, person, me["id"], me["email"], bob_id, conversation, turn, secret)


def shows_no_secret(text: str) -> None:
    """Fail when anything that nobody may see is in an answer."""
    for hidden in (VALUE, PASSWORD, "$argon2", "planted"):
        assert hidden not in text, hidden
