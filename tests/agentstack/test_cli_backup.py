"""`agentstack backup`, and backups on a schedule."""

import json
import os
import shutil
import stat
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from agentstack.cli import cli
from tests.agentstack.serving import digests, serving, stored
from tests.agentstack.test_cli import ok, told
from tests.conftest import FAST_DEMO
from tests.harness.person import Person
from tests.harness.server import ADMIN, Server
from tests.harness.waiting import eventually

PASSPHRASE = "a passphrase of some length"

ITS_FILE = "from the [bold] agent.txt"


class Running:
    """A server that runs, with a person who has said something, and who has a file in their home."""

    def __init__(self, folder: Path) -> None:
        self.server = Server(folder, backends=[FAST_DEMO]).start()
        self.person = Person(self.server, "ada")
        self.conversation = self.person.conversation("demo")
        turn = self.person.ask(self.conversation, "Is it kept?")
        assert self.person.await_turn(self.conversation, turn) == "finished"
        home = next(self.server.data.joinpath("users").iterdir())
        (home / ITS_FILE).write_text("kept")
        (home / "link").symlink_to(ITS_FILE)
        self.home = home.name

    def backup(self, name: str, *args: str) -> Path:
        """Make a backup."""
        path = self.server.folder / name
        ok(self.server.cli("backup", "create", str(path), *args))
        return path


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Return such a server."""
    found = Running(tmp_path_factory.mktemp("running"))
    with found.person:
        yield found
    found.server.__exit__()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Server]:
    """Return a server elsewhere, with nothing in its data folder yet."""
    server = Server(tmp_path / "other", backends=[FAST_DEMO])
    yield server
    server.__exit__()


@pytest.fixture
def passphrase(tmp_path: Path) -> Path:
    """Return a file with a passphrase."""
    path = tmp_path / "passphrase"
    path.write_text(f"{PASSPHRASE}\n")
    return path


def _signed_in(other: Server, running: Running) -> httpx.Client:
    """Return a client with the cookie that the person has from the first server."""
    return other.client(cookies=dict(running.person.http.cookies))


def test_a_backup_that_is_made_while_serving_can_be_restored_and_served_from(
    running: Running, other: Server
) -> None:
    """People stay signed in, and find their conversations, agents and files."""
    path = running.backup("one.backup")
    before = running.person.read(running.conversation)
    said = ok(other.cli("backup", "restore", str(path))).replace("\n", " ")
    assert "is restored" in said
    assert stat.S_IMODE((other.data / "secrets").stat().st_mode) == 0o700
    assert stat.S_IMODE(other.data.stat().st_mode) == 0o700
    assert not {p.name for p in other.data.iterdir()} - {"events.db", "vault.db", "secrets", "users"}
    other.start()
    client = _signed_in(other, running)
    restored = client.get(f"/api/conversations/{running.conversation}").json()
    assert restored["messages"] == before["messages"]
    assert restored["conversation"] == before["conversation"]
    agents = [[a["id"] for a in c.get("/api/agents").json()["agents"]] for c in (client, running.person.http)]
    assert agents[0] == agents[1] != []
    home = other.data / "users" / running.home
    assert (home / ITS_FILE).read_text() == "kept"
    assert (home / "link").readlink() == Path(ITS_FILE)
    admin = {"email": ADMIN[0], "password": ADMIN[1]}
    assert other.client().post("/auth/login", json=admin).is_success
    turn = client.post(f"/api/conversations/{running.conversation}/turns", json={"content": "Go on."})
    assert turn.status_code == 202, "it is an installation like any other"


def test_what_a_backup_is_told_of_it(running: Running) -> None:
    path = running.server.folder / "told.backup"
    made = json.loads(ok(running.server.cli("backup", "create", str(path), "--json")))
    assert made["bytes"] == path.stat().st_size
    assert made["homes"] is True
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    checked = json.loads(ok(running.server.cli("backup", "verify", str(path), "--json")))
    assert {k: checked[k] for k in ("version", "at", "log", "homes", "files")} == {
        k: made[k] for k in ("version", "at", "log", "homes", "files")
    }
    assert checked["events"] >= made["position"] > 5
    assert checked["keys"] == 2
    assert len(bytes.fromhex(checked["head"])) == 32
    assert "NOT encrypted" in ok(running.server.cli("backup", "create", str(path)))


def test_verifying_leaves_nothing_behind_and_changes_nothing(running: Running, tmp_path: Path) -> None:
    path = tmp_path / "alone" / "one.backup"
    path.parent.mkdir()
    shutil.copy(running.backup("alone.backup"), path)
    before = digests(path.parent)
    assert "is good" in ok(running.server.cli("backup", "verify", str(path)))
    assert digests(path.parent) == before


def test_without_homes_only_their_list_is_kept(running: Running, other: Server) -> None:
    path, whole = running.backup("no-homes.backup", "--no-homes"), running.backup("homes.backup")
    told_of = [json.loads(ok(other.cli("backup", "verify", str(p), "--json"))) for p in (path, whole)]
    assert [t["homes"] for t in told_of] == [False, True]
    assert told_of[0]["files"] < told_of[1]["files"]
    ok(other.cli("backup", "restore", str(path)))
    assert not (other.data / "users").exists()
    with serving(other):
        client = _signed_in(other, running)
        assert client.get(f"/api/conversations/{running.conversation}").is_success
        turn = client.post(f"/api/conversations/{running.conversation}/turns", json={"content": "A new home?"})
        assert turn.status_code == 202


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_what_an_agent_let_nobody_read_is_told(
    running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: list[str]
) -> None:
    real = tarfile.TarFile.gettarinfo

    def look(tar: tarfile.TarFile, path: Path, name: str) -> tarfile.TarInfo:
        if path.name == ITS_FILE:
            raise PermissionError(path)
        return real(tar, path, name)

    monkeypatch.setattr(tarfile.TarFile, "gettarinfo", look)
    command = ["backup", "create", str(tmp_path / "one.backup"), *flags]
    run = CliRunner().invoke(cli, command, env={"STACK_DATA_ROOT": str(running.server.data)})
    assert run.exit_code == 0, run.output
    name = f"users/{running.home}/{ITS_FILE}"
    if flags:
        assert json.loads(run.stdout)["left_out"] == [name]
    else:
        assert "1 left out" in run.stdout
        assert name in " ".join(run.stdout.split())
    ok(running.server.cli("backup", "verify", str(tmp_path / "one.backup")))


# -- passphrases ------------------------------------------------------------------------------------------


def test_an_encrypted_backup_needs_its_passphrase(running: Running, other: Server, passphrase: Path) -> None:
    path = running.backup("encrypted.backup", "--passphrase-file", str(passphrase))
    assert b"from the agent" not in path.read_bytes()
    assert "give its passphrase" in told(other.cli("backup", "restore", str(path)))
    wrong = passphrase.with_name("wrong")
    wrong.write_text("another passphrase of some length")
    assert "passphrase is wrong" in told(other.cli("backup", "restore", str(path), "--passphrase-file", str(wrong)))
    assert list(other.data.iterdir()) == []
    other.env["BACKUP_PASSPHRASE_FILE"] = str(passphrase)
    ok(other.cli("backup", "verify", str(path)))
    ok(other.cli("backup", "restore", str(path)))
    assert (other.data / "events.db").exists()


@pytest.mark.parametrize("content", [None, "", "short", b"\xff\xfe\xfd" * 20])
def test_a_passphrase_file_that_cannot_be_used_is_named(
    running: Running, tmp_path: Path, content: str | bytes | None
) -> None:
    path = tmp_path / "passphrase"
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    backup = tmp_path / "none.backup"
    said = told(running.server.cli("backup", "create", str(backup), "--passphrase-file", str(path)))
    assert "passphrase" in said
    assert not backup.exists()


# -- what is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["events.db", "something", ".hidden", "folder/"])
def test_a_folder_that_is_not_empty_is_not_restored_into(running: Running, other: Server, name: str) -> None:
    path = running.backup("refused.backup")
    other.data.mkdir(parents=True)
    if name.endswith("/"):
        (other.data / name).mkdir()
    else:
        (other.data / name).write_text("mine")
    before = digests(other.data)
    assert "not empty" in told(other.cli("backup", "restore", str(path)))
    assert digests(other.data) == before


def test_nothing_is_restored_under_a_running_server(running: Running) -> None:
    path = running.backup("under.backup")
    assert "not empty" in told(running.server.cli("backup", "restore", str(path)))
    assert running.person.read(running.conversation)


@pytest.mark.parametrize("damage", ["a byte", "cut short", "empty", "text"])
def test_a_damaged_backup_is_refused_and_leaves_an_empty_folder(
    running: Running, other: Server, tmp_path: Path, damage: str
) -> None:
    data = running.backup("damaged.backup").read_bytes()
    place = data.index(b"SQLite format 3") + 4096
    changes = {
        "a byte": data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :],
        "cut short": data[: len(data) // 2],
        "empty": b"",
        "text": b"This is no backup. " * 1000,
    }
    path = tmp_path / "damaged.backup"
    path.write_bytes(changes[damage])
    for command in ("verify", "restore"):
        said = told(other.cli("backup", command, str(path)))
        assert "damaged" in said or "not a backup" in said or "cut short" in said
    assert list(other.data.iterdir()) == []
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_a_backup_of_another_master_key_is_told_apart(running: Running, other: Server) -> None:
    """The master key is elsewhere there, and another one here."""
    path = running.backup("master.backup")
    other.env["AGENT_STACK_MASTER_KEY"] = "kD8sQ2vX7pLz1RfYw9TgBn4HjM6cUeA3oiVtSx5"
    assert "master key" in told(other.cli("backup", "verify", str(path)))
    assert "master key" in told(other.cli("backup", "restore", str(path)))
    assert list(other.data.iterdir()) == []


def test_a_file_or_folder_that_is_not_there_is_named(running: Running, other: Server, tmp_path: Path) -> None:
    assert "no-such" in told(other.cli("backup", "verify", str(tmp_path / "no-such")))
    assert "no-such" in told(running.server.cli("backup", "create", str(tmp_path / "no-such" / "x.backup")))
    assert "There is no event log" in told(other.cli("backup", "create", str(tmp_path / "x.backup")))


@pytest.mark.parametrize("size", [100, 300_000])
def test_a_full_disk_is_one_clear_message_and_leaves_the_old_backup(
    running: Running, tmp_path: Path, size: int
) -> None:
    """Of a disk that has so many bytes: it is full when the databases are copied, or when the file is written."""
    home = running.server.data / "users" / running.home
    (home / "large").write_bytes(os.urandom(600_000))
    path = tmp_path / "full" / "one.backup"
    path.parent.mkdir()
    path.write_text("the old one")
    script = 'ulimit -f $0 && exec "$@"'
    command = [sys.executable, "-m", "agentstack", "backup", "create", str(path)]
    run = subprocess.run(
        ["bash", "-c", script, str(max(1, size // 1024)), *command],
        env=running.server.env,
        cwd=running.server.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    (home / "large").unlink()
    assert len(told(run).strip().splitlines()) == 1
    assert path.read_text() == "the old one"
    assert [p.name for p in path.parent.iterdir()] == ["one.backup"]


# -- on a schedule ----------------------------------------------------------------------------------------


def _scheduled(folder: Path, **env: str) -> tuple[Server, Path]:
    backups = folder / "backups"
    env = {"BACKUP_FOLDER": str(backups), "BACKUP_EVERY_HOURS": "0.000001", "BACKUP_KEEP": "2", **env}
    return Server(folder, backends=[FAST_DEMO], env=env), backups


def _old(backups: Path, *names: str) -> None:
    backups.mkdir()
    for n, name in enumerate(names):
        (backups / name).write_text(name)
        os.utime(backups / name, (1_600_000_000 + n, 1_600_000_000 + n))


OLD = [f"agent-stack-2020010{n}T000000Z.backup" for n in (1, 2, 3)]


def test_a_backup_is_made_at_the_start_and_too_many_are_removed(tmp_path: Path) -> None:
    server, backups = _scheduled(tmp_path)
    _old(backups, *OLD, "notes.txt", "by-hand.backup")
    with serving(server):
        eventually(lambda: not (backups / OLD[1]).exists(), "the old ones are removed")
        left = sorted(p.name for p in backups.iterdir())
        assert left[:2] == [OLD[2], left[1]]
        assert left[2:] == ["by-hand.backup", "notes.txt"]
        assert stat.S_IMODE((backups / left[1]).stat().st_mode) == 0o600
        ok(server.cli("backup", "verify", str(backups / left[1])))
        assert [r for r in server.records() if r["message"] == "backup_made"]


def test_a_backup_that_somebody_put_beside_them_is_left_alone(tmp_path: Path) -> None:
    """Whatever it is called, it neither is removed nor keeps others from being made."""
    server, backups = _scheduled(tmp_path, BACKUP_KEEP="1")
    _old(backups, "agent-stack-before-the-upgrade.backup", "agent-stack-1.backup")
    (backups / "agent-stack-before-the-upgrade.backup").touch()
    server.env["BACKUP_EVERY_HOURS"] = "24"
    with serving(server):
        made = eventually(lambda: [r for r in server.records() if r["message"] == "backup_made"], "one is made")
        assert len(made) == 1
        assert {p.name for p in backups.iterdir()} >= {
            "agent-stack-before-the-upgrade.backup",
            "agent-stack-1.backup",
        }


def test_a_new_backup_is_not_made_before_its_time(tmp_path: Path) -> None:
    server, backups = _scheduled(tmp_path, BACKUP_EVERY_HOURS="24")
    with serving(server):
        eventually(lambda: list(backups.glob("*.backup")) if backups.exists() else [], "the first is made")
    with serving(server):
        assert server.client().get("/readyz").is_success
    assert len(list(backups.glob("*.backup"))) == 1


def test_a_backup_that_fails_is_logged_and_people_go_on(tmp_path: Path) -> None:
    server, backups = _scheduled(tmp_path, BACKUP_PASSPHRASE_FILE=str(tmp_path / "none"))
    _old(backups, *OLD[:2])
    with serving(server):
        failed = eventually(lambda: [r for r in server.records() if r["message"] == "backup_failed"], "it fails")
        assert "passphrase" in str(failed[0])
        assert server.sign_up("ada@example.org").get("/auth/me").is_success
        assert sorted(p.name for p in backups.iterdir()) == OLD[:2]


def test_the_folder_that_is_served_is_the_one_that_is_backed_up(tmp_path: Path) -> None:
    """Also if it was named on the command line."""
    server, backups = _scheduled(tmp_path)
    data = tmp_path / "served"
    with serving(server, "--data", str(data)):
        made = eventually(
            lambda: [r for r in server.records() if r["message"] in {"backup_made", "backup_failed"}], "it is tried"
        )
        assert [r["message"] for r in made] == ["backup_made"], made
        (path,) = backups.iterdir()
        other = Server(tmp_path / "other")
        other.folder.mkdir()
        ok(other.cli("backup", "restore", str(path)))
        assert stored(other.data)[0] == stored(data)[0]
