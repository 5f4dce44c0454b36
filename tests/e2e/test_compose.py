"""The production start: the router's image, built from this tree and run as compose.yaml says."""

import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from agentstack import __version__
from agentstack.settings import Settings
from tests.harness.docker import BASE_IMAGE, execute, inspect
from tests.harness.ports import free_port
from tests.harness.server import ADMIN, PASSWORD, ROOT
from tests.harness.waiting import eventually

pytestmark = [pytest.mark.docker, pytest.mark.slow]

HOST_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def compose_command() -> list[str]:
    """Return how Docker Compose is called here: the plugin, or the program of before."""
    for command in (["docker", "compose"], ["docker-compose"]):
        with suppress(FileNotFoundError, subprocess.CalledProcessError):
            subprocess.run([*command, "version"], check=True, capture_output=True)
            return command
    raise AssertionError("Docker Compose is missing: docker-compose-plugin or docker-compose")


class Composed:
    """A copy of this tree, its image under a tag of its own, and its data. Leaves nothing but the build's cache."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        port, tag = free_port(), f"test-{secrets.token_hex(4)}"
        self.url, self.container = f"http://127.0.0.1:{port}", ""
        self.env = {
            **{k: v for k, v in os.environ.items() if k in {"PATH", "HOME"} or k.startswith("DOCKER_")},
            "COMPOSE_PROJECT_NAME": f"agent-stack-{tag}",
            "AGENT_STACK_VERSION": tag,
            "BASE_IMAGE": BASE_IMAGE,
            "ROUTER_BIND_HOST": "127.0.0.1",
            "ROUTER_PORT": str(port),
            "BOOTSTRAP_ADMIN_EMAIL": ADMIN[0],
            "BOOTSTRAP_ADMIN_PASSWORD": ADMIN[1],
        }
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
        for name in (n for n in names if n and (ROOT / n).is_file()):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
        if HOST_CERTIFICATES.is_file():
            shutil.copy(HOST_CERTIFICATES, folder / "extra-ca.crt")
            self.env["EXTRA_CA"] = "extra-ca.crt"

    def __call__(self, *args: str) -> str:
        """Run Docker Compose and return what it prints."""
        command = [*compose_command(), *args]
        done = subprocess.run(command, cwd=self.folder, env=self.env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def up(self) -> None:
        """Start the router, wait until it can work, and note its container's id."""
        self("up", "-d")
        self.container = self("ps", "-q", "router").strip()
        eventually(self._is_ready, f"{self.url} is ready")

    def _is_ready(self) -> bool:
        with suppress(httpx.HTTPError):
            return httpx.get(f"{self.url}/readyz", trust_env=False).is_success
        return False

    def sh(self, script: str) -> tuple[int, str]:
        return execute(self.container, "sh", "-c", script)

    @contextmanager
    def admin(self) -> Iterator[httpx.Client]:
        with httpx.Client(base_url=self.url, trust_env=False, timeout=60) as client:
            assert client.post("/auth/login", json={"email": ADMIN[0], "password": ADMIN[1]}).is_success
            yield client

    def remove(self) -> None:
        """Remove the container, the data and the image."""
        self("down", "--timeout", "5")
        # What lies in the data folder belongs to the container's root, who alone can remove it.
        self("run", "--rm", "--entrypoint", "find", "router", "/data", "-mindepth", "1", "-delete")
        self("down", "--rmi", "all")


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    """Return the router, running."""
    made = Composed(tmp_path_factory.mktemp("compose"))
    made("build")
    try:
        made.up()
        yield made
    finally:
        made.remove()


def test_compose_takes_every_setting_and_builds_the_version_of_this_tree(composed: Composed) -> None:
    composed("config", "-q")
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    assert {f.upper() for f in Settings.model_fields} <= set(re.findall(r"^      ([A-Z_]+):", text, re.MULTILINE))
    assert set(re.findall(r"AGENT_STACK_VERSION:-([^}]+)", text)) == {__version__}


def test_the_image_holds_the_seeds_and_what_images_are_built_from_but_no_tools(composed: Composed) -> None:
    files = [path for name in ("seeds", "images") for path in (composed.folder / name).rglob("*") if path.is_file()]
    wanted = " ".join(f"'{path.relative_to(composed.folder)}'" for path in files)
    assert composed.sh(f"cd /opt/agent-stack/lib/python3*/site-packages && ls -d {wanted} > /dev/null") == (0, "")
    assert composed.sh("command -v pip npm node gcc cc")[1] == ""


def test_the_router_has_few_rights_and_writes_only_where_its_data_is(composed: Composed) -> None:
    status = composed.sh("cat /proc/1/status")[1]
    assert re.search(r"CapBnd:\s+0*b\n", status), "CHOWN is 1, DAC_OVERRIDE is 2, FOWNER is 8"
    assert re.search(r"NoNewPrivs:\s+1\n", status)
    assert "Read-only" in composed.sh("touch /opt/agent-stack/x")[1]


def test_it_serves_the_page_and_the_demo_agent_and_becomes_healthy(composed: Composed) -> None:
    with composed.admin() as client:
        for path in ("/", "/healthz", "/static/js/main.js", "/static/vendor/preact.js"):
            assert client.get(path).is_success, path
        question = {"model": "demo", "messages": [{"role": "user", "content": "Hello"}]}
        answer = client.post("/v1/chat/completions", json=question).json()
        assert "demo agent" in answer["choices"][0]["message"]["content"]
    eventually(lambda: (inspect(composed.container) or {})["State"]["Health"]["Status"] == "healthy", "healthy")


def test_what_is_kept_outlives_the_container(composed: Composed) -> None:
    before = composed.container
    with composed.admin() as client:
        assert client.post("/api/admin/users", json={"email": "ann@example.org", "password": PASSWORD}).is_success
        composed("down")
        assert inspect(before) is None
        composed.up()
        users = client.get("/api/admin/users").json()["users"]
        assert {user["email"] for user in users} == {ADMIN[0], "ann@example.org"}
