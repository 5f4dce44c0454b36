"""Amounts that are meant to hold up everybody: whatever an agent or a member sends, others hardly notice.

Each is sent while another asks for /healthz. What took seconds, and gigabytes, is refused or taken bit by bit.
"""

import gzip
import select
import socket
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest

from tests.agents.chunks import DONE, chunk
from tests.harness.beside import NOTICED, Beside
from tests.harness.contract import is_openai_error, is_problem
from tests.harness.faults import abandoned_generators, faults
from tests.harness.keys import environment
from tests.harness.person import Person, chat_body
from tests.harness.raw_answers import EVENTS, chunked, whole, zipped
from tests.harness.scripted import Gates, scripted_backend
from tests.harness.server import Server
from tests.harness.sockets import connect, head, read_until
from tests.harness.tokens import bearer
from tests.harness.waiting import eventually

MIB = 1 << 20
MEMORY = 64 * MIB
JSON = {"Content-Type": "application/json"}
CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, gates: Gates) -> Iterator[Server]:
    """Return a server with the limits that it comes with, but for how often an agent may post."""
    changing = scripted_backend(gates, name="changing", session={"place": "body", "name": "session_id"})
    env = {"AGENT_POSTS_PER_MINUTE": "0"}
    folder = tmp_path_factory.mktemp("server")
    with Server(folder, backends=[scripted_backend(gates), changing], env=env) as running:
        yield running


@pytest.fixture(scope="module")
def user(server: Server) -> Iterator[Person]:
    """Return a user whose agent is warm."""
    with Person(server) as person:
        person.pid()
        yield person


X = b"x" * MIB
DEEP = b"[" * 1000 + b"]" * 1000
ANSWERS: dict[str, tuple[Callable[[], bytes], str]] = {
    "100 MiB of JSON": (lambda: whole("application/json", b'{"a": "' + 100 * X + b'"}'), "larger than 8 MiB"),
    "200 MiB of JSON, zipped": (
        lambda: zipped("application/json", b'{"a": "', *[X] * 200, b'"}'),
        "larger than 8 MiB",
    ),
    "7 MiB of lists": (
        lambda: whole("application/json", b"[" + b"[]," * (7 * MIB // 3)),
        "more than 100000 values",
    ),
    "7 MiB of escapes": (
        lambda: whole("application/json", b'{"choices": "' + b"\\n" * (7 * MIB // 2) + b'"}'),
        "not a chat completion",
    ),
    "an error of 100 MiB": (
        lambda: whole("text/plain", 100 * X).replace(b"200 OK", b"500 No", 1),
        "status 500",
    ),
    "an error of 200 MiB, zipped": (
        lambda: zipped("text/plain", *[X] * 200).replace(b"200 OK", b"500 No", 1),
        "status 500",
    ),
    "20 MiB of line ends, zipped": (lambda: zipped(EVENTS, b"\n" * MIB, *[b"\n" * MIB] * 19), "broke off"),
    "200 MiB of one line, zipped": (lambda: zipped(EVENTS, b"data: ", *[X] * 200), "without an end"),
    "a long line, byte by byte": (
        lambda: chunked(EVENTS, b"data: " + b"x" * 900_000, *[b"x"] * 50_000),
        "broke off",
    ),
    "lines of a byte": (lambda: whole(EVENTS, b"x\n" * (4 * MIB)), "broke off"),
    "a line of lists": (lambda: whole(EVENTS, b"data: [" + b"[]," * 300_000 + b"\n\n"), "more than 100000 values"),
    "100,000 times 100 Continue": (
        lambda: b"HTTP/1.1 100\r\n\r\n" * 100_000 + whole(EVENTS, chunk("word") + DONE),
        "",
    ),
    "thousands of headers": (lambda: b"HTTP/1.1 200 OK\r\n" + b"a:\r\n" * 24_000 + b"\r\n", "broke"),
    "a reason that is nested deeply": (
        lambda: whole(
            "application/json", b'{"choices":[{"message":{"content":"x"},"finish_reason":' + DEEP + b"}]}"
        ),
        "",
    ),
    "an error that is nested deeply": (
        lambda: whole("application/json", b'{"error": ' + DEEP + b"}"),
        "too deeply",
    ),
    "many short words": (lambda: whole(EVENTS, chunk("x") * 20_000 + DONE), ""),
}
"""Answers to turns, and the words with which they end."""


@pytest.mark.parametrize("name", ANSWERS)
def test_a_turn_whatever_amounts_its_agent_answers_holds_up_nobody(
    server: Server, user: Person, gates: Gates, name: str
) -> None:
    make, words = ANSWERS[name]
    gates.folder.joinpath("amount").write_bytes(make())
    conversation = user.conversation()
    with Beside(server) as beside:
        ended = user.await_turn(conversation, user.ask(conversation, "raw amount"), 60)
    assert ended == ("failed" if words else "finished")
    assert words in user.messages(conversation)[-1][1]
    assert (beside.unanswered, beside.memory < MEMORY) == (0, True), beside.memory
    assert beside.waits < NOTICED


PASSED: dict[str, Callable[[], bytes]] = {
    "byte by byte": lambda: chunked(EVENTS, *[b"x"] * 100_000),
    "line by line": lambda: chunked(EVENTS, *[b"\n\n"] * 50_000),
    "100,000 times 100 Continue": lambda: b"HTTP/1.1 100\r\n\r\n" * 100_000 + whole("text/plain", b"x" * 100_000),
    "200 MiB, zipped": lambda: zipped("application/json", *[X] * 200),
    "200 MiB of events, zipped": lambda: zipped(EVENTS, *[X] * 200),
}


@pytest.mark.parametrize("name", PASSED)
def test_what_is_passed_on_holds_up_nobody(server: Server, user: Person, gates: Gates, name: str) -> None:
    gates.folder.joinpath("amount").write_bytes(PASSED[name]())
    with Beside(server) as beside, user.http.stream("POST", CHAT, json=chat_body("raw amount")) as answer:
        taken = sum(map(len, answer.iter_raw()))
    assert taken in {100_000, 200 * MIB}
    assert beside.memory < MEMORY
    assert beside.waits < NOTICED


LIMIT = 12 * MIB
BODIES: dict[str, tuple[Callable[[int], bytes], int]] = {
    "lists": (lambda size: b"[" + b"[]," * (size // 3) + b"[]]", 400),
    "numbers": (lambda size: b"[" + b"1," * (size // 2) + b"1]", 400),
    "texts": (lambda size: b"[" + b'"",' * (size // 3) + b'""]', 400),
    "objects": (lambda size: b'{"a":' * (size // 6) + b"1" + b"}" * (size // 6), 400),
    "open lists": (lambda size: b"[" * size, 400),
    "escapes": (lambda size: b'"' + b"\\n" * (size // 2) + b'"', 200),
    "escaped characters": (lambda size: b'"' + b"\\u4e2d" * (size // 6) + b'"', 200),
    "commas in a text": (lambda size: b'"' + b",\\n" * (size // 3) + b'"', 200),
    "a text": (lambda size: b'"' + b"x" * size + b'"', 200),
    "blanks": (lambda size: b"1" + b" " * size, 200),
}


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("model", ["scripted", "changing"])
def test_the_largest_body_of_whatever_kind_holds_up_nobody(
    server: Server, user: Person, model: str, name: str
) -> None:
    make, expected = BODIES[name]
    asked = f'{{"model": "{model}", "messages": [{{"role": "user", "content": "say hello"}}], "x": '.encode()
    body = asked + make(LIMIT - 200) + b"}"
    user.pid(model)
    with Beside(server) as beside:
        answer = user.http.post(CHAT, content=body, headers=JSON)
    assert answer.status_code == expected, answer.text[:200]
    assert beside.memory < 3 * MEMORY
    assert beside.waits < NOTICED
    is_openai_error(user.http.post(CHAT, content=body + b" " * 200, headers=JSON), 413)


@pytest.mark.parametrize("name", BODIES)
def test_the_largest_message_of_whatever_kind_holds_up_nobody(server: Server, user: Person, name: str) -> None:
    path = f"/api/conversations/{user.conversation()}/messages"
    body = b'{"role": "user", "content": ' + BODIES[name][0](6 * MIB - 200) + b"}"
    with Beside(server) as beside:
        assert user.http.post(path, content=body, headers=JSON).status_code in {200, 422}
    assert beside.memory < MEMORY
    assert beside.waits < NOTICED
    is_problem(user.http.post(path, content=body + b" " * MIB, headers=JSON), 413)


def test_bodies_that_never_end_take_no_more_than_their_users_share(server: Server, user: Person) -> None:
    with Beside(server) as beside, Person(server) as greedy, ExitStack() as held:
        half = b'{"model": "scripted", "x": "' + b"x" * (11 * MIB)
        connections = []
        for _ in range(10):
            connections.append(held.enter_context(connect(server)))
            lines = (f"Authorization: Bearer {greedy.token}", "Transfer-Encoding: chunked")
            connections[-1].sendall(head(server, f"POST {CHAT} HTTP/1.1", *lines))
            with suppress(ConnectionError):  # It is refused in the middle.
                connections[-1].sendall(b"%x\r\n" % len(half) + half)

        def without_room() -> list[socket.socket]:
            answered = select.select(connections, [], [], 1)[0]
            return answered if len(answered) >= 5 else []

        refused = eventually(without_room, "there is no room for all")
        assert read_until(refused[0], b"\r\n").startswith(b"HTTP/1.1 429")
        assert user.chat("say hello").is_success, "another's requests are taken"
    assert beside.memory < 200 * MIB
    assert beside.waits < NOTICED


def _form(fields: Iterable[tuple[str, bytes]]) -> tuple[bytes, dict[str, str]]:
    parts = [b"--b\r\n" + head.encode() + b"\r\n\r\n" + content + b"\r\n" for head, content in fields]
    return b"".join(parts) + b"--b--\r\n", {"Content-Type": "multipart/form-data; boundary=b"}


MODEL = 'Content-Disposition: form-data; name="model"'
FORMS: dict[str, tuple[Callable[[], list[tuple[str, bytes]]], int]] = {
    "parts with thousands of parameters": (
        lambda: [("Content-Disposition: form-data" + "; a=b" * 390, b"x")] * 98 + [(MODEL, b"scripted")],
        200,
    ),
    "a model of 30 MiB": (lambda: [(MODEL, b"\xff" * (30 * MIB))], 404),
    "a file of 30 MiB": (lambda: [("Content-Disposition: form-data; name=f", 30 * X), (MODEL, b"scripted")], 200),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_form_of_whatever_kind_holds_up_nobody(server: Server, user: Person, name: str) -> None:
    make, expected = FORMS[name]
    body, headers = _form(make())
    with Beside(server) as beside:
        answer = user.http.post("/v1/files", content=body, headers=headers)
    assert answer.status_code == expected, answer.text[:200]
    assert beside.memory < 4 * MEMORY
    assert beside.waits < NOTICED


def test_a_body_of_pieces_that_stand_for_nothing_has_an_end(server: Server, user: Person) -> None:
    nothing = gzip.compress(b"") * (13 * MIB // 20)
    with Beside(server) as beside:
        answer = user.http.post(CHAT, content=iter([nothing]), headers={**JSON, "content-encoding": "gzip"})
    is_openai_error(answer, 413)
    assert beside.waits < NOTICED


@pytest.mark.parametrize("path", ["/auth/login", "/v1/chat/completions", "/nowhere", "/api/agents"])
def test_a_stranger_who_sends_bytes_one_by_one_holds_up_nobody(server: Server, path: str) -> None:
    drops = b"1\r\nx\r\n" * 50_000
    with Beside(server) as beside:
        for _ in range(3):
            with connect(server) as connection, suppress(ConnectionError):
                connection.sendall(head(server, f"POST {path} HTTP/1.1", "Transfer-Encoding: chunked") + drops)
                read_until(connection, b"\r\n\r\n")
    assert beside.waits < NOTICED


# -- what agents say by themselves ------------------------------------------------------------------------


def _agent_posts(user: Person) -> Callable[..., httpx.Response]:
    user.pid()
    (runner,) = [r for r in user.runners() if r["backend"] == "scripted"]
    key = environment(user.server, runner["host_port"])["AGENT_STACK_RUNNER_API_KEY"]
    client = user.server.client(headers=bearer(key))
    path = f"/api/internal/agents/{runner['agent_id']}/event"
    return lambda **body: client.post(path, json=body)


def test_announcements_without_end_take_no_memory(server: Server, user: Person) -> None:
    post, conversation = _agent_posts(user), user.conversation()
    with Beside(server) as beside:
        for _ in range(100):
            said = post(
                content="x" * 900_000, payload={"a": "x" * 200_000}, persist=False, conversation_id=conversation
            )
            assert said.is_success
    assert beside.memory < MEMORY
    assert beside.waits < NOTICED


def test_what_an_agent_has_kept_in_a_minute_is_bounded(tmp_path: Path, gates: Gates) -> None:
    env = {"TEXT_MIB_PER_MINUTE": "2"}
    with Server(tmp_path, backends=[scripted_backend(gates)], env=env) as server, Person(server) as user:
        post, conversation = _agent_posts(user), user.conversation()
        path = f"/api/conversations/{conversation}/messages"
        with Beside(server) as beside:
            codes = [post(content="x" * 900_000, conversation_id=conversation).status_code for _ in range(20)]
        assert codes[:2] == [200, 200]
        assert codes.count(429) >= 10, "it takes half a minute until there is room for another"
        assert beside.waits < NOTICED
        is_problem(user.http.post(path, json={"role": "user", "content": "x" * 1_000_000}), 429, "too_much_text")


def test_an_agent_posts_so_often_in_a_minute(tmp_path: Path, gates: Gates) -> None:
    env = {"AGENT_POSTS_PER_MINUTE": "5"}
    with Server(tmp_path, backends=[scripted_backend(gates)], env=env) as server, Person(server) as user:
        post, conversation = _agent_posts(user), user.conversation()
        for _ in range(5):
            assert post(content="x", persist=False, conversation_id=conversation).is_success
        refused = post(content="x", conversation_id=conversation)
        is_problem(refused, 429, "too_many_posts")
        assert int(refused.headers["retry-after"]) > 0


# -- what members write -----------------------------------------------------------------------------------


def test_long_messages_are_searched_and_read_while_others_wait_for_nothing(tmp_path: Path, gates: Gates) -> None:
    env = {"TEXT_MIB_PER_MINUTE": "0"}
    with Server(tmp_path, backends=[scripted_backend(gates)], env=env) as server, Person(server) as user:
        conversation = ""
        for number in range(16):
            conversation = conversation if number % 8 else user.conversation()
            path = f"/api/conversations/{conversation}/messages"
            content = f"needle{number} " + "straw " * 166_000
            assert user.http.post(path, json={"role": "user", "content": content}).is_success
        is_problem(user.http.post(path, json={"role": "user", "content": content}), 409, "conversation_full")
        with Beside(server) as beside:
            found = user.http.get("/api/search", params={"q": "needle7 STRAW"}).json()["results"]
            read = user.http.get(f"/api/conversations/{conversation}").json()
            kept = user.http.get(f"/api/conversations/{conversation}/export?format=json").json()
            everything = user.http.get("/api/me/export").json()
        assert [part["text"] for part in found[0]["excerpt"] if part["hit"]][:2] == ["needle7", "straw"]
        assert len(found) == 1
        assert len(read["messages"]) == len(kept["messages"]) == 8
        assert sum(len(c["messages"]) for c in everything["conversations"]) == 16
        assert beside.memory < 3 * MEMORY
        assert beside.waits < NOTICED


def test_one_long_message_to_many_streams_holds_up_nobody(server: Server) -> None:
    with Person(server) as user, ExitStack() as held:
        path = f"/api/conversations/{user.conversation()}"
        streams = [held.enter_context(user.again().stream("GET", f"{path}/stream")) for _ in range(30)]
        with Beside(server) as beside:
            said = {"role": "user", "content": "\N{PILE OF POO}" * 900_000}
            assert user.http.post(f"{path}/messages", json=said).is_success
            with ThreadPoolExecutor(len(streams)) as pool:
                assert all(pool.map(_tells_of_a_message, streams))
    assert beside.memory < 4 * MEMORY
    assert beside.waits < 2 * NOTICED


def _tells_of_a_message(stream: httpx.Response) -> bool:
    return any('"kind":"message"' in line for line in stream.iter_lines())


def test_many_who_read_a_long_conversation_at_once_hold_up_nobody(tmp_path: Path, gates: Gates) -> None:
    env = {"TEXT_MIB_PER_MINUTE": "0"}
    with Server(tmp_path, backends=[scripted_backend(gates)], env=env) as server, Person(server) as user:
        conversation = user.conversation()
        path = f"/api/conversations/{conversation}"
        for _ in range(8):
            said = {"role": "user", "content": "\N{PILE OF POO}" * 900_000}
            assert user.http.post(f"{path}/messages", json=said).is_success
        server.kill()
        server.start()
        with Beside(server) as beside, ExitStack() as held:
            readers = []
            for _ in range(60):
                readers.append(held.enter_context(connect(server)))
                readers[-1].sendall(head(server, f"GET {path} HTTP/1.1", f"Authorization: Bearer {user.token}"))
            assert read_until(readers[0], b"\r\n").startswith(b"HTTP/1.1 200")
            for reader in readers:
                reader.close()
            assert len(user.messages(conversation)) == 8
    assert beside.memory < 6 * MEMORY
    assert beside.waits < 2 * NOTICED


def test_asking_again_and_again_is_counted_as_what_it_writes(tmp_path: Path, gates: Gates) -> None:
    env = {"TEXT_MIB_PER_MINUTE": "1"}
    with Server(tmp_path, backends=[scripted_backend(gates)], env=env) as server, Person(server) as user:
        conversation = user.conversation()
        turn = user.ask(conversation, "flood long")
        assert user.await_turn(conversation, turn) == "finished"
        refused = user.act(conversation, turn, "regenerate")
        is_problem(refused, 429, "too_much_text")
        assert 120 < int(refused.headers["retry-after"]) < 240


def test_a_million_characters_may_be_sent_as_escapes(user: Person) -> None:
    path = f"/api/conversations/{user.conversation()}/messages"
    body = b'{"role": "user", "content": "' + b"\\u4e2d" * 1_000_000 + b'"}'
    assert user.http.post(path, content=body, headers=JSON).is_success


def test_a_request_that_stands_for_too_much_is_refused(server: Server, user: Person) -> None:
    bomb = gzip.compress(b'{"model": "scripted", "x": "' + 200 * X + b'"}')
    with Beside(server) as beside:
        answer = user.http.post(CHAT, content=bomb, headers={**JSON, "content-encoding": "gzip"})
    is_openai_error(answer, 413)
    assert beside.memory < MEMORY
    assert beside.waits < NOTICED


def test_the_server_met_all_this_without_an_error_of_its_own(server: Server) -> None:
    assert faults(server) == []
    assert abandoned_generators(server) == []
