"""Content codings: agents are asked for none, and what comes encoded all the same is decoded on its way."""

import gzip
import zlib

import orjson
import pytest

from tests.agents.chunks import DONE, chunk, completion
from tests.harness.contract import is_openai_error, is_problem
from tests.harness.faults import abandoned_generators, faults
from tests.harness.person import Person, chat_body
from tests.harness.raw_answers import EVENTS, whole, zipped
from tests.harness.scripted import Gates
from tests.harness.server import Server

JSON = {"Content-Type": "application/json"}
CHAT = "/v1/chat/completions"


def test_agents_are_asked_for_answers_that_are_not_encoded(user: Person) -> None:
    seen = user.http.post(CHAT, json=chat_body("echo"), headers={"accept-encoding": "gzip, br, zstd"}).json()[
        "headers"
    ]
    assert [value for name, value in seen if name.lower() == "accept-encoding"] == ["identity"]


def test_an_answer_that_is_encoded_all_the_same_is_decoded_on_its_way(user: Person, gates: Gates) -> None:
    gates.folder.joinpath("zipped").write_bytes(zipped("application/json", orjson.dumps(completion("in gzip"))))
    answer = user.http.post(CHAT, json=chat_body("raw zipped"))
    assert answer.json()["choices"][0]["message"]["content"] == "in gzip"
    assert "content-encoding" not in answer.headers
    conversation = user.conversation()
    assert user.await_turn(conversation, user.ask(conversation, "raw zipped")) == "finished"
    assert user.messages(conversation)[-1] == ("assistant", "in gzip")


def test_what_an_encoded_stream_has_used_counts(server: Server, gates: Gates) -> None:
    told = b'data: {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 7}}\n\n'
    gates.folder.joinpath("zipped").write_bytes(zipped(EVENTS, chunk("word") + told + DONE))
    with Person(server) as user:
        assert user.chat("raw zipped", stream=True).text.endswith("[DONE]\n\n")
        totals = user.http.get("/api/me/usage").json()["totals"]
        assert (totals["prompt_tokens"], totals["completion_tokens"], totals["unknown"]) == (5, 7, 0)


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip"])
def test_an_answer_in_an_unknown_coding_is_a_bad_gateway(user: Person, gates: Gates, coding: str) -> None:
    gates.folder.joinpath("odd").write_bytes(whole("application/json", b"odd", f"content-encoding: {coding}"))
    is_openai_error(user.http.post(CHAT, json=chat_body("raw odd")), 502)
    conversation = user.conversation()
    assert user.await_turn(conversation, user.ask(conversation, "raw odd")) == "failed"
    assert "not known here" in user.messages(conversation)[-1][1]


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_request_may_be_encoded(user: Person, coding: str) -> None:
    plain = orjson.dumps(chat_body("echo"))
    encoded = gzip.compress(plain) if coding == "gzip" else zlib.compress(plain)
    answer = user.http.post(CHAT, content=encoded, headers={**JSON, "content-encoding": coding})
    assert answer.is_success, answer.text
    assert "content-encoding" not in {name.lower() for name, _ in answer.json()["headers"]}
    assert '"echo"' in answer.json()["body"]


@pytest.mark.parametrize("coding", ["zstd", "br", "gzip, gzip"])
def test_a_request_in_an_unknown_coding_is_told_so(user: Person, coding: str) -> None:
    headers = {**JSON, "content-encoding": coding}
    is_openai_error(user.http.post(CHAT, content=b"odd", headers=headers), 415)
    is_problem(user.http.post("/api/agents", content=b"odd", headers=headers), 415, "unsupported_encoding")


def test_a_request_that_is_not_encoded_as_it_says_is_told_so(user: Person) -> None:
    headers = {**JSON, "content-encoding": "gzip"}
    is_openai_error(user.http.post(CHAT, content=b"not gzip at all", headers=headers), 400)
    is_openai_error(user.http.post(CHAT, content=gzip.compress(b"{}" * 50)[:-5], headers=headers), 400)


def test_the_server_met_all_this_without_an_error_of_its_own(server: Server) -> None:
    assert faults(server) == []
    assert abandoned_generators(server) == []
