"""A user of a server under test, with all that users do."""

import itertools
from typing import Any, Self

import httpx
import openai

from tests.harness.server import Server
from tests.harness.sse import until
from tests.harness.waiting import PATIENCE_SECONDS, eventually

_numbers = itertools.count(1)
Json = dict[str, Any]


class Person:
    """A new user; use as a context manager. `http` is signed in by cookie, `openai` by token."""

    def __init__(self, server: Server, name: str = "user") -> None:
        self.server = server
        self.http = server.sign_up(f"{name}{next(_numbers)}@example.org")
        self.token = server.token(self.http)
        self.openai = openai.OpenAI(
            base_url=f"{server.url}/v1",
            api_key=self.token,
            max_retries=0,
            http_client=openai.DefaultHttpxClient(trust_env=False),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.openai.close()
        self.http.close()

    @property
    def bearer(self) -> dict[str, str]:
        """The header that authorises."""
        return {"Authorization": f"Bearer {self.token}"}

    def again(self) -> httpx.Client:
        """Return another client of the same user, as another tab or device would be."""
        return self.server.client(headers=self.bearer)

    # -- /v1 ----------------------------------------------------------------------------------------------

    def chat(self, text: str, model: str = "scripted", **more: Any) -> httpx.Response:
        """Ask over /v1, not streamed, and return the answer as it comes."""
        return self.http.post("/v1/chat/completions", json=chat_body(text, model, **more), headers=self.bearer)

    def pid(self, model: str = "scripted") -> int:
        """Return the process id of the scripted agent."""
        answer = self.chat("echo", model)
        assert answer.is_success, answer.text
        found: int = answer.json()["pid"]
        return found

    # -- runners ------------------------------------------------------------------------------------------

    def runners(self) -> list[Json]:
        """Return the user's runners."""
        found: list[Json] = self.http.get("/api/runners").json()["runners"]
        return found

    def await_idle(self) -> None:
        """Wait until no lease is out on the one runner."""
        eventually(lambda: [r for r in self.runners() if r["stops_in_seconds"] is not None], "the lease is back")

    # -- conversations ------------------------------------------------------------------------------------

    def conversation(self, backend: str = "scripted") -> str:
        """Open a conversation and return its id."""
        answer = self.http.post("/api/conversations", json={"backend": backend})
        assert answer.is_success, answer.text
        id_: str = answer.json()["conversation"]["id"]
        return id_

    def read(self, conversation: str) -> Json:
        """Return a conversation with its messages."""
        answer = self.http.get(f"/api/conversations/{conversation}")
        assert answer.is_success, answer.text
        found: Json = answer.json()
        return found

    def messages(self, conversation: str) -> list[tuple[str, str]]:
        """Return (role, content) of every message."""
        return [(m["role"], m["content"]) for m in self.read(conversation)["messages"]]

    def ask(self, conversation: str, text: str) -> str:
        """Begin a turn and return its id."""
        answer = self.http.post(f"/api/conversations/{conversation}/turns", json={"content": text})
        assert answer.status_code == 202, answer.text
        id_: str = answer.json()["turn"]["id"]
        return id_

    def act(self, conversation: str, turn: str, verb: str) -> httpx.Response:
        """Cancel or regenerate a turn."""
        return self.http.post(f"/api/conversations/{conversation}/turns/{turn}/{verb}")

    def await_turn(self, conversation: str, turn: str, seconds: float = PATIENCE_SECONDS) -> str:
        """Wait until a turn has ended and return how."""

        def ended() -> str:
            last = self.read(conversation)["last_turn"]
            return "" if last is None or last["id"] != turn or last["status"] == "running" else str(last["status"])

        return eventually(ended, f"turn {turn} ends", seconds)

    def watch(self, conversation: str, until_kind: str, last_event_id: str = "") -> list[Json]:
        """Follow a conversation's stream up to the first event of a kind."""
        headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
        with self.http.stream("GET", f"/api/conversations/{conversation}/stream", headers=headers) as stream:
            return until(stream, until_kind)


def chat_body(text: str, model: str = "scripted", **more: Any) -> Json:
    """Return the body of a chat request."""
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}
