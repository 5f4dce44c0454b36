"""`agentstack audit`: proof that nobody has changed the log."""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from eventlog.checkpoint import read_note
from tests.agentstack.test_cli import ok, told
from tests.conftest import FAST_DEMO
from tests.harness.contract import new_email
from tests.harness.server import Server


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a history."""
    folder = tmp_path_factory.mktemp("history")
    with Server(folder, backends=[FAST_DEMO]) as server:
        server.sign_up(new_email())
    return folder


@pytest.fixture
def own(tmp_path: Path, history: Path) -> Iterator[Server]:
    """Return a server that does not run, on a copy of it."""
    shutil.copytree(history / "data", tmp_path / "data")
    server = Server(tmp_path, backends=[FAST_DEMO])
    yield server
    server.__exit__()


def _note(server: Server) -> Path:
    path = server.folder / "checkpoint"
    path.write_text(ok(server.cli("audit", "head")), encoding="utf-8")
    return path


def _edit(server: Server, statement: str) -> None:
    with closing(sqlite3.connect(server.data / "events.db")) as connection, connection:
        assert connection.execute(statement).rowcount


def test_a_log_that_nobody_touched_verifies_while_the_server_runs(server: Server) -> None:
    said = ok(server.cli("audit", "verify"))
    assert "The log verifies" in said
    verified = json.loads(ok(server.cli("audit", "verify", "--json")))
    assert (verified["ok"], verified["against"]) == (True, None)
    assert verified["events"] > 3
    assert verified["head"][:16] in said


def test_the_head_is_a_checkpoint_that_the_key_has_signed_and_the_server_tells_the_same(server: Server) -> None:
    note, key = ok(server.cli("audit", "head")), ok(server.cli("audit", "key")).strip()
    checkpoint = read_note(note, key)
    verified = json.loads(ok(server.cli("audit", "verify", "--json")))
    assert (checkpoint.position, checkpoint.hash.hex()) == (verified["events"], verified["head"])
    shown = server.admin().get("/api/admin/audit/head").json()
    assert shown["key"] == key
    assert read_note(shown["checkpoint"], key).log == checkpoint.log


def test_a_log_that_went_on_still_fits_its_checkpoint(own: Server) -> None:
    note = _note(own)
    own.start()
    own.sign_up(new_email())
    assert "Nothing up to position" in ok(own.cli("audit", "verify", "--against", str(note)))
    key = ok(own.cli("audit", "key")).strip()
    found = json.loads(ok(own.cli("audit", "verify", "--json", "--against", str(note), "--key", key)))
    assert found["ok"]
    assert 0 < found["against"] < found["events"]


@pytest.mark.parametrize("json_", [False, True])
def test_a_change_is_named_with_its_position(own: Server, json_: bool) -> None:
    _edit(own, "UPDATE stored_events SET actor='user:other' WHERE position=2")
    run = own.cli("audit", "verify", *(["--json"] if json_ else []))
    said = told(run)
    assert run.returncode == 1
    if json_:
        found = json.loads(run.stdout)
        assert (found["ok"], abs(found["position"] - 2) <= 1) == (False, True)
        assert "does not verify" in found["problem"]
    else:
        assert "does not verify at position" in said


def test_a_value_of_another_type_is_a_change_and_no_crash(own: Server) -> None:
    _edit(own, "UPDATE stored_events SET state='{}' WHERE position=2")
    assert "does not verify" in told(own.cli("audit", "verify"))


def test_a_log_that_was_cut_off_fits_no_checkpoint(own: Server) -> None:
    note = _note(own)
    for statement in (
        "DELETE FROM stored_events WHERE position > (SELECT MIN(last_position) FROM commits)",
        "DELETE FROM commits WHERE last_position > (SELECT MIN(last_position) FROM commits)",
        "UPDATE sqlite_sequence SET seq = (SELECT MAX(last_position) FROM commits)",
    ):
        _edit(own, statement)
    ok(own.cli("audit", "verify"))
    assert "checkpoint" in told(own.cli("audit", "verify", "--against", str(note)))
    run = own.cli("audit", "verify", "--json", "--against", str(note))
    assert run.returncode == 1
    assert json.loads(run.stdout)["ok"] is False


@pytest.mark.parametrize("change", ["position", "empty", "text", "bytes", "other log"])
def test_a_file_that_is_no_checkpoint_of_this_log_is_refused(own: Server, history: Path, change: str) -> None:
    note = _note(own)
    text = note.read_text()
    lines = text.split("\n")
    if change == "position":
        note.write_text("\n".join([lines[0], "1", *lines[2:]]))
    elif change == "other log":
        other = Server(own.folder / "other", backends=[FAST_DEMO])
        with other:
            pass
        note = _note(other)
    else:
        note.write_bytes({"empty": b"", "text": b"hello\n\nworld\n", "bytes": bytes(range(256))}[change])
    said = told(own.cli("audit", "verify", "--against", str(note)))
    assert "checkpoint" in said
    assert str(history) not in said


@pytest.mark.parametrize("key", ["nonsense", "a+b+c", "", "\u00e4+\u00f6+\u00fc"])
def test_a_key_that_is_none_is_refused(own: Server, key: str) -> None:
    note = _note(own)
    run = own.cli("audit", "verify", "--against", str(note), "--key", key)
    if key:
        assert "key" in told(run)
    else:
        ok(run)


def test_a_checkpoint_with_the_key_of_another_installation_is_refused(own: Server) -> None:
    key = ok(own.cli("audit", "key")).strip()
    other = key[:-8] + ("AAAA" if key[-8:-4] != "AAAA" else "BBBB") + key[-4:]
    assert "checkpoint" in told(own.cli("audit", "verify", "--against", str(_note(own)), "--key", other))


def test_proofs_need_no_master_key(own: Server) -> None:
    """Whoever checks the log may not be trusted with what users wrote."""
    before = [ok(own.cli("audit", command)) for command in ("verify", "head", "key")]
    (own.data / "secrets" / "master").unlink()
    assert [ok(own.cli("audit", command)) for command in ("verify", "head", "key")] == before
    assert json.loads(ok(own.cli("audit", "verify", "--json")))["ok"]
    assert not (own.data / "secrets" / "master").exists()


def test_without_a_log_there_is_nothing_to_prove(tmp_path: Path) -> None:
    server = Server(tmp_path)
    for command in ("verify", "head", "key"):
        assert "There is no event log" in told(server.cli("audit", command))
    assert not server.data.exists()
