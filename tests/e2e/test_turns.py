"""Turns belong to the server: clients come and go."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.agents.chunks import USAGE
from tests.harness.faults import abandoned_generators, faults
from tests.harness.person import Person
from tests.harness.raw import RawClient
from tests.harness.scripted import Gates, scripted_backend
from tests.harness.server import Server
from tests.harness.sse import frames


def _said(name: str, count: int) -> str:
    return "".join(f"{name}-{n} " for n in range(count))


def _text(events: list[dict[str, Any]]) -> str:
    """Return the text of a turn as a client puts it together, checking every offset."""
    text = ""
    for event in events:
        if event["kind"] == "turn_snapshot":
            text = event["payload"]["text"]
        elif event["kind"] == "turn_delta":
            assert event["payload"]["offset"] == len(text)
            text += event["payload"]["text"]
    return text


@pytest.fixture
def own_server(tmp_path: Path, gates: Gates) -> Iterator[Server]:
    """Return a server for one test alone, which may be killed."""
    with Server(tmp_path, backends=[scripted_backend(gates)]) as running:
        yield running


def test_a_turn_is_answered_without_anybody_watching(user: Person) -> None:
    conversation = user.conversation()
    assert user.await_turn(conversation, user.ask(conversation, "say hello")) == "finished"
    assert user.messages(conversation) == [("user", "say hello"), ("assistant", "hello ")]


def test_an_answer_is_whole_for_a_client_that_left_in_the_middle_and_came_back(user: Person, gates: Gates) -> None:
    conversation = user.conversation()
    with user.again() as first:
        answer = first.post(f"/api/conversations/{conversation}/turns", json={"content": "gates left 2"})
        turn = answer.json()["turn"]["id"]
        with first.stream("GET", f"/api/conversations/{conversation}/stream"):
            gates.await_reached("left")
    gates.open("left", 0)
    gates.open("left", 1)
    assert user.await_turn(conversation, turn) == "finished"
    with user.again() as second:
        messages = second.get(f"/api/conversations/{conversation}").json()["messages"]
    assert messages[-1]["content"] == _said("left", 2) + "end"


def test_the_client_that_asked_may_vanish_before_the_answer_to_its_request(user: Person, gates: Gates) -> None:
    conversation = user.conversation()
    with RawClient(user.server) as client:
        client.post(f"/api/conversations/{conversation}/turns", user.token, {"content": "gates gone 1"})
        gates.await_reached("gone")
    gates.open("gone")
    assert user.await_turn(conversation, user.read(conversation)["last_turn"]["id"]) == "finished"
    assert user.messages(conversation)[-1][1] == "gone-0 end"


def test_a_watcher_sees_the_turn_from_its_start_to_its_end(user: Person) -> None:
    conversation = user.conversation()
    with user.http.stream("GET", f"/api/conversations/{conversation}/stream") as stream:
        events = frames(stream)
        seen = [next(events)[1]]
        user.ask(conversation, "chunks 50")
        for _, event in events:
            seen.append(event)
            if event["kind"] == "turn_finished":
                break
    kinds = [e["kind"] for e in seen]
    assert kinds[0] == "hello"
    assert kinds.index("message") < kinds.index("turn_started") < kinds.index("turn_finished")
    assert "turn_progress" in kinds
    final = seen[-1]["payload"]
    assert final["message"]["content"] == "".join(f"{n} " for n in range(50))
    assert final["finish_reason"] == "stop"
    assert final["usage"] == USAGE


def test_two_watchers_see_the_same_answer(user: Person, gates: Gates) -> None:
    conversation = user.conversation()
    path = f"/api/conversations/{conversation}/stream"
    user.ask(conversation, "gates two 2")
    gates.await_reached("two", 0)
    with user.http.stream("GET", path) as early:
        early_events = frames(early)
        early_seen = [e for _, e in _until_text(early_events, "two-0 ")]
        gates.open("two", 0)
        gates.await_reached("two", 1)
        with user.again() as other, other.stream("GET", path) as late:
            late_events = frames(late)
            late_seen = [e for _, e in _until_text(late_events, "two-1 ")]
            gates.open("two", 1)
            early_seen += [e for _, e in _until_end(early_events)]
            late_seen += [e for _, e in _until_end(late_events)]
    for seen in (early_seen, late_seen):
        assert _said("two", 2).startswith(_text(seen)) or _text(seen) == _said("two", 2) + "end"
        assert seen[-1]["payload"]["message"]["content"] == _said("two", 2) + "end"
    assert "turn_snapshot" in [e["kind"] for e in late_seen]


@pytest.mark.parametrize("gates_passed_meanwhile", [0, 1, 2])
def test_a_watcher_resumes_in_the_middle_without_gap_or_repeat(
    user: Person, gates: Gates, gates_passed_meanwhile: int
) -> None:
    name = f"resume{gates_passed_meanwhile}"
    conversation = user.conversation()
    path = f"/api/conversations/{conversation}/stream"
    turn = user.ask(conversation, f"gates {name} 4")
    with user.http.stream("GET", path) as stream:
        events = frames(stream)
        seen = _until_text(events, f"{name}-0 ")
        gates.open(name, 0)
        seen += _until_text(events, f"{name}-1 ")
    last_id = seen[-1][0]
    for number in range(1, 1 + gates_passed_meanwhile):
        gates.open(name, number)
        gates.await_reached(name, number + 1)
    resumed: list[tuple[str, Any]] = []
    with user.http.stream("GET", path, headers={"Last-Event-ID": last_id}) as stream:
        events = frames(stream)
        if gates_passed_meanwhile:
            resumed += _until_text(events, f"{name}-{gates_passed_meanwhile + 1} ")
        for number in range(1 + gates_passed_meanwhile, 3):
            gates.open(name, number)
            resumed += _until_text(events, f"{name}-{number + 1} ")
        gates.open(name, 3)
        resumed += _until_end(events)
    kinds = [e["kind"] for _, e in resumed]
    assert "turn_snapshot" not in kinds
    assert "message" not in kinds
    text = _text([e for _, e in [*seen, *resumed]])
    whole = _said(name, 4) + "end"
    assert text in {whole, whole.removesuffix("end")}, "the last words may come with the end of the turn"
    assert resumed[-1][1]["payload"]["message"]["content"] == whole
    assert user.await_turn(conversation, turn) == "finished"


def test_a_watcher_that_missed_the_end_gets_it(user: Person, gates: Gates) -> None:
    conversation = user.conversation()
    path = f"/api/conversations/{conversation}/stream"
    turn = user.ask(conversation, "gates missed 1")
    with user.http.stream("GET", path) as stream:
        last_id = _until_text(frames(stream), "missed-0 ")[-1][0]
    gates.open("missed")
    user.await_turn(conversation, turn)
    with user.http.stream("GET", path, headers={"Last-Event-ID": last_id}) as stream:
        events = [e for _, e in _until_end(frames(stream))]
    assert events[-1]["payload"]["message"]["content"] == "missed-0 end"


def test_cancelling_keeps_what_was_written(user: Person, gates: Gates) -> None:
    conversation = user.conversation()
    with user.again() as watcher, watcher.stream("GET", f"/api/conversations/{conversation}/stream") as stream:
        events = frames(stream)
        next(events)
        turn = user.ask(conversation, "gates stop 1")
        _until_text(events, "stop-0 ")
        cancelled = user.act(conversation, turn, "cancel")
        assert cancelled.json()["turn"]["status"] == "cancelled"
        ended = _until_end(events)[-1][1]["payload"]
    gates.await_gone("stop")
    assert ended["finish_reason"] == "cancelled"
    assert user.messages(conversation)[-1] == ("assistant", "stop-0 ")
    user.await_idle()


def test_a_turn_that_has_ended_cannot_be_cancelled(user: Person) -> None:
    conversation = user.conversation()
    turn = user.ask(conversation, "say hello")
    user.await_turn(conversation, turn)
    assert user.act(conversation, turn, "cancel").status_code == 409


def test_a_turn_is_cancelled_during_the_cold_start(user: Person) -> None:
    conversation = user.conversation()
    turn = user.ask(conversation, "gates never 1")
    assert user.act(conversation, turn, "cancel").json()["turn"]["status"] == "cancelled"
    assert user.messages(conversation) == [("user", "gates never 1")]
    assert user.await_turn(conversation, user.ask(conversation, "say again")) == "finished"


def test_regenerating_drops_the_answer_and_asks_the_same_question(user: Person) -> None:
    conversation = user.conversation()
    turn = user.ask(conversation, "status 500")
    assert user.await_turn(conversation, turn) == "failed"
    again = user.act(conversation, turn, "regenerate")
    assert again.status_code == 202
    assert user.await_turn(conversation, again.json()["turn"]["id"]) == "failed"
    assert [role for role, _ in user.messages(conversation)] == ["user", "error"]


def test_regenerating_an_early_turn_drops_all_that_came_later(user: Person) -> None:
    conversation = user.conversation()
    first = user.ask(conversation, "say one")
    user.await_turn(conversation, first)
    user.await_turn(conversation, user.ask(conversation, "say two"))
    again = user.act(conversation, first, "regenerate").json()["turn"]["id"]
    assert user.await_turn(conversation, again) == "finished"
    assert user.messages(conversation) == [("user", "say one"), ("assistant", "one ")]


def test_only_one_turn_runs_in_a_conversation(user: Person, gates: Gates) -> None:
    conversation = user.conversation()
    turn = user.ask(conversation, "gates busy 1")
    gates.await_reached("busy")
    refused = user.http.post(f"/api/conversations/{conversation}/turns", json={"content": "say more"})
    assert refused.status_code == 409
    assert refused.json()["code"] == "turn_running"
    assert user.act(conversation, turn, "regenerate").status_code == 409
    gates.open("busy")
    assert user.await_turn(conversation, turn) == "finished"
    assert user.messages(conversation) == [("user", "gates busy 1"), ("assistant", "busy-0 end")]


def test_a_second_conversation_is_not_held_up(user: Person, gates: Gates) -> None:
    one, two = user.conversation(), user.conversation()
    turn = user.ask(one, "gates side 1")
    gates.await_reached("side")
    assert user.await_turn(two, user.ask(two, "say quick")) == "finished"
    gates.open("side")
    assert user.await_turn(one, turn) == "finished"


def test_deleting_a_conversation_ends_its_turn(user: Person, gates: Gates) -> None:
    conversation = user.conversation()
    with user.again() as watcher, watcher.stream("GET", f"/api/conversations/{conversation}/stream") as stream:
        events = frames(stream)
        next(events)
        user.ask(conversation, "gates deleted 1")
        _until_text(events, "deleted-0 ")
        assert user.http.delete(f"/api/conversations/{conversation}").status_code == 204
        kinds = [e["kind"] for _, e in events]
    assert kinds[-1] == "conversation_deleted"
    gates.await_gone("deleted")
    assert user.http.get(f"/api/conversations/{conversation}").status_code == 404
    user.await_idle()


def test_another_users_turn_cannot_be_touched(user: Person, gates: Gates, server: Server) -> None:
    conversation = user.conversation()
    turn = user.ask(conversation, "gates mine 1")
    gates.await_reached("mine")
    with Person(server, "stranger") as stranger:
        for verb in ("cancel", "regenerate"):
            assert stranger.act(conversation, turn, verb).status_code == 404
        assert stranger.http.delete(f"/api/conversations/{conversation}").status_code == 404
        assert stranger.http.get(f"/api/conversations/{conversation}/stream").status_code == 404
    gates.open("mine")
    assert user.await_turn(conversation, turn) == "finished"


def test_a_turn_that_a_crash_cut_off_is_interrupted_and_can_be_repeated(own_server: Server, gates: Gates) -> None:
    with Person(own_server) as user:
        conversation = user.conversation()
        turn = user.ask(conversation, "gates crash 1")
        gates.await_reached("crash")
        own_server.kill()
        gates.open("crash")
        own_server.start()
        assert user.read(conversation)["last_turn"]["status"] == "interrupted"
        assert user.read(conversation)["conversation"]["running_turn"] is None
        again = user.act(conversation, turn, "regenerate")
        assert again.status_code == 202
        assert user.await_turn(conversation, again.json()["turn"]["id"]) == "finished"
        assert user.messages(conversation) == [("user", "gates crash 1"), ("assistant", "crash-0 end")]


def test_a_turn_that_a_shutdown_cut_off_keeps_its_text(own_server: Server, gates: Gates) -> None:
    with Person(own_server) as user:
        conversation = user.conversation()
        with user.http.stream("GET", f"/api/conversations/{conversation}/stream") as stream:
            events = frames(stream)
            next(events)
            user.ask(conversation, "gates term 1")
            _until_text(events, "term-0 ")
            assert own_server.stop(signal.SIGTERM) == 0
            assert "turn_finished" not in [e["kind"] for _, e in events]
        own_server.start()
        assert user.read(conversation)["last_turn"]["status"] == "interrupted"
        assert user.messages(conversation) == [("user", "gates term 1"), ("assistant", "term-0 ")]
        assert faults(own_server) == []


def test_a_turn_that_ends_within_the_grace_of_a_shutdown_is_finished(tmp_path: Path, gates: Gates) -> None:
    env = {"SHUTDOWN_GRACE_SECONDS": "20"}
    with Server(tmp_path, backends=[scripted_backend(gates)], env=env) as server, Person(server) as user:
        conversation = user.conversation()
        with user.http.stream("GET", f"/api/conversations/{conversation}/stream") as stream:
            user.ask(conversation, "gates grace 1")
            gates.await_reached("grace")
            assert server.process is not None
            server.process.send_signal(signal.SIGTERM)
            list(stream.iter_raw())  # Event streams end as soon as the shutdown begins.
            gates.open("grace")
        assert server.process.wait(30) == 0
        server.start()
        assert user.messages(conversation)[-1] == ("assistant", "grace-0 end")


def test_a_turn_leaves_no_generator_to_the_garbage_collector(own_server: Server) -> None:
    with Person(own_server) as user:
        conversation = user.conversation()
        assert user.await_turn(conversation, user.ask(conversation, "say hello")) == "finished"
        user.await_idle()
    assert own_server.stop() == 0
    assert abandoned_generators(own_server) == []


def test_the_server_met_all_this_without_an_error_of_its_own(server: Server) -> None:
    assert faults(server) == []


def _until_text(events: Iterator[tuple[str, Any]], end: str) -> list[tuple[str, Any]]:
    """Return events up to the one whose text ends so."""
    found = []
    for id_, event in events:
        found.append((id_, event))
        if event["kind"] in {"turn_snapshot", "turn_delta"} and event["payload"]["text"].endswith(end):
            return found
    raise AssertionError(f"the stream ended without {end!r}: {found}")


def _until_end(events: Iterator[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Return events up to the end of the turn."""
    found = []
    for id_, event in events:
        found.append((id_, event))
        if event["kind"] in {"turn_finished", "turn_failed", "turn_interrupted"}:
            return found
    raise AssertionError(f"the stream ended before the turn: {found}")
