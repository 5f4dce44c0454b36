"""The guide's three steps to a backend of one's own, done as they are written."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.containers import ContainerServer
from tests.harness.docker import engine_client, remove_image
from tests.harness.images import scripted_image
from tests.harness.person import Person
from tests.harness.server import ROOT

pytestmark = [pytest.mark.docker, pytest.mark.slow]
PROGRAM = """\
#!/usr/bin/env python3
import os, sys
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
os.environ |= {"DEMO_PORT": given["--port"], "DEMO_API_KEY": os.environ["MY_AGENT_KEY"]}
open(given["--home"] + "/started", "w").close()
os.execvp("python3", ["python3", "-m", "images.demo"])
"""


@pytest.fixture
def entry(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Return the entry that the guide shows, with its image made: an agent with the command line it declares."""
    guide = (ROOT / "docs" / "backends.md").read_text()
    block = re.search(r"## Add your own.*?```json\n(.*?)```", guide, re.DOTALL)
    assert block
    shown: dict[str, Any] = json.loads(block[1])
    context = tmp_path / "my-agent"
    context.mkdir()
    (context / "my-agent").write_text(PROGRAM)
    (context / "my-agent").chmod(0o755)
    (context / "Dockerfile").write_text(f"FROM {scripted_image()}\nCOPY my-agent /usr/local/bin/my-agent\n")
    with engine_client() as engine:
        engine.images.build(path=str(context), tag=shown["image"], rm=True, forcerm=True)
    yield shown
    remove_image(shown["image"])


def test_an_agent_of_ones_own_is_offered_after_the_three_steps(entry: dict[str, Any], tmp_path: Path) -> None:
    shipped = json.loads((ROOT / "seeds" / "backends.json").read_text())["backends"]
    demo = next(b for b in shipped if b["name"] == "demo")
    server = ContainerServer(tmp_path / "server", [demo, entry])
    checked = server.cli("backends", "check", server.env["BACKENDS_CONFIG_PATH"])
    assert checked.returncode == 0, checked.stderr
    assert "echo" in checked.stdout
    with server, Person(server, "own") as user:
        assert "echo" in {m.id for m in user.openai.models.list()}
        asked: Any = [{"role": "user", "content": "hello there"}]
        answer = user.openai.chat.completions.create(model="echo", messages=asked)
        assert "hello there" in (answer.choices[0].message.content or "")
        assert list(server.data.glob("users/*/echo/started"))
