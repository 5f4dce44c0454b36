"""Asking a starting agent whether it is ready."""

import itertools
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
import trio

from domain.backends.definition import Backend
from supervisors.engines.protocol import Endpoint
from supervisors.runners.probe import answers_ready, auth_headers, wait_until_ready

ENDPOINT = Endpoint("127.0.0.1", 1)
BACKEND = Backend(name="b", display_name="B", image="b", health_path="/health")
WITH_READY = BACKEND.model_copy(update={"ready_path": "/ready"})
Handler = Callable[[httpx.Request], httpx.Response]


def _client(handler: Handler) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.MockTransport(handler))


@pytest.mark.parametrize(("status", "ready"), [(200, True), (204, True), (302, False), (404, False), (503, False)])
async def test_the_health_path_must_answer_with_success(status: int, ready: bool) -> None:
    async with _client(lambda _: httpx.Response(status)) as client:
        assert await answers_ready(client, BACKEND, ENDPOINT, "key") is ready


@pytest.mark.parametrize(("status", "ready"), [(200, True), (401, True), (404, True), (500, False), (503, False)])
async def test_the_ready_path_may_refuse_but_not_fail(status: int, ready: bool) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200 if request.url.path == "/health" else status)

    async with _client(handler) as client:
        assert await answers_ready(client, WITH_READY, ENDPOINT, "key") is ready


async def test_the_key_is_shown_to_the_ready_path_only() -> None:
    seen = {}

    def handler(request: httpx.Request) -> httpx.Response:
        seen[request.url.path] = request.headers.get("authorization")
        return httpx.Response(200)

    async with _client(handler) as client:
        await answers_ready(client, WITH_READY, ENDPOINT, "key")
    assert seen == {"/health": None, "/ready": "Bearer key"}


@pytest.mark.parametrize(
    "error", [httpx.ConnectError, httpx.ReadError, httpx.ReadTimeout, httpx.RemoteProtocolError]
)
async def test_a_broken_connection_means_not_yet(error: type[httpx.HTTPError]) -> None:
    def handler(_: httpx.Request) -> httpx.Response:
        raise error("no")

    async with _client(handler) as client:
        assert not await answers_ready(client, BACKEND, ENDPOINT, "key")


async def test_it_asks_again_until_the_agent_is_ready_and_tells_how_long(autojump_clock: trio.abc.Clock) -> None:
    answers = iter([503] * 30 + [200])
    elapsed: list[float] = []
    async with _client(lambda _: httpx.Response(next(answers))) as client:
        await wait_until_ready(client, BACKEND, ENDPOINT, "key", elapsed.append)
    assert len(elapsed) == 30
    assert elapsed == sorted(elapsed)
    assert max(b - a for a, b in itertools.pairwise(elapsed)) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("header", "scheme", "sent"),
    [("Authorization", "Bearer", "Bearer key"), ("X-Api-Key", "", "key"), ("X-Token", "Token", "Token key")],
)
def test_the_key_is_presented_as_declared(header: str, scheme: str, sent: str) -> None:
    backend = BACKEND.model_copy(update={"api_key_header": header, "api_key_scheme": scheme})
    assert auth_headers(backend, "key") == {header: sent}


@pytest.mark.parametrize("coding", ["identity", "gzip"])
async def test_what_is_in_an_answer_to_a_probe_is_never_read(coding: str) -> None:
    read = 0

    class Endless(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            nonlocal read
            while True:
                read += 1
                yield b"x" * 65536

    def handler(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-encoding": coding}, stream=Endless())

    async with _client(handler) as client:
        assert await answers_ready(client, WITH_READY, ENDPOINT, "key")
    assert read == 0
