"""Connections are bounded, and so are event streams: whoever hoards them keeps nobody out."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from agentstack import descriptors
from tests.conftest import FAST_DEMO
from tests.harness.contract import is_problem
from tests.harness.faults import faults
from tests.harness.person import Person
from tests.harness.server import Server
from tests.harness.sockets import connect, head, read_until
from tests.harness.waiting import eventually
from web.connections import Connections

PER_ADDRESS, STREAMS = 40, 5


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a server with room for few."""
    env = {"CONNECTIONS_PER_ADDRESS": str(PER_ADDRESS), "STREAMS_PER_USER": str(STREAMS)}
    with Server(tmp_path_factory.mktemp("server"), backends=[FAST_DEMO], env=env) as running:
        yield running


@dataclass(eq=False)
class Counted:
    """A connection that is only counted."""

    is_idle: bool = True
    given_up: bool = False

    def give_up(self) -> None:
        self.given_up = True


# -- counting ---------------------------------------------------------------------------------------------


async def test_the_oldest_idle_connection_of_an_address_makes_room() -> None:
    connections = Connections(per_site=3, site_of=lambda address: address)
    busy, old, young = Counted(is_idle=False), Counted(), Counted()
    for connection in (busy, old, young):
        assert connections.enter(connection, "here") == "here"
    assert connections.enter(Counted(), "there") == "there"
    assert connections.enter(Counted(is_idle=False), "here") == "here"
    assert [c.given_up for c in (busy, old, young)] == [False, True, False]
    connections.leave(old, "here")  # It closes only now.
    assert connections.statistics() == {"connections": 4, "sites": 2}


async def test_a_connection_is_refused_only_when_none_of_its_address_is_idle() -> None:
    connections = Connections(per_site=2, site_of=lambda address: address)
    busy = [Counted(is_idle=False), Counted(is_idle=False)]
    for connection in busy:
        connections.enter(connection, "here")
    assert connections.enter(Counted(), "here") is None
    assert connections.enter(Counted(), "there") == "there"
    connections.leave(busy[0], "here")
    assert connections.enter(Counted(), "here") == "here"


async def test_when_the_house_is_full_they_make_room_who_have_the_most_of_it() -> None:
    connections = Connections(most=4, site_of=lambda address: address)
    crowd, guest = [Counted() for _ in range(3)], Counted()
    connections.enter(guest, "guest")
    for connection in crowd:
        connections.enter(connection, "crowd")
    assert connections.enter(Counted(), "new") == "new"
    assert [c.given_up for c in (*crowd, guest)] == [True, False, False, False]
    assert connections.statistics()["connections"] == 4


async def test_a_site_without_a_name_has_no_bound_of_its_own() -> None:
    connections = Connections(per_site=1)
    assert [connections.enter(Counted(), "proxy") for _ in range(100)] == [""] * 100


def test_open_files_are_kept_back_for_what_must_go_on() -> None:
    assert descriptors.connections_within(1024) == 384
    assert descriptors.connections_within(1 << 20) == (1 << 19) - 128
    assert descriptors.connections_within(64) == 16


# -- a server ---------------------------------------------------------------------------------------------


def test_whoever_hoards_idle_connections_keeps_nobody_out_not_even_at_the_same_address(server: Server) -> None:
    with ExitStack() as hoard:
        for _ in range(5 * PER_ADDRESS):
            hoard.enter_context(connect(server))
        for _ in range(20):
            with server.client() as client:
                assert client.get("/healthz").is_success
    warned = [r for r in server.records() if r["message"] == "connections_full"]
    assert len(warned) == 1, "it is logged once"
    assert "CONNECTIONS_PER_ADDRESS" in warned[0]["hint"]
    assert not [r for r in server.records() if "Traceback" in str(r.get("exception"))]
    assert faults(server) == []


def test_connections_in_use_are_not_closed_for_new_ones(server: Server) -> None:
    with ExitStack() as held, Person(server) as user:
        conversation = user.conversation("demo")
        path = f"/api/conversations/{conversation}/stream"
        streams = [held.enter_context(user.http.stream("GET", path)) for _ in range(STREAMS)]
        for _ in range(2 * PER_ADDRESS):
            held.enter_context(connect(server))
        user.http.post(
            f"/api/conversations/{conversation}/messages", json={"role": "user", "content": "still here"}
        )
        for stream in streams:
            assert any("still here" in line for line in stream.iter_lines())


def test_an_address_all_of_whose_connections_are_in_use_is_told_so(tmp_path: Path) -> None:
    env = {"CONNECTIONS_PER_ADDRESS": "3"}
    with Server(tmp_path, backends=[FAST_DEMO], env=env) as server, Person(server) as user, ExitStack() as held:
        path = f"/api/conversations/{user.conversation('demo')}/stream"
        for _ in range(3):
            held.enter_context(user.http.stream("GET", path))
        refused = eventually(lambda: _refused(server), "a connection is refused")
        assert refused.startswith(b"HTTP/1.1 503")
        with socket.create_connection(("127.0.0.1", server.port), source_address=("127.0.0.2", 0)) as other:
            other.sendall(head(server, "GET /healthz HTTP/1.1"))
            assert read_until(other, b"\r\n\r\n").startswith(b"HTTP/1.1 200")


def _refused(server: Server) -> bytes:
    with connect(server) as connection:
        connection.sendall(head(server, "GET /healthz HTTP/1.1"))
        answer = connection.recv(65536)
        return answer if b" 503 " in answer else b""


def test_a_user_has_so_many_streams_and_no_more_until_one_is_closed(server: Server) -> None:
    with Person(server) as user, Person(server) as other, ExitStack() as held:
        path = f"/api/conversations/{user.conversation('demo')}/stream"
        streams = [held.enter_context(user.http.stream("GET", path)) for _ in range(STREAMS)]
        assert all(stream.is_success for stream in streams)
        refused = user.http.get(path)
        is_problem(refused, 429, "too_many_streams")
        assert int(refused.headers["retry-after"]) > 0
        with other.http.stream("GET", f"/api/conversations/{other.conversation('demo')}/stream") as theirs:
            assert theirs.is_success
        streams[0].close()

        def again() -> bool:
            with user.http.stream("GET", path) as stream:
                return stream.is_success

        eventually(again, "the seat is free")


def test_the_limit_of_open_files_is_raised_to_what_it_may_be(server: Server) -> None:
    lines = Path(f"/proc/{server.pid}/limits").read_text().splitlines()
    (open_files,) = [line.split() for line in lines if line.startswith("Max open files")]
    assert open_files[3] == open_files[4]


# -- heads ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/v1/", "/healthz?"], ids=["page", "v1", "query"])
def test_a_target_that_is_too_long_is_refused_and_not_logged_whole(server: Server, path: str) -> None:
    before = len(server.errors())
    with server.client() as client:
        answer = client.get(path + "x" * 9000)
        assert answer.status_code == 414
        assert client.get(path + "x" * 4000).status_code in {200, 401, 404}
    assert len(server.errors()) - before < 4000


def test_targets_count_as_head(server: Server) -> None:
    with server.client() as client:
        headers = {f"x-{n}": "y" * 900 for n in range(10)}
        assert client.get("/healthz?" + "x" * 1000, headers=headers).is_success
        assert client.get("/healthz?" + "x" * 8000, headers=headers).status_code == 431


@pytest.mark.parametrize("size", [20_000, 60_000])
def test_a_flood_of_long_targets_fills_no_log(server: Server, size: int) -> None:
    before = len(server.errors())
    for _ in range(20):
        with connect(server) as connection:
            connection.sendall(head(server, f"GET /{'x' * size} HTTP/1.1"))
            connection.recv(1000)
    assert len(server.errors()) - before < 20 * 1000


def test_nothing_else_that_a_stranger_sends_is_logged_whole(server: Server) -> None:
    before = len(server.errors())
    with server.client() as client:
        for header in ("user-agent", "x-request-id", "x-forwarded-for", "origin", "authorization", "cookie"):
            with httpx.Client(base_url=server.url, trust_env=False) as stranger:
                stranger.get("/api/agents", headers={header: "y" * 10_000})
        client.request("M" * 5000, "/")
    assert len(server.errors()) - before < 8000
