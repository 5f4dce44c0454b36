"""OpenClaw, Hermes Agent and nanobot in real containers, as `seeds/` declares them, with a scripted model."""

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.agents.upstream import DOWN, Upstream
from tests.harness import agent_images, docker
from tests.harness.containers import ContainerServer
from tests.harness.person import Person
from tests.harness.server import ROOT
from tests.harness.sse import until
from tests.harness.waiting import eventually

pytestmark = [pytest.mark.agents, pytest.mark.docker, pytest.mark.slow]
AGENTS = agent_images.AGENTS
HOST = "host.docker.internal"
CALLBACK = (
    'curl -sS -f -H "Authorization: Bearer $AGENT_STACK_RUNNER_API_KEY" -H "Content-Type: application/json" '
    '-d \'{"content": "posted by the agent"}\' '
    '"$AGENT_STACK_CALLBACK_URL/api/internal/agents/$AGENT_STACK_AGENT_ID/event"'
)
SECONDS = 180
"""Patience with a turn: an agent that cannot reach its model tries for more than a minute."""
each_agent = pytest.mark.parametrize("agent", AGENTS)
Json = dict[str, Any]


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    """Return a running model server that containers reach."""
    with Upstream("0.0.0.0") as running:
        yield running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[ContainerServer]:
    """Return a server with the three agents as they are shipped, and values for their model."""
    agent_images.build(*AGENTS)
    folder = tmp_path_factory.mktemp("server")
    model = f"http://{HOST}:{upstream.port}/v1"
    values = {"LLM_BASE_URL": model, "LLM_API_KEY": "sk-scripted-1234", "LLM_MODEL": "m1"}
    declared = json.loads((ROOT / "seeds" / "backends.json").read_text())["backends"]
    backends = [{**b, "extra_env": {**b.get("extra_env", {}), **values}} for b in declared if b["name"] in AGENTS]
    for backend in backends:
        shutil.copytree(ROOT / "seeds" / backend["home_template"], folder / backend["home_template"])
    env = {"ROUTER_BIND_HOST": "0.0.0.0", "MIN_IDLE_SECONDS": "1", "BACKEND_STARTUP_TIMEOUT": "180"}
    with ContainerServer(folder, backends, env) as running:
        yield running


@pytest.fixture(scope="module")
def user(server: ContainerServer) -> Iterator[Person]:
    """Return a user all of whose agents run."""
    with Person(server, "real") as person:
        with ThreadPoolExecutor(len(AGENTS)) as pool:
            starts = pool.map(lambda a: person.again().post(f"/api/runners/{a}/start", timeout=200), AGENTS)
        assert [s.text for s in starts if not s.is_success] == []
        yield person


@pytest.fixture(autouse=True)
def _willing(upstream: Upstream) -> Iterator[None]:
    upstream.refusal = 0
    yield
    upstream.refusal = 0


def told(upstream: Upstream) -> str:
    """Return all that the model was told in its last request."""
    return json.dumps(upstream.requests[-1]["messages"])


def answer(person: Person, conversation: str, text: str) -> str:
    """Ask in a conversation and return the answer of its turn, or its error."""
    assert person.await_turn(conversation, person.ask(conversation, text), SECONDS) in {"finished", "failed"}
    return person.messages(conversation)[-1][1]


@each_agent
def test_a_turn_is_answered_and_the_next_one_remembers_it(user: Person, agent: str, upstream: Upstream) -> None:
    conversation = user.conversation(agent)
    assert "MY NAME IS ZANZIBAR" in answer(user, conversation, "my name is zanzibar")
    answer(user, conversation, "what is my name?")
    assert "my name is zanzibar" in told(upstream)
    assert [role for role, _ in user.messages(conversation)] == ["user", "assistant"] * 2


@each_agent
def test_the_sdk_gets_an_answer_in_one_piece_and_as_a_stream(user: Person, agent: str) -> None:
    asked: Any = [{"role": "user", "content": "good day"}]
    whole = user.openai.chat.completions.create(model=agent, messages=asked)
    assert "GOOD DAY" in (whole.choices[0].message.content or "")
    stream = user.openai.chat.completions.create(model=agent, messages=asked, stream=True)
    assert "GOOD DAY" in "".join(c.choices[0].delta.content or "" for c in stream if c.choices)


@each_agent
def test_a_client_that_sends_its_whole_history_gets_the_right_answer(
    user: Person, agent: str, upstream: Upstream
) -> None:
    history: Any = [
        {"role": "system", "content": "be brief like quokkas"},
        {"role": "user", "content": "my colour is vermilion"},
        {"role": "assistant", "content": "noted"},
        {"role": "user", "content": "second question"},
    ]
    session = f"agstack-{user.conversation(agent)}"
    given = user.openai.chat.completions.create(model=agent, messages=history, user=session)
    assert "SECOND QUESTION" in (given.choices[0].message.content or "")
    assert "my colour is vermilion" in told(upstream)
    longer = [*history, {"role": "assistant", "content": "done"}, {"role": "user", "content": "third question"}]
    given = user.openai.chat.completions.create(model=agent, messages=longer, user=session)
    assert "THIRD QUESTION" in (given.choices[0].message.content or "")
    assert "my colour is vermilion" in told(upstream)


@each_agent
def test_two_conversations_and_two_users_share_nothing(
    server: ContainerServer, user: Person, agent: str, upstream: Upstream
) -> None:
    one, two = user.conversation(agent), user.conversation(agent)
    answer(user, one, "remember walrus")
    answer(user, two, "what do you remember?")
    assert "walrus" not in told(upstream)
    with Person(server, "another") as other:
        answer(other, other.conversation(agent), "what do you remember?")
        assert "walrus" not in told(upstream)
        other.http.delete(f"/api/runners/{agent}")
    answer(user, one, "and now?")
    assert "walrus" in told(upstream)


@each_agent
def test_the_agent_reads_its_instructions_and_its_skill_and_may_speak_first(
    user: Person, agent: str, upstream: Upstream
) -> None:
    conversation = user.conversation(agent)
    answer(user, conversation, f"run: {CALLBACK}")
    sent = json.dumps(upstream.requests[-1])
    assert "You are the personal assistant of" in sent
    assert "agent-stack-callback" in sent
    assert ("assistant", "posted by the agent") in user.messages(conversation)


@each_agent
def test_an_agent_that_was_stopped_for_idling_or_crashed_keeps_its_history(
    server: ContainerServer, user: Person, agent: str, upstream: Upstream
) -> None:
    conversation = user.conversation(agent)
    answer(user, conversation, "remember axolotl")
    first = server.container(user, agent)["Id"]
    user.http.put(f"/api/runners/{agent}/idle", json={"idle_seconds": 1})
    eventually(lambda: docker.inspect(first) is None, "the idle container is removed")
    user.http.put(f"/api/runners/{agent}/idle", json={"idle_seconds": 0})
    answer(user, conversation, "still there?")
    assert "axolotl" in told(upstream)
    second = server.container(user, agent)["Id"]
    docker.kill(second)
    eventually(lambda: agent not in {r["backend"] for r in user.runners()}, "the crash is noticed")
    answer(user, conversation, "and now?")
    assert "axolotl" in told(upstream)
    assert server.container(user, agent)["Id"] not in {first, second}


def test_a_cold_start_is_shown_stage_by_stage(server: ContainerServer) -> None:
    with Person(server, "cold") as person:
        conversation = person.conversation("nanobot")
        turn = person.ask(conversation, "hello")
        with person.http.stream("GET", f"/api/conversations/{conversation}/stream") as stream:
            frames = until(stream, "turn_finished")
        shown = [f["payload"] for f in frames if f["kind"] == "turn_progress"]
        assert [p["progress"] for p in shown] == sorted(p["progress"] for p in shown)
        assert "probing" in {p["stage"] for p in shown}
        assert person.await_turn(conversation, turn, SECONDS) == "finished"
        person.http.delete("/api/runners/nanobot")


def fail_together(user: Person) -> dict[str, tuple[str, str]]:
    """Ask all agents at once; return how each turn ended and what its user was told."""
    asked = {}
    for agent in AGENTS:
        conversation = user.conversation(agent)
        asked[agent] = (conversation, user.ask(conversation, "will this work?"))
    return {a: (user.await_turn(c, t, SECONDS), user.messages(c)[-1][1]) for a, (c, t) in asked.items()}


def test_a_wrong_key_is_told_with_the_variable_to_look_at(user: Person, upstream: Upstream) -> None:
    upstream.refusal = 401
    for agent, (status, words) in fail_together(user).items():
        assert status == "failed", f"{agent}: {words}"
        assert "LLM_API_KEY" in words, f"{agent}: {words}"


def test_a_model_that_does_not_answer_is_told_with_the_variable_to_look_at(
    server: ContainerServer, upstream: Upstream
) -> None:
    # Another user: an agent may still hold the refusal of before against its key.
    with Person(server, "down") as person:
        upstream.refusal = DOWN
        for agent, (status, words) in fail_together(person).items():
            assert status == "failed", f"{agent}: {words}"
            assert "LLM_BASE_URL" in words, f"{agent}: {words}"
