"""/api/me/usage and /api/admin/usage: what was used, by whom, with which agent and model."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.conftest import FAST_DEMO
from tests.harness.contract import has_shape, is_problem
from tests.harness.events import events
from tests.harness.faults import faults
from tests.harness.person import Person
from tests.harness.scripted import Gates, scripted_backend
from tests.harness.server import Server
from tests.harness.waiting import eventually

USAGE, ALL = "/api/me/usage", "/api/admin/usage"
SUMS = ("requests", "errors", "prompt_tokens", "completion_tokens", "unknown", "estimated", "runner_seconds")
TOTALS = dict.fromkeys(SUMS, int)
ROW = {**TOTALS, "day": str, "agent_id": str, "backend": str, "model": str}
NOTHING = dict.fromkeys(SUMS, 0)
DAY = 86400
Json = dict[str, Any]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the scripted agent, which tells 3 and 5 tokens when it tells any, and one that never starts."""
    gates = Gates(tmp_path_factory.mktemp("gates"))
    scripted = scripted_backend(gates, extra_models=["scripted-large"])
    never = {**FAST_DEMO, "name": "never", "user_overridable_env": ["NEVER_SET"]}
    with Server(tmp_path_factory.mktemp("usage"), backends=[scripted, never]) as running:
        yield running


@pytest.fixture
def user(server: Server) -> Iterator[Person]:
    with Person(server) as person:
        yield person


def totals(user: Person) -> Json:
    """Return the sums but for the time of runners."""
    found: Json = user.http.get(USAGE).json()["totals"]
    return {**found, "runner_seconds": 0}


def counted(**sums: int) -> Json:
    return {**NOTHING, **sums}


def awaited(user: Person, **sums: int) -> None:
    """Wait until these are the sums: an answer is counted when it is over, which its reader may know sooner."""
    eventually(lambda: totals(user) == counted(**sums), f"{counted(**sums)} instead of {totals(user)}", 5)


def test_whoever_has_used_nothing_is_told_so(user: Person) -> None:
    found = user.http.get(USAGE).json()
    assert (found["rows"], found["totals"]) == ([], NOTHING)
    now = time.gmtime()
    assert time.gmtime(found["since"])[:6] == (now.tm_year, now.tm_mon, 1, 0, 0, 0)
    assert found["until"] > time.time()
    assert (found["budget"]["monthly_tokens"], found["budget"]["used"]) == (None, 0)
    resets = time.gmtime(found["budget"]["resets_at"])
    assert (resets.tm_mday, resets[3:6]) == (1, (0, 0, 0))
    assert 0 < found["budget"]["resets_at"] - time.time() <= 31 * DAY


# -- what counts ------------------------------------------------------------------------------------------


def test_an_answer_in_one_piece_counts_the_tokens_that_it_tells(user: Person) -> None:
    user.chat("say hello")
    awaited(user, requests=1, prompt_tokens=3, completion_tokens=5)


def test_a_stream_counts_the_tokens_that_its_last_chunk_tells(user: Person) -> None:
    user.chat("chunks 500", stream=True, stream_options={"include_usage": True})
    awaited(user, requests=1, prompt_tokens=3, completion_tokens=5)


def test_a_stream_that_tells_no_tokens_is_unknown_and_not_guessed(user: Person) -> None:
    user.chat("chunks 500", stream=True)
    awaited(user, requests=1, unknown=1)


def test_anything_else_that_tells_no_tokens_is_unknown_and_questions_count_nothing(user: Person) -> None:
    user.http.post("/v1/embeddings", json={"model": "scripted", "input": "x"}, headers=user.bearer)
    user.http.get("/v1/files?model=scripted", headers=user.bearer)
    user.http.get("/v1/models", headers=user.bearer)
    awaited(user, requests=1, unknown=1)


@pytest.mark.parametrize("text", ["status 500", "status 429", "cut_json", "redirect"])
def test_a_refusal_or_a_broken_answer_is_an_error_of_no_tokens(user: Person, text: str) -> None:
    try:
        failed = not user.chat(text).is_redirect
    except httpx.RemoteProtocolError:
        failed = True
    awaited(user, requests=1, errors=int(failed), unknown=int(not failed))


@pytest.mark.parametrize("text", ["cut", "cut_between"])
def test_a_stream_that_breaks_off_is_an_error(user: Person, text: str) -> None:
    user.chat(text, stream=True)
    awaited(user, requests=1, errors=1)


def test_an_agent_that_cannot_be_started_is_an_error(user: Person) -> None:
    assert user.chat("hi", "never").status_code == 422
    awaited(user, requests=1, errors=1)


def test_a_request_that_names_no_agent_of_ours_counts_nothing(user: Person) -> None:
    assert user.chat("hi", "unheard-of").status_code == 404
    assert user.http.post("/v1/chat/completions", content=b"{", headers=user.bearer).status_code == 400
    assert user.http.get(USAGE).json()["rows"] == []


def test_turns_are_counted_as_requests_are(user: Person) -> None:
    conversation = user.conversation()
    assert user.await_turn(conversation, user.ask(conversation, "say hello")) == "finished"
    awaited(user, requests=1, prompt_tokens=3, completion_tokens=5)
    assert user.await_turn(conversation, user.ask(conversation, "status 500")) == "failed"
    awaited(user, requests=2, errors=1, prompt_tokens=3, completion_tokens=5)


@pytest.mark.parametrize(
    ("told", "sums"),
    [
        ('{"prompt_tokens": 10}', {"prompt_tokens": 10}),
        ('{"input_tokens": 7, "output_tokens": 11}', {"prompt_tokens": 7, "completion_tokens": 11}),
        (
            '{"prompt_tokens": 1, "completion_tokens": 2, "details": {"usage": 9}}',
            {"prompt_tokens": 1, "completion_tokens": 2},
        ),
        ("null", {"unknown": 1}),
        ("{}", {"unknown": 1}),
        ('{"prompt_tokens": "many", "completion_tokens": null}', {"unknown": 1}),
        ('{"prompt_tokens": -1000, "completion_tokens": true}', {"unknown": 1}),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_an_agent_tells_is_taken_only_as_far_as_it_makes_sense(
    user: Person, told: str, sums: dict[str, int], stream: bool
) -> None:
    assert user.chat(f"usage {told}", stream=stream).is_success
    awaited(user, requests=1, **sums)


@pytest.mark.parametrize("stream", [False, True])
def test_words_that_look_like_usage_are_words(user: Person, stream: bool) -> None:
    words = 'say "usage":{"prompt_tokens":1000,"completion_tokens":1000}'
    assert "prompt_tokens" in user.chat(words, stream=stream).text
    awaited(user, requests=1, **({"unknown": 1} if stream else {"prompt_tokens": 3, "completion_tokens": 5}))


def _by_v1(user: Person, words: str) -> None:
    assert user.chat(words).is_success


def _by_turn(user: Person, words: str) -> None:
    conversation = user.conversation()
    assert user.await_turn(conversation, user.ask(conversation, words)) == "finished"


@pytest.mark.parametrize("way", [_by_v1, _by_turn])
def test_a_count_that_is_out_of_this_world_harms_no_bookkeeping(
    server: Server, user: Person, way: Callable[[Person, str], None]
) -> None:
    before = len(faults(server))
    for number in (2**63, 2**64 - 1, 10**30):
        way(user, f'usage {{"prompt_tokens": {number}, "completion_tokens": 1}}')
    way(user, "say hello")
    assert user.http.get(USAGE).status_code == 200
    server.stop()
    complaints = [f["message"] for f in faults(server)[before:]]
    server.start()
    assert complaints == []
    assert user.http.get(USAGE).json()["totals"]["requests"] == 4


# -- by what it is told -----------------------------------------------------------------------------------


def test_rows_are_of_one_day_agent_and_model(user: Person) -> None:
    second = user.http.post("/api/agents", json={"backend": "scripted", "name": "first"}).json()["agent"]
    second = user.http.post("/api/agents", json={"backend": "scripted", "name": "second"}).json()["agent"]
    opened = user.http.post("/api/conversations", json={"agent_id": second["id"]}).json()["conversation"]
    for model in ("scripted", "scripted-large", "scripted/made-up", "scripted/another"):
        user.chat("say hello", model)
    user.chat("say hello", user=f"agstack-{opened['id']}")
    awaited(user, requests=5, prompt_tokens=15, completion_tokens=25)
    rows = user.http.get(USAGE).json()["rows"]
    for row in rows:
        has_shape(row, ROW)
        assert set(row) == set(ROW)
        assert (row["day"], row["backend"]) == (time.strftime("%Y-%m-%d", time.gmtime()), "scripted")
    found = {(r["agent_id"] == second["id"], r["model"]): r["requests"] for r in rows}
    assert found == {(False, "scripted"): 3, (False, "scripted-large"): 1, (True, "scripted"): 1}


def test_the_time_of_runners_is_told_once_they_have_ended(user: Person) -> None:
    user.pid()
    (runner,) = user.runners()
    eventually(lambda: time.time() > runner["started_at"] + 3, "it has run for some seconds")
    assert user.http.get(USAGE).json()["totals"]["runner_seconds"] == 0
    user.http.delete("/api/runners/scripted")
    (row,) = [r for r in user.http.get(USAGE).json()["rows"] if r["model"] == ""]
    assert row == {**row, **NOTHING, "backend": "scripted", "runner_seconds": row["runner_seconds"]}
    assert 1 <= row["runner_seconds"] <= time.time() - runner["started_at"]


def test_nobody_sees_what_another_user_has_used(server: Server, user: Person) -> None:
    user.chat("say hello")
    with Person(server) as other:
        assert other.http.get(USAGE).json()["rows"] == []
        is_problem(other.http.get(ALL), 403, "admin_only")


def test_the_admin_sees_everybodys_and_whose_it_is(server: Server, user: Person) -> None:
    user.chat("say hello")
    awaited(user, requests=1, prompt_tokens=3, completion_tokens=5)
    me = user.http.get("/auth/me").json()["user"]
    found = server.admin().get(ALL).json()
    has_shape(found, {"since": int, "until": int, "rows": list, "totals": dict})
    has_shape(found["totals"], TOTALS)
    (row,) = [r for r in found["rows"] if r["user_id"] == me["id"]]
    (own,) = user.http.get(USAGE).json()["rows"]
    assert row == {**own, "user_id": me["id"], "email": me["email"]}
    for name in SUMS[:-1]:
        assert found["totals"][name] == sum(r[name] for r in found["rows"])
    users = server.admin().get("/api/admin/users").json()["users"]
    assert [u["used_tokens"] for u in users if u["id"] == me["id"]] == [8]


def test_what_was_used_survives_a_restart_as_one_event_of_the_user(server: Server, user: Person) -> None:
    for _ in range(3):
        user.chat("say hello")
    awaited(user, requests=3, prompt_tokens=9, completion_tokens=15)
    me = user.http.get("/auth/me").json()["user"]["id"]
    server.stop()
    server.start()
    awaited(user, requests=3, prompt_tokens=9, completion_tokens=15)
    assert user.http.get(USAGE).json()["budget"]["used"] == 24
    assert len([e for e in events(server, "usage.recorded") if e["payload"]["user_id"] == me]) == 1
    user.chat("say hello")
    awaited(user, requests=4, prompt_tokens=12, completion_tokens=20)


# -- the span ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("since", "until", "sees"), [(0, 1, True), (-3, 1, True), (-3, 0, False), (1, 3, False)])
def test_only_the_days_that_are_asked_for_are_told(user: Person, since: int, until: int, sees: bool) -> None:
    user.chat("say hello")
    awaited(user, requests=1, prompt_tokens=3, completion_tokens=5)
    today = int(time.time() // DAY)
    span = {"since": (today + since) * DAY, "until": (today + until) * DAY}
    for client, path in ((user.http, USAGE), (user.server.admin(), ALL)):
        found = client.get(path, params=span).json()
        assert (found["since"], found["until"]) == (span["since"], span["until"])
        mine = [
            r for r in found["rows"] if r.get("user_id", "") in {"", user.http.get("/auth/me").json()["user"]["id"]}
        ]
        assert bool(mine) == sees


@pytest.mark.parametrize(
    "query",
    ["since=x", "until=1.5", "since=-5", "since=200000&until=100", "since=0", f"until={'9' * 5000}", "since="],
)
def test_a_span_that_makes_no_sense_is_refused(user: Person, query: str) -> None:
    is_problem(user.http.get(f"{USAGE}?{query}"), 400, "bad_span")
    is_problem(user.server.admin().get(f"{ALL}?{query}"), 400, "bad_span")
