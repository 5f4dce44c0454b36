"""The real nanobot from its registry, run by the process engine, with a scripted model behind it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.agents.upstream import Upstream
from tests.harness.person import Person, chat_body
from tests.harness.ports import AGENTS_HOST
from tests.harness.server import Server

pytestmark = [pytest.mark.agents, pytest.mark.slow]
REQUIREMENT = "nanobot-ai[api]==0.3.5"
FOLDER = "nanobot-ai-api-0.3.5"


@pytest.fixture(scope="module")
def nanobot() -> Path:
    """Return the program, installed once into a folder that is kept (AGENTSTACK_TEST_CACHE)."""
    cache = Path(os.environ.get("AGENTSTACK_TEST_CACHE", "~/.cache/agentstack-tests")).expanduser()
    venv = cache / FOLDER
    program, installed = venv / "bin" / "nanobot", venv / "installed"
    if not installed.exists():
        cache.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        pip = [str(venv / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", REQUIREMENT]
        subprocess.run(pip, check=True)
        installed.touch()
    return program


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    """Return a running model server."""
    with Upstream() as running:
        yield running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, nanobot: Path, upstream: Upstream) -> Iterator[Server]:
    """Return a server with nanobot as its backend; the home template lies beside backends.json."""
    folder = tmp_path_factory.mktemp("server")
    template = folder / "nanobot"
    (template / "workspace").mkdir(parents=True)
    (template / "config.json").write_text(json.dumps(_config(upstream)))
    backend = {
        "name": "nanobot",
        "display_name": "nanobot",
        "engine": "process",
        "home_template": "nanobot",
        "command": [
            str(nanobot),
            "serve",
            *("--config", "{home}/config.json"),
            *("--workspace", "{home}/workspace"),
            *("--host", "{host}", "--port", "{port}"),
        ],
        "api_key_env": "RUNNER_API_KEY",
        "session": {"place": "body", "name": "session_id"},
        "history": "last_user",
        "model_handling": "drop",
    }
    with Server(folder, backends=[backend]) as running:
        yield running


def _config(upstream: Upstream) -> dict[str, Any]:
    defaults = {"provider": "openai", "model": "scripted-model", "maxTokens": 1000, "temperature": 0.1}
    return {
        "providers": {"openai": {"apiKey": "none", "apiBase": upstream.url}},
        "agents": {"defaults": defaults},
        "api": {"host": "127.0.0.1", "timeout": 60, "apiKey": "${RUNNER_API_KEY}"},
    }


def _answer(response: httpx.Response) -> str:
    assert response.is_success, response.text
    found: str = response.json()["choices"][0]["message"]["content"]
    return found


def _told(upstream: Upstream) -> str:
    """Return all that the model was told in its last request."""
    return json.dumps(upstream.requests[-1]["messages"])


def test_a_chat_is_answered_by_the_sdk_in_one_piece(user: Person) -> None:
    answer = user.openai.chat.completions.create(
        model="nanobot", messages=[{"role": "user", "content": "good day"}]
    )
    assert "GOOD DAY" in (answer.choices[0].message.content or "")


def test_a_chat_is_answered_by_the_sdk_as_a_stream(user: Person) -> None:
    stream = user.openai.chat.completions.create(
        model="nanobot", messages=[{"role": "user", "content": "good day"}], stream=True
    )
    assert "GOOD DAY" in "".join(c.choices[0].delta.content or "" for c in stream if c.choices)


def test_a_turn_is_answered_and_the_next_one_keeps_the_session(user: Person, upstream: Upstream) -> None:
    conversation = user.conversation("nanobot")
    assert user.await_turn(conversation, user.ask(conversation, "my name is zanzibar")) == "finished"
    assert user.await_turn(conversation, user.ask(conversation, "what is my name?")) == "finished"
    told = _told(upstream)
    assert "my name is zanzibar" in told
    assert "what is my name?" in told
    roles = [role for role, _ in user.messages(conversation)]
    assert roles == ["user", "assistant", "user", "assistant"]


def test_a_client_that_sends_its_whole_history_gets_an_answer(user: Person, upstream: Upstream) -> None:
    history = [
        {"role": "system", "content": "be brief like quokkas"},
        {"role": "user", "content": "first question"},
        {"role": "assistant", "content": "first answer"},
        {"role": "user", "content": "second question"},
    ]
    assert _answer(user.chat("", model="nanobot", messages=history))
    told = _told(upstream)
    assert all(m["content"] in told for m in history)
    more = [
        *history,
        {"role": "assistant", "content": "second answer"},
        {"role": "user", "content": "third question"},
    ]
    assert "THIRD QUESTION" in _answer(user.chat("", model="nanobot", messages=more))


def test_two_users_do_not_share_a_session(server: Server, upstream: Upstream) -> None:
    with Person(server, "first") as first, Person(server, "second") as second:
        _answer(first.chat("remember walrus", model="nanobot"))
        _answer(second.chat("what do you remember?", model="nanobot"))
        assert "walrus" not in _told(upstream)
        _answer(first.chat("and now?", model="nanobot"))
        assert "walrus" in _told(upstream)


def test_two_conversations_do_not_share_a_session(user: Person, upstream: Upstream) -> None:
    one, two = user.conversation("nanobot"), user.conversation("nanobot")
    user.await_turn(one, user.ask(one, "remember ostrich"))
    user.await_turn(two, user.ask(two, "what do you remember?"))
    assert "ostrich" not in _told(upstream)


def test_a_client_joins_the_session_of_a_conversation_by_its_user_member(user: Person, upstream: Upstream) -> None:
    conversation = user.conversation("nanobot")
    user.await_turn(conversation, user.ask(conversation, "remember pangolin"))
    _answer(user.chat("what now?", model="nanobot", user=f"agstack-{conversation}"))
    assert "pangolin" in _told(upstream)


def test_a_session_outlives_its_runner(user: Person, upstream: Upstream) -> None:
    conversation = user.conversation("nanobot")
    user.await_turn(conversation, user.ask(conversation, "remember axolotl"))
    assert user.http.delete("/api/runners/nanobot").json() == {"stopped": True}
    user.await_turn(conversation, user.ask(conversation, "still there?"))
    assert "axolotl" in _told(upstream)


def test_the_key_of_the_runner_is_asked_for(user: Person) -> None:
    _answer(user.chat("hello", model="nanobot"))
    port = user.runners()[0]["host_port"]
    url = f"http://{AGENTS_HOST}:{port}/v1/chat/completions"
    assert httpx.post(url, json=chat_body("hello"), trust_env=False).status_code == 401
