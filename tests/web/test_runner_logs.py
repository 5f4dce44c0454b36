"""/api/admin/runners/{id}/logs: what an agent has printed."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.conftest import FAST_DEMO
from tests.harness.contract import is_problem
from tests.harness.keys import environment
from tests.harness.person import Person
from tests.harness.server import Server
from tests.harness.sse import frames
from tests.harness.waiting import eventually

Json = dict[str, Any]
RUNNERS = "/api/admin/runners"
LINES = 300
PROGRAM = (
    "import os, runpy\n"
    f"for n in range({LINES}): print('line', n)\n"
    "print('my key is {key}', flush=True)\n"
    "print('my token is', os.environ.get('AGENT_STACK_RUNNER_API_KEY'), flush=True)\n"
    "runpy.run_module('images.demo', run_name='__main__')"
)
TALKATIVE = {**FAST_DEMO, "name": "talkative", "command": ["{python}", "-c", PROGRAM]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with an agent that prints a lot, its own key among it."""
    with Server(tmp_path_factory.mktemp("logs"), backends=[TALKATIVE]) as running:
        yield running


@pytest.fixture(scope="module")
def admin(server: Server) -> httpx.Client:
    return server.admin()


@pytest.fixture
def user(server: Server) -> Iterator[Person]:
    """A user whose agent is up."""
    with Person(server) as person:
        assert person.http.post("/api/runners/talkative/start").is_success
        yield person


def runner(admin: httpx.Client, user: Person) -> Json:
    """Return the user's runner as the admin sees it."""
    id_ = user.http.get("/auth/me").json()["user"]["id"]
    (found,) = [r for r in admin.get(RUNNERS).json()["runners"] if r["user_id"] == id_]
    return dict(found)


def url(admin: httpx.Client, user: Person) -> str:
    return f"{RUNNERS}/{runner(admin, user)['runner_id']}/logs"


def read(admin: httpx.Client, where: str, **query: Any) -> list[Json]:
    """Return all frames of a stream that ends by itself."""
    with admin.stream("GET", where, params=query) as stream:
        assert stream.status_code == 200
        assert stream.headers["content-type"] == "text/event-stream"
        return [data for _, data in frames(stream)]


def test_nobody_but_the_admin_reads_what_an_agent_printed(
    server: Server, admin: httpx.Client, user: Person
) -> None:
    where = url(admin, user)
    for path in (where, f"{RUNNERS}/none/logs"):
        is_problem(user.http.get(path), 403, "admin_only")
        is_problem(server.client().get(path), 401)


def test_the_last_lines_come_at_once_and_then_the_stream_ends(admin: httpx.Client, user: Person) -> None:
    lines, end = read(admin, url(admin, user))
    assert lines["kind"] == "lines"
    assert len(lines["payload"]["lines"]) == 200
    assert f"line {LINES - 1}" in lines["payload"]["lines"]
    assert end == {"kind": "end", "payload": {"running": True}}


@pytest.mark.parametrize("tail", [1, 7, 5000])
def test_as_many_lines_come_as_are_asked_for(admin: httpx.Client, user: Person, tail: int) -> None:
    whole = read(admin, url(admin, user), tail=5000)[0]["payload"]["lines"]
    assert [x for x in whole if x.startswith("line ")] == [f"line {n}" for n in range(LINES)]
    assert read(admin, url(admin, user), tail=tail)[0]["payload"]["lines"] == whole[-tail:]


def test_a_key_that_an_agent_prints_is_blotted_out(server: Server, admin: httpx.Client, user: Person) -> None:
    key = environment(server, runner(admin, user)["host_port"])["AGENT_STACK_RUNNER_API_KEY"]
    text = str(read(admin, url(admin, user), tail=5000))
    assert "my key is [" in text
    assert "my token is [" in text
    assert key not in text


def test_a_followed_log_ends_when_the_runner_is_stopped(admin: httpx.Client, user: Person) -> None:
    where = url(admin, user)
    with admin.stream("GET", where, params={"follow": "true", "tail": 5}) as stream:
        news = frames(stream)
        first = next(news)[1]
        assert (first["kind"], len(first["payload"]["lines"])) == ("lines", 5)
        assert user.http.delete("/api/runners/talkative").is_success
        *_, (_, last) = news
    assert last["kind"] in {"end", "error"}
    if last["kind"] == "end":
        assert last["payload"] == {"running": False}
    is_problem(admin.get(where), 404)


def test_a_followed_log_ends_when_the_admin_signs_out(server: Server, user: Person) -> None:
    admin = server.admin()
    with admin.stream("GET", url(admin, user), params={"follow": "true"}) as stream:
        news = frames(stream)
        assert next(news)[1]["kind"] == "lines"
        assert server.client(cookies=dict(admin.cookies)).post("/auth/logout").is_success
        assert [data["kind"] for _, data in news if data["kind"] != "lines"] == []


def test_a_reader_who_leaves_does_not_hold_the_runner_or_the_server(
    server: Server, admin: httpx.Client, user: Person
) -> None:
    with server.admin().stream("GET", url(admin, user), params={"follow": "1"}) as stream:
        assert next(frames(stream))[1]["kind"] == "lines"
    eventually(lambda: [r for r in user.runners() if r["stops_in_seconds"] is not None], "the runner is idle")


def test_a_runner_that_is_not_up_is_not_found(admin: httpx.Client) -> None:
    for id_ in ("none", "%00", "x" * 2000):
        is_problem(admin.get(f"{RUNNERS}/{id_}/logs"), 404)


@pytest.mark.parametrize("tail", ["0", "-1", "5001", "x", "1.5", "9" * 40, "²"])
def test_a_bad_number_of_lines_is_refused(admin: httpx.Client, user: Person, tail: str) -> None:
    is_problem(admin.get(url(admin, user), params={"tail": tail}), 400, "bad_query")
