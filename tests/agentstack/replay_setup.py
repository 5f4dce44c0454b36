"""A folder in which much has changed since a moment, for looking back."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.conftest import FAST_DEMO
from tests.harness.keys import set_key
from tests.harness.person import Person
from tests.harness.server import PASSWORD, Server

VARIABLE = "LLM_API_KEY"
BACKEND = {**FAST_DEMO, "user_overridable_env": [VARIABLE]}
LATER = "another password of ada's"


@dataclass(frozen=True)
class Past:
    """A folder in which much has changed since a moment."""

    folder: Path
    position: int
    """The moment, in events."""
    time: str
    """The moment, as a time."""
    email: str
    user: str
    conversation: str
    agent: str
    bob: str
    bob_email: str

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.folder / "data"


def make_past(folder: Path) -> Past:
    """Make such a folder; no server runs in it."""
    with Server(folder, backends=[BACKEND]) as server, Person(server, "ada") as person:
        admin = server.admin()
        me = person.http.get("/auth/me").json()["user"]
        set_key(person.http, VARIABLE, "planted-first")
        conversation = person.conversation("demo")
        turn = person.ask(conversation, "How was it?")
        assert person.await_turn(conversation, turn) == "finished", person.read(conversation)
        person.http.patch(f"/api/conversations/{conversation}", json={"title": "As it was"})
        bob = server.sign_up("bob@example.org")
        bob_id = bob.get("/auth/me").json()["user"]["id"]
        agent = person.http.get("/api/agents").json()["agents"][0]["id"]
        assert person.http.delete("/api/runners/demo").is_success
        head = admin.get("/api/admin/events", params={"limit": 1}).json()["events"][0]
        person.http.patch(f"/api/conversations/{conversation}", json={"title": "As it is now"})
        assert person.http.post(
            f"/api/conversations/{conversation}/messages", json={"role": "user", "content": "Late"}
        )
        set_key(person.http, VARIABLE, "planted-second")
        server.sign_up("eve@example.org")
        body = {"current_password": PASSWORD, "new_password": LATER}
        assert person.http.post("/api/me/password", json=body).is_success
        assert admin.delete(f"/api/admin/users/{bob_id}").is_success
    moment = datetime.fromtimestamp((head["time_us"] + 1) / 1e6, UTC).isoformat()
    return Past(
        folder,
        head["position"],
        moment,
        me["email"],
        me["id"],
        conversation,
        agent,
        bob_id,
        "bob@example.org",
    )
