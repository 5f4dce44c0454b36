"""Generated requests: whatever is sent, the mistake is the sender's, and the answers are as described."""

import json
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from tests.harness.contract import STREAMS, is_openai_error, new_email, operations
from tests.harness.server import Server

EXAMPLES = 12
LIMITS = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def client(server: Server) -> httpx.Client:
    client = server.sign_up(new_email())
    client.headers["authorization"] = f"Bearer {server.token(client)}"
    return client


@pytest.fixture(scope="module")
def things(client: httpx.Client) -> dict[str, str]:
    """Ids of what there is, so that not every generated path leads nowhere."""
    agent = client.post("/api/agents", json={"backend": "demo", "name": "fuzzed"}).json()["agent"]
    conversation = client.post("/api/conversations", json={"agent_id": agent["id"]}).json()["conversation"]
    return {"agent_id": agent["id"], "conversation_id": conversation["id"], "backend": "demo"}


def test_every_operation_answers_as_described_whatever_is_sent(
    server: Server, client: httpx.Client, things: dict[str, str]
) -> None:
    operations(server)
    schema = schemathesis.openapi.from_dict(client.get("/openapi.json").json())
    schema.config.update(base_url=server.url)
    headers = {"authorization": client.headers["authorization"]}
    tried = 0
    for result in schema.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()
        if operation.path.endswith(STREAMS) or operation.path == "/auth/logout":
            continue  # An endless answer; and the end of this session.
        tried += 1

        @LIMITS
        @given(case=operation.as_strategy(), known=st.booleans())
        def fuzz(case: Any, known: bool) -> None:
            if known and case.method != "DELETE":
                case.path_parameters = {n: things.get(n, v) for n, v in (case.path_parameters or {}).items()}
            response = case.call(headers=headers, timeout=30)
            case.validate_response(response, checks=CHECKS)

        fuzz()
    assert tried > 20


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
MESSAGE = st.fixed_dictionaries(
    {}, optional={"role": st.sampled_from(["user", "system", "x"]) | JSON, "content": JSON}
)
CHAT = st.fixed_dictionaries(
    {},
    optional={
        "model": st.sampled_from(["demo", "demo/x", "nope", ""]) | JSON,
        "messages": st.lists(MESSAGE, max_size=4) | JSON,
        "stream": st.booleans() | JSON,
        "stream_options": JSON,
        "user": st.sampled_from(["agstack-", "agstack-\x00", "agstack-01h"]) | JSON,
        "extra": JSON,
    },
)
BODIES = st.one_of(
    CHAT.map(json.dumps).map(str.encode), JSON.map(json.dumps).map(str.encode), st.binary(max_size=200)
)
TYPES = st.sampled_from(
    [
        "application/json",
        "",
        "multipart/form-data",
        "multipart/form-data; boundary=x",
        'multipart/form-data; boundary="',
        "multipart/form-data; boundary*=utf-8''%ff",
        "text/plain; charset=utf-16",
    ]
)


@settings(LIMITS, max_examples=250)
@given(body=BODIES, content_type=TYPES, path=st.sampled_from(["/chat/completions", "/responses", "/audio"]))
def test_any_body_below_v1_gets_an_answer_or_an_error_in_openais_shape(
    client: httpx.Client, body: bytes, content_type: str, path: str
) -> None:
    answer = client.post(f"/v1{path}", content=body, headers={"content-type": content_type})
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        is_openai_error(answer, answer.status_code)


@settings(LIMITS, max_examples=60)
@given(
    parts=st.lists(
        st.sampled_from(
            [
                b"--x",
                b"\r\n",
                b"--",
                b"content-disposition: form-data",
                b"; name=",
                b'"model"',
                b"demo",
                b"\xff",
                b":",
            ]
        ),
        max_size=14,
    )
)
def test_any_multipart_body_gets_an_answer_or_an_error_in_openais_shape(
    client: httpx.Client, parts: list[bytes]
) -> None:
    headers = {"content-type": "multipart/form-data; boundary=x"}
    answer = client.post("/v1/audio/transcriptions", content=b"".join(parts), headers=headers)
    assert 400 <= answer.status_code < 500, answer.text
    is_openai_error(answer, answer.status_code)


@settings(LIMITS, max_examples=60)
@given(
    name=st.sampled_from(["origin", "cookie", "authorization", "last-event-id", "x-request-id", "content-type"]),
    value=st.binary(max_size=40).filter(lambda b: all(c > 32 and c != 127 for c in b)),
)
def test_any_value_of_a_header_that_we_read_is_no_error_of_ours(
    client: httpx.Client, name: str, value: bytes
) -> None:
    for path in ("/api/agents", "/v1/chat/completions"):
        assert client.post(path, content=b"{}", headers=[(name.encode(), value)]).status_code < 500
