"""Starting and stopping the whole program."""

import re
import signal
import stat
from pathlib import Path

import httpx
import pytest

from tests.conftest import FAST_DEMO
from tests.harness.contract import new_email
from tests.harness.ports import AGENTS_HOST
from tests.harness.server import ADMIN, PASSWORD, Server

NO_ADMIN = {"BOOTSTRAP_ADMIN_EMAIL": "", "BOOTSTRAP_ADMIN_PASSWORD": ""}


def printed(server: Server) -> str:
    return (server.folder / "out.txt").read_text()


def test_the_first_start_makes_a_data_folder_for_its_owner_only(tmp_path: Path) -> None:
    with Server(tmp_path, backends=[FAST_DEMO]) as server:
        assert stat.S_IMODE(server.data.stat().st_mode) == 0o700
        assert stat.S_IMODE((server.data / "secrets").stat().st_mode) == 0o700
        assert printed(server) == f"agent-stack is running at {server.url}\n"


def test_without_an_admin_a_link_is_printed_that_makes_one_once(tmp_path: Path) -> None:
    with Server(tmp_path, backends=[FAST_DEMO], env=NO_ADMIN) as server:
        link = re.search(r"\(this link works once\): (\S+)/#/setup\?token=(\S+)\n", printed(server))
        assert link
        assert link[1] == server.url
        assert link[2] not in server.errors()
        body = {"email": "boss@example.org", "password": PASSWORD, "token": link[2]}
        client = server.client()
        answer = client.post("/auth/setup", json=body)
        assert answer.status_code == 200
        assert answer.json()["user"]["role"] == "admin"
        assert client.get("/api/admin/users").status_code == 200
        assert server.client().post("/auth/setup", json=body).status_code == 403
        assert server.stop() == 0
        (tmp_path / "out.txt").write_text("")
        server.start()
        assert "token" not in printed(server)


def test_each_start_without_an_admin_prints_a_new_link(tmp_path: Path) -> None:
    with Server(tmp_path, backends=[FAST_DEMO], env=NO_ADMIN) as server:
        server.stop()
        server.start()
        first, second = re.findall(r"token=(\S+)", printed(server))
        assert first != second
        body = {"email": "boss@example.org", "password": PASSWORD}
        assert server.client().post("/auth/setup", json={**body, "token": first}).status_code == 403
        assert server.client().post("/auth/setup", json={**body, "token": second}).status_code == 200


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_that_was_asked_for_ends_with_exit_code_0(tmp_path: Path, sig: signal.Signals) -> None:
    with Server(tmp_path, backends=[FAST_DEMO]) as server:
        client = server.sign_up(new_email())
        port = client.post("/api/runners/demo/start").json()["runner"]["host_port"]
        assert server.stop(sig) == 0
        assert "Traceback" not in server.errors()
        # This server was told to take its runners along.
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"http://{AGENTS_HOST}:{port}/health", trust_env=False)


def test_a_restarted_server_knows_its_users_their_sessions_and_its_admin(tmp_path: Path) -> None:
    with Server(tmp_path, backends=[FAST_DEMO]) as server:
        client = server.sign_up(new_email())
        agent = client.post("/api/agents", json={"backend": "demo", "name": "Kept"}).json()["agent"]
        server.stop()
        # The settings for the first admin mean nothing once there is one.
        server.env["BOOTSTRAP_ADMIN_PASSWORD"] = "another password"
        server.start()
        assert client.get("/api/agents").json()["agents"] == [agent]
        login = {"email": ADMIN[0], "password": ADMIN[1]}
        assert server.client().post("/auth/login", json=login).status_code == 200
        assert (
            server.client().post("/auth/login", json={**login, "password": "another password"}).status_code == 401
        )


def test_nothing_is_written_to_standard_output_but_the_address(tmp_path: Path) -> None:
    with Server(tmp_path, backends=[FAST_DEMO]) as server:
        server.sign_up(new_email())
        server.stop()
        assert len(printed(server).splitlines()) == 1


def test_notices_about_the_settings_are_logged_at_the_start(tmp_path: Path) -> None:
    with Server(tmp_path, backends=[FAST_DEMO], env={"REAPER_INTERVAL_SECONDS": "30"}) as server:
        notices = [r["text"] for r in server.records() if r["message"] == "notice"]
    assert [n for n in notices if "REAPER_INTERVAL_SECONDS" in n]
