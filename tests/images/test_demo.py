"""The demo agent, as the router starts it."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from tests.harness.ports import free_port
from tests.harness.server import ROOT
from tests.harness.waiting import eventually

KEY = "the runner's key"
Start = Callable[..., httpx.Client]


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/health").is_success
    except httpx.HTTPError:
        return False


@pytest.fixture(scope="module")
def start() -> Iterator[Start]:
    """Return a function that starts a demo agent and returns a client with its key."""
    with ExitStack() as stack:

        def started(*, wait: bool = True, **env: str) -> httpx.Client:
            port = str(free_port())
            own = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}
            settings = {"DEMO_PORT": port, "DEMO_API_KEY": KEY, "DEMO_WORDS_PER_SECOND": "0", **env}
            process = subprocess.Popen([sys.executable, "-m", "images.demo"], env={**own, **settings}, cwd=ROOT)
            stack.callback(process.wait, 30)
            stack.callback(process.terminate)
            client = stack.enter_context(
                httpx.Client(
                    base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {KEY}"}, trust_env=False
                )
            )
            if wait:
                eventually(lambda: _answers(client), "the demo agent answers")
            return client

        yield started


@pytest.fixture(scope="module")
def demo(start: Start) -> httpx.Client:
    """Return a client of a demo agent that all tests of the module share."""
    return start()


def _ask(demo: httpx.Client, text: str, **more: Any) -> httpx.Response:
    return demo.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": text}], **more})


def _text(answer: httpx.Response) -> str:
    found: str = answer.json()["choices"][0]["message"]["content"]
    return found


def _chunks(answer: httpx.Response) -> list[dict[str, Any]]:
    frames = answer.text.split("\n\n")
    assert frames[-2:] == ["data: [DONE]", ""]
    return [json.loads(frame.removeprefix("data: ")) for frame in frames[:-2]]


def test_health_asks_for_no_key(demo: httpx.Client) -> None:
    assert demo.get("/health", headers={"Authorization": ""}).json() == {"status": "ok"}


@pytest.mark.parametrize("given", ["", "Bearer wrong", KEY, f"Basic {KEY}", f"Bearer {KEY}x"])
def test_everything_else_asks_for_the_key(demo: httpx.Client, given: str) -> None:
    answer = demo.get("/v1/models", headers={"Authorization": given})
    assert answer.status_code == 401
    assert answer.json()["error"]["type"] == "authentication_error"


def test_without_a_key_of_its_own_it_asks_for_none(start: Start) -> None:
    assert start(DEMO_API_KEY="").get("/v1/models", headers={"Authorization": ""}).is_success


def test_it_has_one_model(demo: httpx.Client) -> None:
    assert [m["id"] for m in demo.get("/v1/models").json()["data"]] == ["demo"]


@pytest.mark.parametrize(
    ("question", "words"),
    [("hi", "> hi"), ("CODE please", "```python"), ("a table", "| --- |"), ("be long", "30. ")],
)
def test_it_picks_its_answer_by_words_in_the_question(demo: httpx.Client, question: str, words: str) -> None:
    assert words in _text(_ask(demo, question))


def test_it_says_that_there_is_no_model_behind_it(demo: httpx.Client) -> None:
    assert "no language model" in _text(_ask(demo, "who are you?"))


def test_it_counts_the_messages_of_the_conversation(demo: httpx.Client) -> None:
    messages = [{"role": r, "content": r} for r in ("system", "user", "assistant", "user")]
    assert "2 message(s)" in _text(demo.post("/v1/chat/completions", json={"messages": messages}))


def test_it_reads_content_in_parts(demo: httpx.Client) -> None:
    parts = [{"type": "text", "text": "from parts"}, {"type": "image_url", "image_url": {"url": "data:,"}}]
    assert "> from parts" in _text(
        demo.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": parts}]})
    )


def test_a_stream_says_the_same_as_an_answer_in_one_piece(demo: httpx.Client) -> None:
    chunks = _chunks(_ask(demo, "a table", stream=True))
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks) == _text(_ask(demo, "a table"))
    assert [c["choices"][0]["finish_reason"] for c in chunks if c["choices"][0]["finish_reason"]] == ["stop"]
    assert all("usage" not in c for c in chunks)


def test_a_stream_tells_its_usage_when_asked_to(demo: httpx.Client) -> None:
    *_, last = _chunks(_ask(demo, "hi", stream=True, stream_options={"include_usage": True}))
    assert last["choices"] == []
    assert last["usage"] == _ask(demo, "hi").json()["usage"]
    assert last["usage"]["total_tokens"] == last["usage"]["prompt_tokens"] + last["usage"]["completion_tokens"]


def test_the_model_that_was_asked_for_is_named_in_the_answer(demo: httpx.Client) -> None:
    assert _ask(demo, "hi", model="demo/x").json()["model"] == "demo/x"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"{}", b'{"messages": []}', b'{"messages": [1]}'])
def test_a_bad_body_is_a_bad_request(demo: httpx.Client, body: bytes) -> None:
    answer = demo.post("/v1/chat/completions", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("content", [None, 7, {}, [None, {"text": 7}]])
def test_content_of_a_strange_type_is_not_the_agents_fault(demo: httpx.Client, content: object) -> None:
    answer = demo.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": content}]})
    assert answer.status_code < 500


def test_a_path_that_it_does_not_have_is_not_found(demo: httpx.Client) -> None:
    assert demo.post("/v1/embeddings", json={}).status_code == 404


def test_it_can_pretend_to_boot_slowly(start: Start) -> None:
    slow = start(wait=False, DEMO_BOOT_SECONDS="1")
    with pytest.raises(httpx.ConnectError):
        slow.get("/health")
    eventually(lambda: _answers(slow), "the slow agent answers")


def test_it_ends_a_stream_when_its_client_goes_away(start: Start) -> None:
    slow = start(DEMO_WORDS_PER_SECOND="5")
    body = {"messages": [{"role": "user", "content": "long"}], "stream": True}
    with slow.stream("POST", "/v1/chat/completions", json=body) as stream:
        next(stream.iter_bytes())
    assert _answers(slow)


def test_it_listens_on_the_loopback_address_only(demo: httpx.Client) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.2", demo.base_url.port or 0))
