"""POST /api/internal/agents/{id}/event: what an agent may say from inside its runner."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import FAST_DEMO
from tests.harness.contract import has_shape, is_problem
from tests.harness.events import events
from tests.harness.person import Person
from tests.harness.poison import nested
from tests.harness.processes import runner_processes
from tests.harness.server import Server
from tests.harness.sse import until
from tests.harness.waiting import eventually

Json = dict[str, Any]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a server with the demo agent."""
    with Server(tmp_path_factory.mktemp("server"), backends=[FAST_DEMO]) as running:
        yield running


class Agent:
    """A user's agent that runs, and its key, as the agent itself knows it."""

    def __init__(self, user: Person) -> None:
        started = user.http.post("/api/runners/demo/start").json()["runner"]
        self.id: str = started["agent_id"]
        port = started["host_port"]
        (runner,) = [r for r in runner_processes(user.server) if r.port == port]
        self.kill = runner.kill
        environ = Path(f"/proc/{runner.pid}/environ").read_bytes().split(b"\0")
        self.env = dict(line.decode().split("=", 1) for line in environ if line)
        self.key = self.env["AGENT_STACK_RUNNER_API_KEY"]
        self._server = user.server

    def post(self, body: str) -> httpx.Response:
        """Post a body as it is."""
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        with self._server.client() as client:
            return client.post(f"/api/internal/agents/{self.id}/event", content=body, headers=headers)

    def say(self, key: str | None = None, agent: str | None = None, **body: Any) -> httpx.Response:
        """Post an event as the agent would."""
        bearer = self.key if key is None else key
        with self._server.client() as client:
            return client.post(
                f"/api/internal/agents/{agent or self.id}/event",
                json={"content": "Good news.", **body},
                headers={"Authorization": f"Bearer {bearer}"} if bearer else {},
            )


@pytest.fixture
def user(server: Server) -> Iterator[Person]:
    """Return a new user."""
    with Person(server) as person:
        yield person


@pytest.fixture
def agent(user: Person) -> Agent:
    """Return the user's running agent."""
    return Agent(user)


def test_the_agent_is_told_where_and_who_it_is(agent: Agent, server: Server) -> None:
    assert agent.env["AGENT_STACK_CALLBACK_URL"] == server.url
    assert agent.env["AGENT_STACK_AGENT_ID"] == agent.id


def test_a_message_is_kept_in_the_conversation_that_is_named(user: Person, agent: Agent) -> None:
    conversation, _ = user.conversation("demo"), user.conversation("demo")
    answer = agent.say(conversation_id=conversation, role="assistant")
    has_shape(answer.json(), {"message_id": str, "conversation_id": str, "created_at": int})
    assert answer.json()["conversation_id"] == conversation
    assert user.messages(conversation) == [("assistant", "Good news.")]
    (posted,) = [e for e in events(user.server, "message.posted") if e["stream"].endswith(conversation)]
    assert posted["actor"].startswith("runner:")


def test_without_a_name_it_goes_to_the_most_recently_active_conversation(user: Person, agent: Agent) -> None:
    first, second = user.conversation("demo"), user.conversation("demo")
    user.http.post(f"/api/conversations/{first}/messages", json={"role": "user", "content": "hello"})
    assert agent.say().json()["conversation_id"] == first
    assert user.messages(second) == []


def test_a_kept_message_is_broadcast_with_what_came_along(user: Person, agent: Agent) -> None:
    conversation = user.conversation("demo")
    with user.http.stream("GET", f"/api/conversations/{conversation}/stream") as stream:
        agent.say(payload={"link": "https://example.org"})
        told = until(stream, "message")[-1]["payload"]
    assert told["extra"] == {"link": "https://example.org"}
    assert (told["conversation_id"], told["agent_id"]) == (conversation, agent.id)
    has_shape(told, {"id": str, "role": str, "content": str, "created_at": int})


@pytest.mark.parametrize("body", [{"kind": "thinking"}, {"persist": False}, {"kind": "thinking", "persist": False}])
def test_anything_else_is_broadcast_and_not_kept(user: Person, agent: Agent, body: Json) -> None:
    conversation = user.conversation("demo")
    kind = body.get("kind", "message")
    with user.http.stream("GET", f"/api/conversations/{conversation}/stream") as stream:
        # The stream tells of what is said while somebody watches: its greeting says that it does.
        frames = stream.iter_lines()
        assert "hello" in next(line for line in frames if line.startswith("data:"))
        assert agent.say(**body).json()["message_id"] is None
        line = next(line for line in frames if line.startswith("data:") and f'"kind":"{kind}"' in line)
    assert '"id":null' in line
    assert "Good news." in line
    assert user.messages(conversation) == []


def test_a_caller_without_a_key_is_asked_for_one(agent: Agent) -> None:
    is_problem(agent.say(key=""), 401)


def test_a_wrong_key_opens_nothing(user: Person, agent: Agent) -> None:
    is_problem(agent.say(key="wrong"), 403, "wrong_key")
    is_problem(agent.say(key=user.token), 403, "wrong_key")


def test_another_agents_key_is_a_wrong_one(server: Server, agent: Agent) -> None:
    with Person(server, "other") as other:
        is_problem(agent.say(agent=Agent(other).id), 403, "wrong_key")


def test_an_agent_without_a_runner_has_no_say(user: Person, agent: Agent) -> None:
    is_problem(agent.say(agent="unknown"), 404)
    user.http.delete("/api/runners/demo")
    is_problem(agent.say(), 404)


def test_the_key_of_an_agent_that_has_died_opens_nothing(user: Person, agent: Agent) -> None:
    conversation = user.conversation("demo")
    agent.kill()
    eventually(lambda: agent.say().status_code == 404, "its end is noticed")
    said = len(user.read(conversation)["messages"])
    is_problem(agent.say(), 404)
    assert len(user.read(conversation)["messages"]) == said


def test_the_body_of_a_stranger_is_not_listened_to(user: Person, agent: Agent) -> None:
    """A body of this kind may be large, and anybody may send one."""
    head = (
        f"POST /api/internal/agents/{agent.id}/event HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer wrong\r\n"
        "Content-Type: application/json\r\nContent-Length: 6000000\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", user.server.port), 10) as stranger:
        stranger.sendall(head.encode())
        assert stranger.recv(100).startswith(b"HTTP/1.1 403 ")


def test_the_key_of_an_earlier_start_is_a_wrong_one(user: Person, agent: Agent) -> None:
    user.conversation("demo")
    user.http.delete("/api/runners/demo")
    Agent(user)
    is_problem(agent.say(), 403, "wrong_key")


def test_somebody_elses_conversation_does_not_exist_for_an_agent(server: Server, agent: Agent) -> None:
    with Person(server, "other") as other:
        foreign = other.conversation("demo")
        is_problem(agent.say(conversation_id=foreign), 404)
        assert other.messages(foreign) == []


def test_an_agent_without_any_conversation_is_told_so(agent: Agent) -> None:
    is_problem(agent.say(), 409, "no_conversation")


@pytest.mark.parametrize(
    "body", [{"role": "king"}, {"kind": "Not a kind"}, {"content": 5}, {"payload": "text"}, {"content": None}]
)
def test_a_malformed_body_is_refused(user: Person, agent: Agent, body: Json) -> None:
    user.conversation("demo")
    is_problem(agent.say(**body), 422)


NASTY: dict[str, str] = {
    **{f"{n} levels": '{"a":' * n + "1" + "}" * n for n in (64, 200, 201, 252, 253, 260, 1000, 100_000)},
    "an integer of 65 bits": '{"n": 18446744073709551616}',
    "below 64 bits": '{"n": -9223372036854775809}',
    "a number without end": '{"n": 1e400}',
    "no number": '{"n": NaN}',
    "half a character": '{"t": "\\ud83d"}',
    "half a character for a name": '{"\\ude00": 1}',
    "too many values": json.dumps({"list": [0] * 10_001}),
    "too many members": json.dumps({str(n): n for n in range(10_001)}),
    "too large": json.dumps({"text": "x" * 262_144}),
}


@pytest.mark.parametrize("kept", [True, False])
def test_what_could_not_be_read_back_is_refused_and_harms_nothing(user: Person, agent: Agent, kept: bool) -> None:
    conversation = user.conversation("demo")
    agent.say(content="before")
    for payload in NASTY.values():
        is_problem(agent.post(f'{{"content": "poison", "persist": {json.dumps(kept)}, "payload": {payload}}}'), 422)
        assert user.messages(conversation) == [("assistant", "before")]
    agent.say(content="after")
    assert user.messages(conversation) == [("assistant", "before"), ("assistant", "after")]


@pytest.mark.parametrize(
    "payload", [nested(63), {"list": [0] * 9_990}, {"n": 2**63 - 1, "t": "\U0001f600", "é": None}]
)
def test_what_is_just_within_the_bounds_is_kept_and_shown(user: Person, agent: Agent, payload: Json) -> None:
    conversation = user.conversation("demo")
    assert agent.say(payload=payload).is_success
    with user.http.stream("GET", f"/api/conversations/{conversation}/stream?last_event_id=1") as stream:
        assert until(stream, "message")[-1]["payload"]["extra"] == payload
    (posted,) = [e for e in events(user.server, "message.posted") if e["stream"].endswith(conversation)]
    assert posted["payload"]["extra"] == payload
    assert user.http.get(f"/api/conversations/{conversation}/export?format=json").is_success
    assert user.http.delete(f"/api/conversations/{conversation}").status_code == 204


def test_the_runners_key_opens_nothing_else(agent: Agent, server: Server) -> None:
    with server.client(headers={"Authorization": f"Bearer {agent.key}"}) as client:
        assert client.get("/api/conversations").status_code == 401
        assert client.get("/v1/models").status_code == 401
