"""Where a value is never to be seen: answers, log lines, events, files."""

from collections.abc import Iterator

import httpx
import pytest

from tests.harness.contract import is_problem, new_email, operations
from tests.harness.keys import set_key, share
from tests.harness.server import Server
from tests.web.test_keys import BOTH, MODEL, TELLING

OWN, ONE, SHARED_VALUE = "own-value-0123456789", "backend-value-0123456789", "shared-value-0123456789"
VALUES = (OWN, ONE, SHARED_VALUE)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that logs all that it can."""
    env = {"LOG_LEVEL": "debug"}
    with Server(tmp_path_factory.mktemp("keys"), backends=[BOTH, MODEL, TELLING], env=env) as running:
        yield running


@pytest.fixture(scope="module")
def people(server: Server) -> list[httpx.Client]:
    """Return a user and the admin, who have values of every tier, and agents that were started with them."""
    user, admin = server.sign_up(new_email()), server.admin()
    set_key(admin, "LLM_BASE_URL", SHARED_VALUE)
    share(admin, "LLM_BASE_URL")
    set_key(user, "LLM_API_KEY", OWN)
    set_key(user, "LLM_API_KEY", ONE, "model")
    set_key(user, "OWN_TOKEN", OWN)
    for backend in ("both", "model"):
        assert user.post(f"/api/runners/{backend}/start").is_success
    return [user, admin]


def _told(text: str) -> list[str]:
    return [value for value in VALUES if value in text]


def test_no_answer_tells_a_value(server: Server, people: list[httpx.Client]) -> None:
    for client in people:
        for operation in operations(server):
            if operation.method == "get" and not operation.endless:
                assert _told(operation.call(client).text) == [], operation


def test_an_agent_that_prints_a_value_before_it_dies_does_not_tell_it(people: list[httpx.Client]) -> None:
    problem = is_problem(people[0].post("/api/runners/telling/start"), 502)
    assert "it is [OWN_TOKEN]" in problem["detail"]
    assert OWN not in str(problem)


def test_no_log_line_tells_a_value(server: Server, people: list[httpx.Client]) -> None:
    assert people
    assert '"path":"/api/me/env-overrides/LLM_API_KEY"' in server.errors().replace('": ', '":')
    assert _told(server.errors()) == []


def test_no_event_tells_a_value_to_who_looks_at_the_log(server: Server, people: list[httpx.Client]) -> None:
    assert people
    for arguments in (["events", "list", "--json", "--limit", "10000"], ["events", "list", "--limit", "10000"]):
        listed = server.cli(*arguments)
        assert listed.returncode == 0, listed.stderr
        assert "keys.set" in listed.stdout
        assert _told(listed.stdout) == []


def test_no_file_of_the_server_holds_a_value_in_the_clear(server: Server, people: list[httpx.Client]) -> None:
    assert people
    server.stop()  # All that is written to disk is on disk.
    try:
        files = [p for p in server.data.rglob("*") if p.is_file() and "users" not in p.parts]
        assert len(files) > 3
        assert [p.name for p in files if any(v.encode() in p.read_bytes() for v in VALUES)] == []
    finally:
        server.start()
