"""The stream of a cold start."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.harness.backends import ALL
from tests.harness.contract import has_shape, is_problem, new_email
from tests.harness.server import Server
from tests.harness.sse import frames

FRAME = {"stage": str, "progress": int, "message": str, "detail": str}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with backends that work and backends that do not."""
    with Server(tmp_path_factory.mktemp("progress"), backends=ALL) as running:
        yield running


@pytest.fixture
def client(server: Server) -> httpx.Client:
    return server.sign_up(new_email())


def follow_a_start(server: Server, client: httpx.Client, backend: str) -> tuple[list[Any], httpx.Response]:
    """Open the stream, then start; return all frames up to the stream's own end, and the start's answer."""
    bearer = {"authorization": f"Bearer {server.token(client)}"}
    with ThreadPoolExecutor(1) as thread, client.stream("GET", f"/api/runners/{backend}/progress") as stream:
        assert stream.status_code == 200
        assert stream.headers["content-type"] == "text/event-stream"
        found = frames(stream)
        shown = [next(found)[1]]
        start = thread.submit(server.client().post, f"/api/runners/{backend}/start", headers=bearer)
        shown += [data for _, data in found]
        return shown, start.result()


def is_a_progress(shown: list[Any]) -> None:
    for frame in shown:
        has_shape(frame, FRAME)
        assert 0 <= frame["progress"] <= 100
    values = [frame["progress"] for frame in shown]
    assert values == sorted(values), "it went back"
    stages = [frame["stage"] for frame in shown]
    assert stages[0] == "snapshot"
    assert stages.count("snapshot") == 1
    assert [s for s in stages if s in {"ready", "error"}] == stages[-1:], "it ends with the first final stage"


def test_a_start_is_followed_from_the_snapshot_to_ready(server: Server, client: httpx.Client) -> None:
    shown, start = follow_a_start(server, client, "demo")
    assert start.status_code == 200
    is_a_progress(shown)
    assert (shown[0]["stage"], shown[0]["progress"]) == ("snapshot", 0)
    assert (shown[-1]["stage"], shown[-1]["progress"]) == ("ready", 100)
    assert len(shown) > 2


@pytest.mark.parametrize(("backend", "status"), [("missing", 502), ("dying", 502), ("mute", 504)])
def test_a_start_that_fails_ends_with_the_same_words_as_the_answer(
    server: Server, client: httpx.Client, backend: str, status: int
) -> None:
    shown, start = follow_a_start(server, client, backend)
    problem = is_problem(start, status)
    is_a_progress(shown)
    assert shown[-1]["stage"] == "error"
    assert shown[-1]["progress"] < 100
    assert shown[-1]["message"] == problem["detail"]


def test_while_the_runner_runs_the_snapshot_stands_at_a_hundred(client: httpx.Client) -> None:
    client.post("/api/runners/demo/start")
    with client.stream("GET", "/api/runners/demo/progress") as stream:
        _, first = next(frames(stream))
    assert (first["stage"], first["progress"]) == ("snapshot", 100)


def test_the_snapshot_stands_at_nought_again_after_a_stop_and_after_a_failure(client: httpx.Client) -> None:
    client.post("/api/runners/demo/start")
    client.delete("/api/runners/demo")
    client.post("/api/runners/dying/start")
    for backend in ("demo", "dying"):
        with client.stream("GET", f"/api/runners/{backend}/progress") as stream:
            _, first = next(frames(stream))
        assert (first["stage"], first["progress"]) == ("snapshot", 0)


def test_many_watchers_see_the_same_start(server: Server, client: httpx.Client) -> None:
    bearer = {"authorization": f"Bearer {server.token(client)}"}

    def watch() -> list[Any]:
        with server.client(headers=bearer).stream("GET", "/api/runners/demo/progress") as stream:
            return [data for _, data in frames(stream)]

    with ThreadPoolExecutor(5) as threads, client.stream("GET", "/api/runners/demo/progress") as mine:
        found = frames(mine)
        next(found)
        others = [threads.submit(watch) for _ in range(4)]
        assert client_start(server, bearer).status_code == 200
        assert list(found)[-1][1]["stage"] == "ready"
        # A watcher who came when all was over waits for the next start: give it one.
        client_stop(server, bearer)
        assert client_start(server, bearer).status_code == 200
        for other in others:
            is_a_progress(other.result())


def client_start(server: Server, bearer: dict[str, str]) -> httpx.Response:
    return server.client().post("/api/runners/demo/start", headers=bearer)


def client_stop(server: Server, bearer: dict[str, str]) -> httpx.Response:
    return server.client().delete("/api/runners/demo", headers=bearer)
