"""The real `openai` package for Python as a client."""

import json

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletionChunk

from tests.agents.chunks import USAGE
from tests.harness.person import Person, chat_body
from tests.harness.server import Server


def _ask(user: Person, text: str) -> str:
    answer = user.openai.chat.completions.create(model="scripted", messages=[{"role": "user", "content": text}])
    return answer.choices[0].message.content or ""


def _stream(user: Person, text: str, **more: object) -> openai.Stream[ChatCompletionChunk]:
    return user.openai.chat.completions.create(  # type: ignore[call-overload,no-any-return] # extra options
        model="scripted", messages=[{"role": "user", "content": text}], stream=True, **more
    )


def _text(chunks: openai.Stream[ChatCompletionChunk]) -> str:
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


def test_models_are_listed_without_starting_a_runner(user: Person) -> None:
    models = list(user.openai.models.list())
    assert [(m.id, m.owned_by) for m in models] == [("scripted", "agent-stack")]
    assert user.runners() == []


def test_one_model_is_retrieved_by_its_id(user: Person) -> None:
    assert user.openai.models.retrieve("scripted").id == "scripted"


def test_an_unknown_model_is_not_found(user: Person) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        user.openai.models.retrieve("unheard-of")
    assert refused.value.code == "model_not_found"


def test_chatting_with_an_unknown_model_is_not_found(user: Person) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        user.openai.chat.completions.create(model="unheard-of", messages=[{"role": "user", "content": "hi"}])
    assert refused.value.code == "model_not_found"
    assert refused.value.param == "model"


def test_a_chat_is_answered(user: Person) -> None:
    assert _ask(user, "say hello there") == "hello there "


def test_a_model_below_a_backend_leads_to_that_backend(user: Person) -> None:
    answer = user.openai.chat.completions.create(
        model="scripted/anything", messages=[{"role": "user", "content": "say yes"}]
    )
    assert answer.choices[0].message.content == "yes "


def test_a_stream_brings_every_chunk(user: Person) -> None:
    assert _text(_stream(user, "chunks 200")) == "".join(f"{n} " for n in range(200))


def test_a_stream_tells_its_usage_when_asked_to(user: Person) -> None:
    *_, last = _stream(user, "say hello", stream_options={"include_usage": True})
    assert last.usage is not None
    assert last.usage.total_tokens == USAGE["total_tokens"]


def test_a_stream_without_usage_has_none(user: Person) -> None:
    assert all(c.usage is None for c in _stream(user, "say hello"))


def test_a_wrong_key_is_an_authentication_error(user: Person) -> None:
    with user.openai.with_options(api_key="wrong") as stranger, pytest.raises(openai.AuthenticationError):
        stranger.models.list()


@pytest.mark.parametrize(
    "body", [b"{not json", b"[]", b'"text"', b'{"messages": []}', b'{"model": 7, "messages": []}', b"\xff\xfe"]
)
def test_a_malformed_body_is_a_bad_request(user: Person, body: bytes) -> None:
    answer = user.http.post(
        "/v1/chat/completions", content=body, headers={**user.bearer, "content-type": "application/json"}
    )
    assert answer.status_code == 400
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_a_request_without_a_model_is_a_bad_request(user: Person) -> None:
    with pytest.raises(openai.BadRequestError):
        user.openai.post("/chat/completions", body={"messages": []}, cast_to=object)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (409, openai.ConflictError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
def test_an_agents_refusal_passes_with_its_status_and_words(
    user: Person, status: int, error: type[openai.APIStatusError]
) -> None:
    with pytest.raises(error, match=f"scripted {status}") as refused:
        _ask(user, f"status {status}")
    assert refused.value.status_code == status


@pytest.mark.parametrize("text", ["cut_between", "error_frame"])
def test_a_stream_that_fails_in_the_middle_raises_an_api_error(user: Person, text: str) -> None:
    got: list[str] = []
    with pytest.raises(openai.APIError):
        got.extend(c.choices[0].delta.content or "" for c in _stream(user, text))
    assert got == ["one ", "two "]


def test_a_stream_that_stops_within_a_frame_raises_an_api_error(user: Person) -> None:
    got: list[str] = []
    with pytest.raises(openai.APIError):
        got.extend(c.choices[0].delta.content or "" for c in _stream(user, "cut"))
    assert got == ["one ", "two "]


def test_a_body_over_the_limit_is_refused(user: Person) -> None:
    with pytest.raises(openai.APIStatusError) as refused:
        _ask(user, "x" * 2_000_000)
    assert refused.value.status_code == 413
    assert "1 MiB" in refused.value.message


def test_a_body_over_the_limit_without_a_length_is_refused(user: Person) -> None:
    def parts() -> object:
        for _ in range(40):
            yield b"x" * 50_000

    answer = user.http.post("/v1/chat/completions", content=parts(), headers=user.bearer)  # type: ignore[arg-type]
    assert answer.status_code == 413


def test_embeddings_reach_an_agent_that_has_them(user: Person) -> None:
    seen = user.openai.post("/embeddings", body={"model": "scripted", "input": "text"}, cast_to=httpx.Response)
    assert seen.json()["path"] == "/v1/embeddings"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_any_other_path_passes_byte_for_byte(user: Person, method: str) -> None:
    body = b'{ "model" : "scripted",\t"b":1,  "a":"\xc3\xa9\\u00e9", "n":1.0 }\n'
    answer = user.http.request(
        method, "/v1/some/p%2Fath%20x?q=a%20b&q=+&z=", content=body, headers={**user.bearer, "x-mine": "kept"}
    )
    assert answer.is_success, answer.text
    seen = answer.json()
    assert seen["body"].encode("latin-1") == body
    assert (seen["method"], seen["path"], seen["query"]) == (method, "/v1/some/p%2Fath%20x", "q=a%20b&q=+&z=")
    assert dict(seen["headers"])["x-mine"] == "kept"


def test_a_request_without_a_body_names_its_model_in_the_query(user: Person) -> None:
    answer = user.http.get("/v1/files?model=scripted&limit=2", headers=user.bearer)
    assert answer.json()["query"] == "model=scripted&limit=2"


def test_a_multipart_body_passes_byte_for_byte(user: Person) -> None:
    request = user.http.build_request(
        "POST",
        "/v1/audio/transcriptions",
        data={"model": "scripted"},
        files={"file": ("a.wav", bytes(range(256)), "audio/wav")},
        headers=user.bearer,
    )
    sent = request.read()
    assert user.http.send(request).json()["body"].encode("latin-1") == sent


def test_a_chat_body_passes_byte_for_byte_when_nothing_is_declared(user: Person) -> None:
    body = b'{"messages":[{"role":"user","content":"echo"}] , "model":"scripted", "x":[1.50]}'
    answer = user.http.post("/v1/chat/completions", content=body, headers=user.bearer)
    assert answer.json()["body"].encode("latin-1") == body


def test_private_headers_never_reach_an_agent(user: Person) -> None:
    headers = {
        **user.bearer,
        "origin": user.server.url,
        "referer": f"{user.server.url}/#/secret",
        "cookie": "a=b",
        "sec-fetch-site": "same-origin",
        "sec-fetch-mode": "cors",
        "proxy-authorization": "Basic x",
        "connection": "keep-alive, x-hop",
        "x-hop": "named by connection",
        "te": "trailers",
    }
    seen = user.http.post("/v1/chat/completions", json=chat_body("echo"), headers=headers).json()["headers"]
    names = [name for name, _ in seen]
    private = {"origin", "referer", "cookie", "proxy-authorization", "connection", "x-hop", "te"}
    assert not private & set(names)
    assert not [n for n in names if n.startswith("sec-fetch-")]
    assert user.token not in json.dumps(seen)
    assert names.count("authorization") == 1
    assert names.count("host") == 1
    assert names.count("content-length") == 1


def test_an_agent_gets_one_request_id(user: Person) -> None:
    headers = {**user.bearer, "x-request-id": "mine"}
    seen = user.http.post("/v1/chat/completions", json=chat_body("echo"), headers=headers).json()["headers"]
    assert [value for name, value in seen if name == "x-request-id"] == ["mine"]


def test_hostile_headers_never_reach_a_client(user: Person) -> None:
    answer = user.chat("hostile")
    headers = answer.headers
    assert headers["x-ratelimit-limit-requests"] == "5"
    assert "x-kept" not in headers
    assert not [n for n in headers if n.startswith("access-control-")]
    forbidden = {"set-cookie", "x-secret", "keep-alive", "server", "content-security-policy-report-only"}
    assert not forbidden & set(headers)
    assert headers.get_list("content-security-policy") == ["sandbox; default-src 'none'"]
    assert headers["x-content-type-options"] == "nosniff"
    assert user.http.get("/auth/me").is_success, "the agent's cookie must not have replaced the session's"


@pytest.mark.parametrize(
    "header", ["clear-site-data", "service-worker-allowed", "strict-transport-security", "refresh", "alt-svc"]
)
def test_headers_that_act_on_the_whole_origin_never_reach_a_client(user: Person, header: str) -> None:
    assert header not in user.chat(f"header {header} x").headers


def test_a_redirect_is_not_followed_by_the_router(user: Person) -> None:
    answer = user.chat("redirect")
    assert answer.status_code == 307


def test_an_answer_in_one_piece_to_a_stream_request_passes(user: Person) -> None:
    answer = user.chat("whole", stream=True)
    assert answer.json()["choices"][0]["message"]["content"] == "in one piece"


def test_garbage_passes_as_it_is(user: Person) -> None:
    answer = user.chat("garbage html", stream=True)
    assert answer.text == "<html><body>Bad gateway</body></html>\n"


def test_a_user_member_leads_to_that_conversations_agent(user: Person) -> None:
    second = user.http.post("/api/agents", json={"backend": "scripted", "name": "other"}).json()["agent"]
    if second["ordinal"] == 1:
        second = user.http.post("/api/agents", json={"backend": "scripted", "name": "third"}).json()["agent"]
    opened = user.http.post("/api/conversations", json={"agent_id": second["id"]}).json()["conversation"]
    first = user.pid()
    other = user.chat("echo", user=f"agstack-{opened['id']}").json()["pid"]
    assert other != first
    assert {r["agent_id"] for r in user.runners()} > {second["id"]}


def test_another_users_conversation_leads_to_ones_own_agent(user: Person, server: Server) -> None:
    with Person(server, "other") as other:
        conversation = other.conversation()
        own = user.pid()
        assert user.chat("echo", user=f"agstack-{conversation}").json()["pid"] == own
        assert other.runners() == []
