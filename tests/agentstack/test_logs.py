"""What is logged, and what is nowhere to be found."""

import hashlib
import hmac
import json
import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import structlog

from agentstack.logs import configure_logging
from domain.catalogue import EVENT_TYPES
from eventlog.codec import EventMapper
from eventlog.filter import Filter
from eventlog.reader import Reader
from eventlog.vault import Vault
from tests.conftest import FAST_DEMO
from tests.harness.contract import new_email
from tests.harness.server import ADMIN, PASSWORD, Server
from tests.harness.waiting import eventually

LOGIN_SECRET = "zR4wK8nV2bQ7xT1mJ9cH5fL3dG6sP0aYeUoiBt"
INVITE = "the-invite-code-of-this-test"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that logs all it can, with secrets that a test can look for."""
    env = {"LOG_LEVEL": "debug", "JWT_SECRET": LOGIN_SECRET, "INVITE_CODE": INVITE}
    with Server(tmp_path_factory.mktemp("logs"), backends=[FAST_DEMO], env=env) as running:
        yield running


def test_every_line_of_the_log_is_json_with_a_level_and_a_time(server: Server) -> None:
    server.client().get("/healthz")
    lines = server.errors().splitlines()
    assert lines
    for line in lines:
        record = json.loads(line)
        assert {"level", "timestamp", "message"} <= set(record)


def test_lines_about_a_request_bear_its_id(server: Server) -> None:
    def records_of(path: str) -> list[dict[str, object]]:
        return [r for r in server.records() if r.get("path") == path]

    for path in ("/nope", "/v1/nope"):
        server.client().get(path, headers={"x-request-id": f"look{path.replace('/', '-')}"})
        (record,) = eventually(partial(records_of, path))
        assert record["correlation"] == f"look{path.replace('/', '-')}"
        assert record["message"] == "request"
        assert {"method", "status", "ms"} <= set(record)


def test_events_bear_the_id_of_the_request_that_brought_them_about(server: Server) -> None:
    admin = server.admin()
    answer = admin.post("/api/conversations", json={"backend": "demo"}, headers={"x-request-id": "mark-1"})
    assert answer.is_success
    listed = server.cli("events", "list", "--json", "--limit", "1000").stdout.splitlines()
    events = [json.loads(line) for line in listed]
    mine = [e for e in events if e["correlation"] == "mark-1"]
    assert [e["type"] for e in mine] == ["agent.created", "conversation.started"]
    assert {e["actor"] for e in mine} == {f"user:{admin.get('/auth/me').json()['user']['id']}"}


def test_no_secret_is_in_the_log_the_events_or_the_database(server: Server) -> None:
    email = new_email()
    client = server.client()
    body = {"email": email, "password": PASSWORD, "invite_code": INVITE}
    assert client.post("/auth/signup", json=body).is_success
    client.post("/auth/login", json={"email": email, "password": "a wrong password"})
    client.post("/auth/login", json={"email": "nobody@example.org", "password": "a wrong password"})
    client.post("/auth/signup", json={"email": "x", "password": PASSWORD, "invite_code": "a wrong invite"})
    token = server.token(client)
    bearer = {"authorization": f"Bearer {token}"}
    assert client.post("/api/runners/demo/start").is_success
    chat = {"model": "demo", "messages": [{"role": "user", "content": "hello"}]}
    assert server.client(headers=bearer).post("/v1/chat/completions", json=chat).is_success
    runner = next(p.name for p in (server.data / "runners").iterdir())
    secrets = {p.name: p.read_text().strip() for p in (server.data / "secrets").iterdir()}
    key = hmac.new(secrets["instance"].encode(), f"runner:{runner}".encode(), hashlib.sha256).hexdigest()
    hidden = [PASSWORD, ADMIN[1], "a wrong password", "a wrong invite", INVITE, LOGIN_SECRET, token, key]
    hidden += [*secrets.values(), token.rpartition(".")[2]]

    shown = server.cli("events", "list", "--json", "--limit", "10000").stdout
    assert "user.registered" in shown
    kept = b"".join(p.read_bytes() for p in server.data.glob("*.db*"))
    assert client.get("/auth/me").json()["user"]["id"].encode() in kept
    assert email.encode() not in kept
    written = server.errors() + (server.folder / "out.txt").read_text()
    for secret in hidden:
        assert secret not in written
        assert secret not in shown
        assert secret.encode() not in kept


def test_passwords_are_kept_as_argon2_hashes_and_shown_as_none_at_all(server: Server) -> None:
    vault = Vault(server.data, (server.data / "secrets" / "master").read_text().strip())
    reader = Reader(server.data / "events.db", EventMapper(EVENT_TYPES, vault))
    registered = reader.events(Filter(types=("user.registered",)))
    reader.close()
    vault.close()
    assert registered
    assert all(r.event.password_hash.startswith("$argon2id$") for r in registered)
    kept = b"".join(p.read_bytes() for p in server.data.glob("*.db*"))
    assert b"argon2" not in kept
    shown = server.cli("events", "list", "--json", "--limit", "10000").stdout
    assert "argon2" not in shown


def test_nothing_in_the_data_folder_is_open_to_other_users_of_the_machine(server: Server) -> None:
    assert server.data.stat().st_mode & 0o077 == 0
    for secret in (server.data / "secrets").iterdir():
        assert secret.stat().st_mode & 0o077 == 0


def test_a_log_for_people_is_no_json(tmp_path: Path) -> None:
    with Server(tmp_path, backends=[FAST_DEMO], env={"LOG_FORMAT": "console", "LOG_LEVEL": "warning"}) as server:
        server.client().get("/nope")
    assert not [line for line in server.errors().splitlines() if line.startswith("{")]
    assert "/nope" not in server.errors()


def test_a_text_in_the_log_is_cut_and_what_repeats_itself_is_told_once(capfd: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json")
    try:
        structlog.get_logger("test").info("long", text="x" * 100_000, number=7)
        for _ in range(100):
            logging.getLogger("trio.serve_listeners").error("accept returned EMFILE")
    finally:
        structlog.reset_defaults()
        logging.getLogger().handlers = []
    (long, *repeated) = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert long["text"].endswith("… (100000 characters)")
    assert (len(long["text"]) < 5000, long["number"]) == (True, 7)
    assert len(repeated) == 1
