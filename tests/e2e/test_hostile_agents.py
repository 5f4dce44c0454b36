"""Agents that mean harm: to their user's browser, to the router, to other users."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.harness.contract import is_openai_error, is_problem, operations
from tests.harness.faults import faults
from tests.harness.keys import environment
from tests.harness.person import Person, chat_body
from tests.harness.ports import AGENTS_HOST
from tests.harness.processes import resident_bytes
from tests.harness.scripted import Gates
from tests.harness.server import Server
from tests.harness.tokens import bearer, new_token
from tests.harness.waiting import eventually

CHAT = "/v1/chat/completions"
MOST_BUFFERED = 32 * 1024 * 1024
SANDBOX = "sandbox; default-src 'none'"


@pytest.fixture(scope="module")
def warm(server: Server) -> Iterator[Person]:
    """Return another user, whose agent is warm."""
    with Person(server, "warm") as person:
        person.pid()
        yield person


@pytest.fixture(autouse=True)
def neighbour(warm: Person) -> Iterator[Person]:
    """Return that user, whose agent is the same afterwards, and answers."""
    pid = warm.pid()
    yield warm
    assert warm.pid() == pid
    assert warm.chat("say unharmed", stream=True).text.endswith("data: [DONE]\n\n")


def key_of(user: Person) -> tuple[str, str]:
    """Return the id and the key of a user's agent, as the agent itself knows them."""
    user.pid()
    (runner,) = user.runners()
    return runner["agent_id"], environment(user.server, runner["host_port"])["AGENT_STACK_RUNNER_API_KEY"]


# -- to the browser ---------------------------------------------------------------------------------------


def test_a_page_that_an_agent_sends_can_run_nothing(user: Person) -> None:
    answer = user.chat("html")
    assert answer.headers["content-type"] == "text/html"
    assert "<script>" in answer.text
    assert answer.headers.get_list("content-security-policy") == [SANDBOX]
    assert answer.headers.get_list("x-content-type-options") == ["nosniff"]
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    # As a link in a chat would, with the cookie alone.
    link = {"sec-fetch-site": "same-origin", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    by_address = user.http.get("/v1/page.html?model=scripted", headers=link)
    is_openai_error(by_address, 403, "cookie_alone")
    assert by_address.headers.get_list("content-security-policy") == [SANDBOX]


def test_a_page_for_an_answer_is_a_turn_that_failed_in_words(user: Person) -> None:
    conversation = user.conversation()
    assert user.await_turn(conversation, user.ask(conversation, "html")) == "failed"
    (_, (role, text)) = user.messages(conversation)
    assert role == "error"
    assert "<script>" not in text


@pytest.mark.parametrize(
    "header",
    [
        *(
            "location",
            "content-location",
            "www-authenticate",
            "link",
            "speculation-rules",
            "cache-control",
            "expires",
        ),
        *("permissions-policy", "cross-origin-opener-policy", "referrer-policy", "accept-ch", "x-whatever"),
    ],
)
def test_headers_that_say_nothing_of_an_answer_never_pass(user: Person, header: str) -> None:
    for stream in (False, True):
        headers = user.chat(f"header {header} evil", stream=stream).headers
        assert "evil" not in str(headers)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_tells_a_client_neither_our_address_nor_its_own(user: Person, gates: Gates, status: int) -> None:
    user.pid()
    (runner,) = user.runners()
    for to in (user.server.url, f"http://{AGENTS_HOST}:{runner['host_port']}", "/v1/models", "//evil.example"):
        gates.folder.joinpath("away").write_bytes(
            f"HTTP/1.1 {status} Away\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n".encode()
        )
        answer = user.chat("raw away")
        assert answer.status_code == status
        assert to not in str(answer.headers)


CREDENTIALS = [
    "api-key",
    "x-api-key",
    "x-goog-api-key",
    "proxy-authorization",
    "x-auth-token",
    "x-anything",
    "cookie",
    "x-request-id",
]


@pytest.mark.parametrize("header", CREDENTIALS)
def test_a_token_that_is_sent_twice_reaches_no_agent(user: Person, header: str) -> None:
    _, secret = new_token(user.http)
    program = user.server.client(headers=bearer(secret))
    for value in (secret, f"Bearer {secret}", f"a={secret}"):
        answer = program.post(f"{CHAT}?key={secret}&x=1", json=chat_body("echo"), headers={header: value})
        assert answer.is_success
        assert secret not in answer.text
        assert answer.json()["query"] == "x=1"
    by_cookie = user.http.post(
        CHAT, json=chat_body("echo"), headers={header: user.token} if header != "cookie" else {}
    )
    assert by_cookie.is_success
    assert user.token not in by_cookie.text


def test_a_token_in_the_path_or_in_a_second_header_reaches_no_agent(user: Person) -> None:
    _, secret = new_token(user.http)
    refused = user.http.get(f"/v1/files/{secret}?model=scripted", headers=bearer(secret))
    is_openai_error(refused, 400, "token_in_path")
    both = [("authorization", f"Bearer {user.token}"), ("authorization", f"Bearer {secret}"), ("x-a", user.token)]
    answer = user.server.client().post(CHAT, json=chat_body("echo"), headers=both)
    assert answer.is_success
    assert user.token not in answer.text
    assert secret not in answer.text


def test_an_agent_is_told_neither_its_own_address_nor_where_it_was_asked(user: Person) -> None:
    user.pid()
    (runner,) = user.runners()
    named = {
        "x-forwarded-host": "chat.example.org",
        "forwarded": "host=chat.example.org",
        "via": "chat.example.org",
    }
    seen = user.http.post(CHAT, json=chat_body("echo"), headers={**user.bearer, **named}).json()["headers"]
    assert [value for name, value in seen if name == "host"] == ["localhost"]
    for told in (AGENTS_HOST, str(runner["host_port"]), str(user.server.port), "chat.example.org"):
        assert told not in str(seen)


def test_an_agent_listens_where_no_page_of_ours_is(user: Person) -> None:
    user.pid()
    (runner,) = user.runners()
    assert httpx.get(f"http://{AGENTS_HOST}:{runner['host_port']}/health", trust_env=False).is_success
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{runner['host_port']}/health", trust_env=False)


@pytest.mark.parametrize("header", ["x-accel-redirect", "x-sendfile", "x-lighttpd-send-file", "x-accel-limit-rate"])
def test_headers_that_a_reverse_proxy_obeys_never_pass(user: Person, header: str) -> None:
    assert header not in user.chat(f"header {header} /etc/passwd").headers


@pytest.mark.parametrize("header", ["set-cookie", "content-security-policy", "x-content-type-options"])
def test_no_header_weakens_what_the_router_says(user: Person, header: str) -> None:
    headers = user.chat(f"header {header} agent_stack_session=stolen").headers
    assert headers.get_list("content-security-policy") == [SANDBOX]
    assert headers.get_list("x-content-type-options") == ["nosniff"]  # Of two, browsers would heed the first.
    assert "stolen" not in str(headers)
    assert user.http.get("/auth/me").is_success


def test_a_redirect_is_neither_followed_nor_given_the_credentials(user: Person, gates: Gates) -> None:
    gates.folder.joinpath("away").write_bytes(
        f"HTTP/1.1 307 Away\r\nlocation: {user.server.url}/api/agents\r\ncontent-length: 0\r\n\r\n".encode()
    )
    before = user.http.get("/api/agents").json()
    answer = user.chat("raw away")
    assert (answer.status_code, answer.content) == (307, b"")
    assert user.token not in str(answer.headers)
    conversation = user.conversation()
    assert user.await_turn(conversation, user.ask(conversation, "raw away")) == "failed"
    assert len(user.http.get("/api/agents").json()["agents"]) == max(1, len(before["agents"]))


# -- to the router ----------------------------------------------------------------------------------------

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
BROKEN = {
    "no http": b"SSH-2.0-OpenSSH_9.2\r\n",
    "nothing": b"",
    "half a head": HEAD,
    "a length below nothing": HEAD + b"content-length: -5\r\n\r\n{}",
    "a length of words": HEAD + b"content-length: five\r\n\r\n{}",
    "two lengths": HEAD + b"content-length: 2\r\ncontent-length: 7\r\n\r\n{}",
    "a status of words": b"HTTP/1.1 fine OK\r\ncontent-length: 2\r\n\r\n{}",
    "a head without end": b"HTTP/1.1 200 OK\r\n" + b"".join(b"x-%d: %s\r\n" % (n, b"y" * 900) for n in range(300)),
    "a header without end": b"HTTP/1.1 200 OK\r\nx: " + b"y" * 300_000,
    "a header with NUL": HEAD + b"x-nul: a\0b\r\ncontent-length: 2\r\n\r\n{}",
}
"""Answers of which nothing can be passed on."""
CUT = {
    "less than promised": HEAD + b"content-length: 1000\r\n\r\n{}",
    "a chunk that is cut": HEAD + b"transfer-encoding: chunked\r\n\r\nff\r\n{}",
    "a chunk of words": HEAD + b"transfer-encoding: chunked\r\n\r\nhello\r\n{}",
}
"""Answers that begin well."""


@pytest.mark.parametrize("name", BROKEN)
def test_an_answer_that_is_no_http_is_a_bad_gateway(user: Person, gates: Gates, name: str) -> None:
    gates.folder.joinpath("broken").write_bytes(BROKEN[name])
    for stream in (False, True):
        is_openai_error(user.chat("raw broken", stream=stream), 502)


@pytest.mark.parametrize("name", CUT)
def test_an_answer_that_is_cut_is_cut_for_the_client_too(user: Person, gates: Gates, name: str) -> None:
    gates.folder.joinpath("cut").write_bytes(CUT[name])
    with pytest.raises(httpx.RemoteProtocolError):
        user.chat("raw cut")


def test_turns_with_such_answers_fail_in_words(user: Person, gates: Gates) -> None:
    turns = {}
    for number, data in enumerate([*BROKEN.values(), *CUT.values()]):
        gates.folder.joinpath(f"turn{number}").write_bytes(data)
        conversation = user.conversation()
        turns[conversation] = user.ask(conversation, f"raw turn{number}")
    for conversation, turn in turns.items():
        assert user.await_turn(conversation, turn) == "failed"
        assert user.messages(conversation)[-1][0] == "error"


def test_more_than_promised_is_not_taken_for_the_next_answer(user: Person, gates: Gates) -> None:
    smuggled = b'HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{"evil": 1}'
    gates.folder.joinpath("more").write_bytes(HEAD + b"content-length: 2\r\n\r\n{}" + smuggled)
    for number in range(6):
        assert user.chat("raw_and_stay more" if number % 2 else "raw more").text == "{}"
        assert "evil" not in user.chat("say hello").text


def test_a_slow_drip_holds_up_nobody_and_ends_with_its_client(user: Person, warm: Person, gates: Gates) -> None:
    body = chat_body("drip slowly", stream=True)
    with user.http.stream("POST", CHAT, json=body, headers=user.bearer):
        eventually(lambda: int(gates.note("slowly") or 0) > 50, "it drips")
        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(lambda n: warm.chat(f"chunks {n}", stream=True).is_success, range(1, 9)))
        assert user.chat("say beside").is_success
    gates.await_gone("slowly")
    user.await_idle()


def test_an_endless_answer_in_one_piece_costs_the_router_no_memory(
    user: Person, warm: Person, gates: Gates
) -> None:
    user.pid()
    before = resident_bytes(user.server.pid)
    with user.http.stream("POST", CHAT, json=chat_body("flood endless"), headers=user.bearer) as answer:
        taken = 0
        for data in answer.iter_raw():
            taken += len(data)
            if taken > 3 * MOST_BUFFERED:
                break
        assert warm.chat("say meanwhile").is_success
    assert gates.note("endless")
    assert resident_bytes(user.server.pid) - before < MOST_BUFFERED
    user.await_idle()


def test_a_huge_line_of_a_stream_costs_the_router_no_memory(user: Person) -> None:
    user.pid()
    before = resident_bytes(user.server.pid)
    with user.http.stream("POST", CHAT, json=chat_body("line 100", stream=True), headers=user.bearer) as answer:
        assert sum(len(data) for data in answer.iter_raw()) == len(b"data: ") + 100_000_000
    assert resident_bytes(user.server.pid) - before < MOST_BUFFERED


def test_a_huge_line_of_a_turn_costs_the_router_no_memory(user: Person) -> None:
    user.pid()
    before = resident_bytes(user.server.pid)
    conversation = user.conversation()
    assert user.await_turn(conversation, user.ask(conversation, "line 100")) == "failed"
    assert resident_bytes(user.server.pid) - before < MOST_BUFFERED


# -- to other users ---------------------------------------------------------------------------------------


def test_an_agents_key_opens_no_route_but_its_own(user: Person, warm: Person) -> None:
    agent_id, key = key_of(user)
    theirs, _ = key_of(warm)
    client = user.server.client(headers=bearer(key))
    for operation in operations(user.server):
        if operation.public:
            continue
        if operation.path.startswith("/api/internal/"):
            for other in (theirs, "none"):
                path = operation.path.replace("{agent_id}", other)
                assert client.post(path, json=operation.body).status_code in {403, 404}
            path = operation.path.replace("{agent_id}", agent_id)
            is_problem(client.post(path, json=operation.body), 409, "no_conversation")
        else:
            is_problem(operation.call(client), 401)
    for method, path in (("GET", "/v1/models"), ("POST", CHAT), ("POST", "/v1/responses"), ("DELETE", "/v1/x")):
        is_openai_error(client.request(method, path, json=chat_body("say hello")), 401)
    as_cookie = user.server.client(cookies={"agent_stack_session": key})
    is_problem(as_cookie.get("/auth/me"), 401)


def test_an_agents_key_is_void_once_the_agent_has_ended(user: Person) -> None:
    agent_id, key = key_of(user)
    conversation = user.conversation()
    client = user.server.client(headers=bearer(key))

    def say() -> httpx.Response:
        return client.post(f"/api/internal/agents/{agent_id}/event", json={"content": "Good news."})

    assert say().is_success
    user.http.delete("/api/runners/scripted")
    is_problem(say(), 404)
    user.pid()
    is_problem(say(), 403, "wrong_key")
    assert user.messages(conversation) == [("assistant", "Good news.")]
    is_openai_error(client.get("/v1/models"), 401)


def test_what_an_agent_posts_is_shown_as_its_own_and_to_its_user_only(user: Person, warm: Person) -> None:
    agent_id, key = key_of(user)
    conversation, theirs = user.conversation(), warm.conversation()
    client = user.server.client(headers=bearer(key))
    path = f"/api/internal/agents/{agent_id}/event"
    for target in (theirs, f"../{theirs}", ""):
        answer = client.post(path, json={"content": "phishing", "conversation_id": target})
        is_problem(answer, 404)
    for kind in ("turn_finished", "turn_delta", "hello", "runner_status", "conversation_deleted"):
        client.post(path, json={"content": "x", "kind": kind, "conversation_id": conversation})
    assert user.messages(conversation) == []
    assert warm.messages(theirs) == []


def test_the_server_met_all_this_without_an_error_of_its_own(server: Server) -> None:
    assert faults(server) == []
