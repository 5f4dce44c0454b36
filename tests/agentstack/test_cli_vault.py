"""`agentstack vault`, and what the server says of a vault that it cannot use."""

import shutil
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from agentstack.backups import installation
from agentstack.cli.vault import rotate
from agentstack.settings import SettingsError, load_settings
from domain.catalogue import EVENT_TYPES
from eventlog.backup.archive import Contents, Manifest, write_backup
from eventlog.codec import EventMapper
from eventlog.errors import WrongMasterKeyError
from eventlog.filter import Filter
from eventlog.reader import Reader
from eventlog.vault import Vault
from tests.agentstack.test_cli import ok, told
from tests.conftest import FAST_DEMO
from tests.harness.server import PASSWORD, Server
from tests.harness.waiting import eventually

FIRST = "kD8sQ2vX7pLz1RfYw9TgBn4HjM6cUeA3oiVtSx5"
SECOND = "zR4wK8nV2bQ7xT1mJ9cH5fL3dG6sP0aYeUoiBtW"
EMAIL = "ada@example.org"


@pytest.fixture(scope="module")
def folder_with_history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data folder, with the master key in it, that knows an admin and a user."""
    folder = tmp_path_factory.mktemp("history")
    with Server(folder, backends=[FAST_DEMO]) as server:
        client = server.sign_up(EMAIL)
        assert client.post("/api/conversations", json={"backend": "demo", "title": "Ships"}).is_success
    return server.data


@pytest.fixture
def stopped(tmp_path: Path, folder_with_history: Path) -> Iterator[Server]:
    """Return a server on a copy of that folder, which does not run."""
    shutil.copytree(folder_with_history, tmp_path / "data")
    server = Server(tmp_path, backends=[FAST_DEMO])
    yield server
    server.__exit__()


@pytest.fixture
def elsewhere(stopped: Server) -> Server:
    """Return one whose master key is in the environment."""
    with closing(Vault(stopped.data, _kept(stopped))) as vault:
        vault.rotate(FIRST)
    (stopped.data / "secrets" / "master").unlink()
    stopped.env["AGENT_STACK_MASTER_KEY"] = FIRST
    return stopped


def _kept(server: Server) -> str:
    return (server.data / "secrets" / "master").read_text().strip()


def _opens(server: Server, master: str) -> bool:
    try:
        Vault(server.data, master).close()
    except WrongMasterKeyError:
        return False
    return True


def _key_file(server: Server, text: str, name: str = "new-key") -> Path:
    path = server.folder / name
    path.write_text(text + "\n", encoding="utf-8")
    return path


def _works(server: Server) -> None:
    """Fail unless the server starts and can read what is encrypted."""
    server.start()
    with server.client() as client:
        assert client.post("/auth/login", json={"email": EMAIL, "password": PASSWORD}).is_success
        assert [c["title"] for c in client.get("/api/conversations").json()["conversations"]] == ["Ships"]
    assert server.stop() == 0


def _reads(server: Server, master: str = "") -> None:
    """Fail unless the vault opens with this key (that in the data folder by default) and reads the log."""
    with closing(Vault(server.data, master or _kept(server))) as vault:
        reader = Reader(server.data / "events.db", EventMapper(EVENT_TYPES, vault))
        titles = [r.event.title for r in reader.events(Filter(types=("conversation.started",)))]
        reader.close()
    assert titles == ["Ships"]


def _refused(server: Server) -> str:
    return told(server.cli("serve"))


# -- status -----------------------------------------------------------------------------------------------


def test_the_state_of_the_vault_is_shown_with_where_the_master_key_is(stopped: Server) -> None:
    shown = ok(stopped.cli("vault", "status")).replace("\n", "")
    assert "2 users have a key" in shown
    assert str(stopped.data / "secrets" / "master") in shown
    assert _kept(stopped) not in shown


def test_the_state_is_shown_while_the_server_runs_and_it_goes_on(stopped: Server) -> None:
    stopped.start()
    assert "2 users have a key" in ok(stopped.cli("vault", "status"))
    stopped.sign_up("bob@example.org")
    assert "3 users have a key" in ok(stopped.cli("vault", "status"))


def test_the_state_names_the_variable_or_the_file_but_not_what_is_in_it(elsewhere: Server) -> None:
    shown = ok(elsewhere.cli("vault", "status"))
    assert "AGENT_STACK_MASTER_KEY" in shown
    assert FIRST not in shown
    del elsewhere.env["AGENT_STACK_MASTER_KEY"]
    path = _key_file(elsewhere, FIRST)
    elsewhere.env["AGENT_STACK_MASTER_KEY_FILE"] = str(path)
    shown = ok(elsewhere.cli("vault", "status")).replace("\n", "")
    assert str(path) in shown
    assert FIRST not in shown


def test_without_a_log_there_is_no_vault_to_look_after(tmp_path: Path) -> None:
    server = Server(tmp_path)
    for command in ("status", "rotate"):
        assert "There is no event log" in told(server.cli("vault", command))
    assert not server.data.exists()


# -- rotate -----------------------------------------------------------------------------------------------


def test_a_key_in_the_data_folder_is_replaced_by_one_that_is_made(stopped: Server) -> None:
    before = _kept(stopped)
    assert "2 keys are wrapped" in ok(stopped.cli("vault", "rotate"))
    after = _kept(stopped)
    assert after != before
    assert (_opens(stopped, before), _opens(stopped, after)) == (False, True)
    assert not (stopped.data / "secrets" / "master.new").exists()
    assert stat.S_IMODE((stopped.data / "secrets" / "master").stat().st_mode) == 0o600
    _works(stopped)


def test_a_key_in_the_data_folder_can_be_replaced_by_one_of_your_own(stopped: Server) -> None:
    ok(stopped.cli("vault", "rotate", "--new-key-file", str(_key_file(stopped, SECOND))))
    assert _kept(stopped) == SECOND
    _reads(stopped)


def test_a_key_elsewhere_is_replaced_by_the_one_in_the_file_and_then_in_the_settings(elsewhere: Server) -> None:
    said = ok(elsewhere.cli("vault", "rotate", "--new-key-file", str(_key_file(elsewhere, SECOND))))
    assert "in the place of the old one" in said
    assert not (elsewhere.data / "secrets" / "master").exists(), "a key of yours is not kept in the data folder"
    assert not (elsewhere.data / "secrets" / "master.new").exists()
    assert "master key" in _refused(elsewhere)
    elsewhere.env["AGENT_STACK_MASTER_KEY"] = SECOND
    _works(elsewhere)


def test_a_key_elsewhere_is_not_replaced_without_a_new_one(elsewhere: Server) -> None:
    assert "--new-key-file" in told(elsewhere.cli("vault", "rotate"))
    _reads(elsewhere, FIRST)


@pytest.mark.parametrize("text", ["", "short", "x" * 64, "please-change-me-please-change-me-123456"])
@pytest.mark.parametrize("here", [True, False])
def test_a_new_key_that_is_not_good_enough_is_refused(
    stopped: Server, request: pytest.FixtureRequest, text: str, *, here: bool
) -> None:
    if not here:
        request.getfixturevalue("elsewhere")
    said = told(stopped.cli("vault", "rotate", "--new-key-file", str(_key_file(stopped, text))))
    assert "--new-key-file" in said
    assert not (stopped.data / "secrets" / "master.new").exists()
    _reads(stopped, "" if here else FIRST)


def test_a_new_key_with_letters_of_any_language_is_taken_or_refused_in_words(stopped: Server) -> None:
    run = stopped.cli(
        "vault", "rotate", "--new-key-file", str(_key_file(stopped, SECOND + "\u00e4\u00f6\u00fc\u2603"))
    )
    assert "Traceback" not in run.stdout + run.stderr
    _reads(stopped)


def test_keys_are_not_wrapped_anew_under_a_running_server(stopped: Server) -> None:
    stopped.start()
    before = _kept(stopped)
    assert "in use" in told(stopped.cli("vault", "rotate"))
    assert _kept(stopped) == before
    assert not (stopped.data / "secrets" / "master.new").exists()
    assert stopped.client().get("/readyz").is_success


def test_keys_are_not_wrapped_anew_while_a_backup_is_made_and_another_backup_may_be(
    stopped: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The backup would hold the vault of before and the key of afterwards."""
    before, said = _kept(stopped), []

    def write(to: Path, contents: Contents, about: dict[str, Any], passphrase: str) -> Manifest:
        said.append(told(stopped.cli("vault", "rotate")))
        ok(stopped.cli("backup", "create", str(stopped.folder / "another.backup")))
        return write_backup(to, contents, about, passphrase)

    monkeypatch.setattr(installation, "write_backup", write)
    installation.create(stopped.data, stopped.folder / "one.backup", passphrase="", homes=True)
    assert "A backup of it is being made" in said[0]
    assert _kept(stopped) == before
    assert not (stopped.data / "secrets" / "master.new").exists()
    _reads(stopped)
    for name in ("one", "another"):
        ok(stopped.cli("backup", "verify", str(stopped.folder / f"{name}.backup")))


def test_no_backup_is_made_while_keys_are_wrapped_anew(stopped: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    backup, real, said = stopped.folder / "one.backup", Vault.rotate, []

    def wrap(vault: Vault, master: str) -> int:
        said.append(told(stopped.cli("backup", "create", str(backup))))
        return real(vault, master)

    monkeypatch.setattr(Vault, "rotate", wrap)
    monkeypatch.setenv("STACK_DATA_ROOT", str(stopped.data))
    rotate.main([], standalone_mode=False)
    assert "Its master key is being changed" in said[0]
    assert not backup.exists()
    _reads(stopped)


def test_many_rotations_read_what_was_written_before_the_first(stopped: Server) -> None:
    for _ in range(3):
        ok(stopped.cli("vault", "rotate"))
    _reads(stopped)


# -- rotations that were killed ---------------------------------------------------------------------------


def _killed(server: Server, *, wrapped: bool) -> str:
    """Leave things as a kill does, before or after the keys were wrapped; return the new key."""
    (server.data / "secrets" / "master.new").write_text(SECOND + "\n")
    if wrapped:
        with closing(Vault(server.data, _kept(server))) as vault:
            vault.rotate(SECOND)
    return SECOND


@pytest.mark.parametrize("command", ["serve", "vault status", "vault rotate", "events list", "users list"])
def test_a_rotation_that_was_killed_before_its_last_step_is_finished_by_whatever_comes_next(
    stopped: Server, command: str
) -> None:
    new = _killed(stopped, wrapped=True)
    if command == "serve":
        _works(stopped)
    else:
        ok(stopped.cli(*command.split()))
    assert not (stopped.data / "secrets" / "master.new").exists()
    assert (_kept(stopped) == new) is (command != "vault rotate")
    _reads(stopped)


@pytest.mark.parametrize("command", ["serve", "vault status", "vault rotate"])
def test_a_rotation_that_was_killed_before_the_keys_were_wrapped_has_not_happened(
    stopped: Server, command: str
) -> None:
    old, new = _kept(stopped), _killed(stopped, wrapped=False)
    if command == "serve":
        _works(stopped)
    else:
        ok(stopped.cli(*command.split()))
    assert _kept(stopped) != new
    assert (_kept(stopped) == old) is (command != "vault rotate")
    _reads(stopped)


@pytest.mark.parametrize("text", ["", SECOND[:20]])
def test_a_new_key_of_which_a_kill_left_half_does_no_harm(stopped: Server, text: str) -> None:
    (stopped.data / "secrets" / "master.new").write_text(text)
    _works(stopped)
    ok(stopped.cli("vault", "rotate"))
    _reads(stopped)


# -- what the server says ---------------------------------------------------------------------------------


def test_a_wrong_master_key_is_refused_with_what_to_do(stopped: Server) -> None:
    (stopped.data / "secrets" / "master").write_text(SECOND)
    said = _refused(stopped).replace("\n", " ")
    for words in ("master key", "secrets/master", "AGENT_STACK_MASTER_KEY", "backup"):
        assert words in said
    assert SECOND not in said


def test_a_lost_master_key_is_refused_too(stopped: Server) -> None:
    kept = _kept(stopped)
    (stopped.data / "secrets" / "master").unlink()
    assert "master key" in _refused(stopped)
    (stopped.data / "secrets" / "master").write_text(kept)
    _reads(stopped)


def test_a_missing_vault_is_refused_with_what_to_do(stopped: Server) -> None:
    (stopped.data / "vault.db").rename(stopped.folder / "vault.db")
    said = _refused(stopped).replace("\n", " ")
    assert "vault.db is missing" in said
    assert "backup" in said
    (stopped.folder / "vault.db").rename(stopped.data / "vault.db")
    _reads(stopped)


def test_a_vault_that_is_older_than_the_log_is_refused_and_nobody_is_lost(stopped: Server) -> None:
    shutil.copy(stopped.data / "vault.db", stopped.folder / "old-vault.db")
    stopped.start()
    stopped.sign_up("bob@example.org")
    stopped.stop()
    (stopped.data / "vault.db").rename(stopped.folder / "vault.db")
    shutil.copy(stopped.folder / "old-vault.db", stopped.data / "vault.db")
    said = _refused(stopped).replace("\n", " ")
    assert "older than the log" in said
    assert "backup" in said
    shutil.copy(stopped.folder / "vault.db", stopped.data / "vault.db")
    stopped.start()
    login = {"email": "bob@example.org", "password": PASSWORD}
    eventually(lambda: stopped.client().post("/auth/login", json=login).is_success, "bob is still there")


def test_a_log_that_is_gone_for_a_moment_costs_no_key(stopped: Server) -> None:
    """Somebody starts the server on a folder into which the log was not restored yet."""
    for name in ("events.db", "views.db"):
        (stopped.data / name).rename(stopped.folder / name)
    stopped.start()
    stopped.stop()
    for name in ("events.db", "views.db"):
        for suffix in ("-wal", "-shm"):
            (stopped.data / f"{name}{suffix}").unlink(missing_ok=True)
        (stopped.folder / name).replace(stopped.data / name)
    _works(stopped)


def test_an_empty_vault_is_not_taken_for_that_of_an_encrypted_log(stopped: Server) -> None:
    """Else all that users wrote would silently count as erased."""
    (stopped.data / "vault.db").write_bytes(b"")
    (stopped.data / "views.db").unlink()
    refused = stopped.cli("serve")
    assert refused.returncode == 1
    assert "older than the log" in refused.stderr


# -- settings ---------------------------------------------------------------------------------------------


def test_the_key_and_a_file_of_it_cannot_both_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AGENT_STACK_MASTER_KEY", FIRST)
    monkeypatch.setenv("AGENT_STACK_MASTER_KEY_FILE", "/run/secrets/master")
    with pytest.raises(SettingsError, match="not both") as refused:
        load_settings()
    for name in ("AGENT_STACK_MASTER_KEY", "AGENT_STACK_MASTER_KEY_FILE"):
        assert name in str(refused.value)
    assert FIRST not in str(refused.value)


@pytest.mark.parametrize("text", [None, "", "short", "x" * 64])
def test_a_key_file_without_a_good_key_is_named(elsewhere: Server, text: str | None) -> None:
    del elsewhere.env["AGENT_STACK_MASTER_KEY"]
    path = elsewhere.folder / "no-such-file" if text is None else _key_file(elsewhere, text)
    elsewhere.env["AGENT_STACK_MASTER_KEY_FILE"] = str(path)
    said = _refused(elsewhere).replace("\n", "")
    assert "AGENT_STACK_MASTER_KEY_FILE" in said
    assert str(path) in said


def test_a_key_in_a_file_is_as_good_as_one_in_the_environment(elsewhere: Server) -> None:
    del elsewhere.env["AGENT_STACK_MASTER_KEY"]
    elsewhere.env["AGENT_STACK_MASTER_KEY_FILE"] = str(_key_file(elsewhere, f"  {FIRST}"))
    _works(elsewhere)
    assert not (elsewhere.data / "secrets" / "master").exists()
