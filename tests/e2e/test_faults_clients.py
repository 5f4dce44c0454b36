"""Clients that vanish, dawdle or stop reading."""

import json
from functools import partial
from pathlib import Path

from tests.harness.faults import faults
from tests.harness.person import Person, chat_body
from tests.harness.processes import resident_bytes
from tests.harness.raw import RawClient
from tests.harness.scripted import Gates, scripted_backend
from tests.harness.server import Server
from tests.harness.waiting import eventually, settled

CHAT = "/v1/chat/completions"
MOST_BUFFERED = 32 * 1024 * 1024


def _leased(user: Person) -> list[bool]:
    return [r["stops_in_seconds"] is None for r in user.runners()]


def test_an_agent_sees_its_client_vanish_in_the_middle_of_a_stream(user: Person, gates: Gates) -> None:
    with user.http.stream("POST", CHAT, json=chat_body("gates van 1", stream=True), headers=user.bearer):
        gates.await_reached("van")
        assert [r["stops_in_seconds"] for r in user.runners()] == [None]
    gates.await_gone("van")
    user.await_idle()


def test_an_agent_sees_its_client_vanish_before_it_has_answered(user: Person, gates: Gates) -> None:
    with RawClient(user.server) as client:
        client.post(CHAT, user.token, chat_body("silent early"))
        gates.await_reached("early")
    gates.await_gone("early")
    user.await_idle()


def test_clients_that_vanish_during_the_start_leave_no_lease_behind(server: Server) -> None:
    for _ in range(4):  # Which of two tasks comes first is a matter of chance.
        with Person(server, "vanishing") as user:
            for _ in range(3):
                with RawClient(server) as client:
                    client.post(CHAT, user.token, chat_body("say nothing"))
            user.pid()
            assert settled(partial(_leased, user)) == [False]


def test_a_reader_who_stops_does_not_grow_the_router(user: Person, gates: Gates) -> None:
    user.pid()
    before = resident_bytes(user.server.pid)
    with RawClient(user.server, small=True) as client:
        client.post(CHAT, user.token, chat_body("flood stalled", stream=True))
        eventually(lambda: gates.note("stalled"))
        sent = int(settled(lambda: gates.note("stalled")))
        assert sent < MOST_BUFFERED
        assert resident_bytes(user.server.pid) - before < MOST_BUFFERED
        assert user.chat("say others").is_success
    user.await_idle()


def test_a_reader_who_stops_does_not_hold_up_a_shutdown(tmp_path: Path) -> None:
    gates = Gates(tmp_path / "gates")
    server = Server(tmp_path, backends=[scripted_backend(gates)])
    with server, Person(server) as user, RawClient(server, small=True) as client:
        client.post(CHAT, user.token, chat_body("flood stalled", stream=True))
        eventually(lambda: gates.note("stalled"))
        settled(lambda: gates.note("stalled"))
        assert server.stop() == 0


def test_a_body_that_comes_byte_by_byte_is_answered(user: Person) -> None:
    body = json.dumps(chat_body("say slowly")).encode()
    with RawClient(user.server) as client:
        client.head(CHAT, user.token, len(body), "Connection: close")
        for byte in body:
            client.send(bytes([byte]))
        assert b"slowly" in client.read_all()


def test_others_are_served_while_a_body_is_coming(user: Person) -> None:
    body = json.dumps(chat_body("say late")).encode()
    with RawClient(user.server) as client:
        client.head(CHAT, user.token, len(body), "Connection: close")
        client.send(body[:10])
        assert user.chat("say meanwhile").is_success
        client.send(body[10:])
        assert b"late" in client.read_all()


def test_a_body_that_is_cut_off_starts_nothing(user: Person) -> None:
    with RawClient(user.server) as client:
        client.head(CHAT, user.token, 1000)
        client.send(b'{"model": "scripted"')
    assert settled(user.runners) == []


def test_a_client_that_asks_first_is_told_to_continue(user: Person) -> None:
    body = json.dumps(chat_body("say continued")).encode()
    with RawClient(user.server) as client:
        client.head(CHAT, user.token, len(body), "Expect: 100-continue", "Connection: close")
        assert b" 100 " in client.read_until(b"\r\n\r\n")
        client.send(body)
        assert b"continued" in client.read_all()


def test_the_server_met_all_this_without_an_error_of_its_own(server: Server) -> None:
    assert faults(server) == []
