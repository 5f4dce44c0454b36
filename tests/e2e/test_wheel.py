"""What is built is what runs: the wheel in a clean environment, with nothing of this folder in reach."""

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.server import ROOT, Server

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of an environment that holds the wheel and what it asks for."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    python = folder / "venv" / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--require-hashes", "-r", str(ROOT / "requirements.lock")], check=True)
    subprocess.run([*pip, "--no-deps", str(wheel)], check=True)
    return python


def test_the_wheel_serves_the_page_and_its_agent(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(installed))
    server = Server(tmp_path)
    with contextlib.ExitStack() as stack:
        stack.push(server.__exit__)
        server.start(until="/healthz")  # There may be no Docker here: the demo agent does without.
        client = server.admin()
        page = client.get("/")
        assert "agent-stack" in page.text
        for path in ("/static/js/main.js", "/static/css/base.css", "/static/vendor/preact.js", "/static/icon.svg"):
            assert client.get(path).is_success, path
        question = {"model": "demo", "messages": [{"role": "user", "content": "Hello"}]}
        answer = client.post("/v1/chat/completions", json=question).json()
        assert "demo agent" in answer["choices"][0]["message"]["content"]


def test_the_commands_are_installed_under_both_names(installed: Path) -> None:
    for name in ("agentstack", "agent-stack"):
        done = subprocess.run(
            [str(installed.parent / name), "--version"], capture_output=True, text=True, check=True
        )
        assert done.stdout.startswith("agent-stack, version ")
