"""Event streams: what keeps them alive, what ends them, and that watching is not using."""

import gc
import signal
import time
from pathlib import Path

import httpx
import pytest
import trio
import trio.testing

from supervisors.signals import Signals, Watch
from tests.conftest import FAST_DEMO
from tests.harness.contract import new_email
from tests.harness.server import Server
from tests.harness.sse import frames
from web.services import SHUTDOWN, Lifecycle
from web.sse import EventStream, frame


class Told:
    """A source that says what a test gives it."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.over = False
        self.news: list[bytes] = []

    async def take(self) -> bytes:
        news, self.news = b"".join(self.news), []
        return news


@pytest.fixture
def autojump_clock() -> trio.testing.MockClock:
    """Let sleeping tasks wake at once, in the right order."""
    return trio.testing.MockClock(autojump_threshold=0)


@pytest.fixture
def signals() -> Signals:
    return Signals()


def _always() -> bool:
    return True


@pytest.fixture
def source(signals: Signals) -> Told:
    return Told(signals.watch("news", SHUTDOWN))


async def test_a_quiet_stream_sends_a_comment_at_least_every_fifteen_seconds(
    source: Told, autojump_clock: trio.testing.MockClock
) -> None:
    stream = EventStream(source, Lifecycle(), _always)
    last = trio.current_time()
    for _ in range(5):
        data = await anext(stream)
        assert data.startswith(b":")
        assert data.endswith(b"\n\n")
        assert trio.current_time() - last <= 15
        last = trio.current_time()


async def test_news_is_sent_at_once_and_puts_the_next_comment_off(
    source: Told, signals: Signals, autojump_clock: trio.testing.MockClock
) -> None:
    stream = EventStream(source, Lifecycle(), _always)

    async def tell_later() -> None:
        await trio.sleep(10)
        source.news = [b"data: 1\n\n", b"data: 2\n\n"]
        signals.notify("news")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(tell_later)
        assert await anext(stream) == b"data: 1\n\ndata: 2\n\n"
        assert trio.current_time() == pytest.approx(10, abs=0.1)
        assert (await anext(stream)).startswith(b":")
        assert trio.current_time() == pytest.approx(25, abs=0.1)


async def test_a_stream_ends_at_once_when_the_server_shuts_down(
    source: Told, signals: Signals, autojump_clock: trio.testing.MockClock
) -> None:
    lifecycle = Lifecycle()
    stream = EventStream(source, lifecycle, _always)

    async def shut_down() -> None:
        await trio.sleep(5)
        lifecycle.closing.set()
        signals.notify(SHUTDOWN)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(shut_down)
        assert [data async for data in stream] == []
        assert trio.current_time() == pytest.approx(5, abs=0.1)


async def test_a_stream_ends_when_its_caller_would_not_be_let_in_any_more(
    source: Told, autojump_clock: trio.testing.MockClock
) -> None:
    good = [True]
    stream = EventStream(source, Lifecycle(), lambda: good[0])
    assert (await anext(stream)).startswith(b":")
    good[0] = False
    source.news = [b"data: secret\n\n"]
    assert [data async for data in stream] == []


async def test_a_stream_that_is_opened_during_a_shutdown_ends_at_once(source: Told) -> None:
    lifecycle = Lifecycle()
    lifecycle.closing.set()
    source.news = [b"data: 1\n\n"]
    assert [data async for data in EventStream(source, lifecycle, _always)] == []


async def test_a_stream_whose_source_is_over_ends_after_the_last_news(source: Told) -> None:
    source.news = [b"data: last\n\n"]
    source.over = True
    assert [data async for data in EventStream(source, Lifecycle(), _always)] == [b"data: last\n\n"]


async def test_a_dropped_stream_leaves_no_listener_behind(signals: Signals) -> None:
    stream = EventStream(Told(signals.watch("news", SHUTDOWN)), Lifecycle(), _always)
    assert signals.statistics() == {"watches": 2}
    with trio.move_on_after(0.01):
        await anext(stream)
    del stream
    await trio.testing.wait_all_tasks_blocked()
    gc.collect()
    assert signals.statistics() == {"watches": 0}


def test_a_frame_holds_its_data_on_one_line() -> None:
    data = frame({"text": "a\nb\r\n\u2028c"}, "7.x.1")
    assert data.startswith(b"id: 7.x.1\ndata: ")
    assert data.endswith(b"\n\n")
    assert data.count(b"\n") == 3
    assert b"\r" not in data


# -- over HTTP --------------------------------------------------------------------------------------------


def paths(client: httpx.Client) -> list[str]:
    conversation = client.post("/api/conversations", json={"backend": "demo"}).json()["conversation"]["id"]
    return [f"/api/conversations/{conversation}/stream", "/api/runners/demo/progress"]


def test_every_stream_forbids_caching_and_buffering(server: Server) -> None:
    client = server.sign_up(new_email())
    for path in paths(client):
        with client.stream("GET", path) as stream:
            assert stream.status_code == 200
            assert stream.headers["content-type"] == "text/event-stream"
            assert stream.headers["cache-control"] == "no-cache"
            assert stream.headers["x-accel-buffering"] == "no"


def test_an_open_stream_is_not_activity(server: Server) -> None:
    client = server.sign_up(new_email())
    client.post("/api/runners/demo/start")
    conversation, progress = paths(client)
    with client.stream("GET", conversation) as first, client.stream("GET", progress) as second:
        next(frames(first))
        next(frames(second))
        (before,) = client.get("/api/runners").json()["runners"]
        assert before["stops_in_seconds"] is not None
        time.sleep(2.1)
        (after,) = client.get("/api/runners").json()["runners"]
    assert after["stops_in_seconds"] < before["stops_in_seconds"]
    assert after["idle_for_seconds"] > before["idle_for_seconds"]
    assert after["last_active"] == pytest.approx(before["last_active"], abs=1)


def test_looking_at_a_head_of_a_stream_does_not_hold_the_connection(server: Server) -> None:
    client = server.sign_up(new_email())
    for path in paths(client):
        assert client.head(path).headers["content-type"] == "text/event-stream"
        assert client.get("/auth/me").status_code == 200


def test_open_streams_end_cleanly_and_hold_up_no_shutdown(tmp_path: Path) -> None:
    with Server(tmp_path, backends=[FAST_DEMO], env={"SHUTDOWN_GRACE_SECONDS": "60"}) as server:
        client = server.sign_up(new_email())
        conversation, progress = paths(client)
        with client.stream("GET", conversation) as first, client.stream("GET", progress) as second:
            streams = [frames(first), frames(second)]
            for stream in streams:
                next(stream)
            assert server.process is not None
            server.process.send_signal(signal.SIGTERM)
            for stream in streams:
                list(stream)  # An error here would be a cut instead of an end.
        # Far less than the grace, which is for answers that are being written.
        assert server.process.wait(20) == 0
