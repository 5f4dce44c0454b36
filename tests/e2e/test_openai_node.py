"""The real `openai` package for Node as a client."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.agents.chunks import USAGE
from tests.harness.person import Person
from tests.harness.scripted import Gates
from tests.harness.server import ROOT

pytestmark = pytest.mark.node
SCRIPT = Path(__file__).with_name("openai_client.mjs")


@pytest.fixture(scope="module")
def node() -> str:
    """Return the program; the package comes with `npm ci`."""
    program = shutil.which("node")
    assert program, "Node.js is not installed"
    assert (ROOT / "node_modules" / "openai").is_dir(), "run `npm ci` first"
    return program


def test_the_node_package_is_served_as_the_python_one_is(user: Person, gates: Gates, node: str) -> None:
    command = [node, str(SCRIPT), f"{user.server.url}/v1", user.token]
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == "waiting\n"
        gates.await_gone("node")
        gates.await_reached("node-silent")
        out, _ = client.communicate("abort\n", timeout=60)
    assert client.returncode == 0
    gates.await_gone("node-silent")
    user.await_idle()
    found = json.loads(out)
    errors = found.pop("errors")
    assert found == {
        "models": ["scripted"],
        "model": "scripted",
        "chat": "hello ",
        "stream": {"text": "".join(f"{n} " for n in range(100)), "usage": USAGE},
        "beforeAbort": "node-0 ",
        "aborted": "APIUserAbortError",
    }
    assert errors == {
        "unknownModel": "NotFoundError",
        "wrongKey": "AuthenticationError",
        "noModel": "BadRequestError",
        "tooLarge": "APIError",
        "brokenStream": "APIError",
        "400": "BadRequestError",
        "401": "AuthenticationError",
        "403": "PermissionDeniedError",
        "404": "NotFoundError",
        "409": "ConflictError",
        "422": "UnprocessableEntityError",
        "429": "RateLimitError",
        "500": "InternalServerError",
    }
