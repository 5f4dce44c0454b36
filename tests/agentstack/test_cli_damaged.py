"""The command line on databases that a disk or somebody has damaged: words, and no traceback."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agentstack.test_cli import told
from tests.conftest import FAST_DEMO
from tests.harness.contract import new_email
from tests.harness.server import Server

PAGE = 4096
LEAF = 0x0D


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a log of several pages."""
    folder = tmp_path_factory.mktemp("history")
    with Server(folder, backends=[FAST_DEMO]) as server:
        for _ in range(6):
            server.sign_up(new_email())
    return folder


@pytest.fixture
def own(tmp_path: Path, history: Path) -> Iterator[Server]:
    """Return a server that does not run, on a copy of it."""
    shutil.copytree(history / "data", tmp_path / "data")
    server = Server(tmp_path, backends=[FAST_DEMO])
    yield server
    server.__exit__()


def _overwrite(path: Path, *, everything: bool) -> None:
    """Overwrite a database, or only its pages from the middle on."""
    data = path.read_bytes()
    kept = 0 if everything else len(data) // PAGE // 2 * PAGE
    path.write_bytes(data[:kept] + b"no database " * ((len(data) - kept) // 12))


def _overwrite_first_events(log: Path) -> None:
    data = log.read_bytes()
    pages = [data[n : n + PAGE] for n in range(0, len(data), PAGE)]
    damaged = next(n for n, page in enumerate(pages) if page[0] == LEAF and b"user.registered" in page)
    log.write_bytes(b"".join([*pages[:damaged], b"x" * PAGE, *pages[damaged + 1 :]]))


@pytest.mark.parametrize("everything", [True, False])
@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("events.db", "serve"),
        ("events.db", "backup create one.backup"),
        ("events.db", "audit verify"),
        ("events.db", "events list"),
        ("views.db", "serve"),
        ("views.db", "users list"),
        ("vault.db", "serve"),
        ("vault.db", "vault rotate"),
    ],
)
def test_a_database_that_is_none_or_damaged_is_told_in_words(
    own: Server, name: str, command: str, everything: bool
) -> None:
    _overwrite(own.data / name, everything=everything)
    run = own.cli(*command.split())
    said = told(run)
    assert run.returncode == 1
    assert ("file is not a database" if everything else "malformed") in said
    assert "backup" in said, "it says what to do"
    assert not (own.folder / "one.backup").exists()


@pytest.mark.parametrize("everything", [True, False])
def test_a_log_that_is_no_database_or_damaged_does_not_verify(own: Server, everything: bool) -> None:
    _overwrite(own.data / "events.db", everything=everything)
    run = own.cli("audit", "verify", "--json")
    assert run.returncode == 1
    assert json.loads(run.stdout)["ok"] is False


def test_the_log_is_whole_and_read_models_that_are_not_can_be_made_anew(own: Server) -> None:
    _overwrite(own.data / "views.db", everything=True)
    assert "agentstack projections rebuild" in told(own.cli("users", "list"))
    for command in ("audit verify", "projections rebuild", "users list"):
        run = own.cli(*command.split())
        assert run.returncode == 0, run.stderr


def test_a_damaged_page_of_the_log_is_named_by_the_position_of_what_was_there(own: Server) -> None:
    _overwrite_first_events(own.data / "events.db")
    run = own.cli("audit", "verify", "--json")
    found = json.loads(run.stdout)
    assert run.returncode == 1
    assert (found["ok"], found["position"]) == (False, 1)
    assert "the file is damaged" in found["problem"]
    for command in ("audit verify", "serve"):
        assert "does not verify at position 1" in told(own.cli(*command.split()))
