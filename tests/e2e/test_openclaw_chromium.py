"""OpenClaw's browser tool, with the overlay that brings Chromium, under the same hardening as every agent."""

import json
import shutil
from pathlib import Path

import pytest

from tests.agents.upstream import Upstream
from tests.harness import agent_images, docker
from tests.harness.containers import ContainerServer
from tests.harness.person import Person
from tests.harness.server import ROOT

pytestmark = [pytest.mark.agents, pytest.mark.docker, pytest.mark.slow]
BACKEND = "openclaw-chromium"
START = 'call: tool_call {"id": "browser", "args": {"action": "start"}}'
PAGE = "<meta charset=utf-8><title>\u4f60\u597d</title><p id=p>drawn</p>"


def test_the_agent_starts_its_browser_and_has_fonts_for_many_scripts(tmp_path: Path) -> None:
    agent_images.build("openclaw")
    agent_images.build(BACKEND, base=False)
    with Upstream("0.0.0.0") as upstream:
        declared = json.loads((ROOT / "seeds" / "backends.json").read_text())["backends"]
        backend = next(b for b in declared if b["name"] == BACKEND)
        shutil.copytree(ROOT / "seeds" / backend["home_template"], tmp_path / backend["home_template"])
        model = f"http://host.docker.internal:{upstream.port}/v1"
        backend["extra_env"] |= {"LLM_BASE_URL": model, "LLM_API_KEY": "sk-scripted-1234", "LLM_MODEL": "m1"}
        offered = [{**backend, "disabled": False}]
        with ContainerServer(tmp_path, offered, {"ROUTER_BIND_HOST": "0.0.0.0"}) as server, Person(server) as user:
            conversation = user.conversation(BACKEND)
            assert user.await_turn(conversation, user.ask(conversation, START), 180) == "finished"
            told = user.messages(conversation)[-1][1].replace("\\", "")
            assert '"running": true' in told, told
            assert '"chosenBrowser": "chromium"' in told
            container = server.container(user, BACKEND)["Id"]
            for script in ("zh-cn", "ja", "ko", "und-zsye"):
                assert docker.execute(container, "fc-list", f":lang={script}")[1].strip(), script
            page = f"data:text/html,{PAGE}"
            options = "--headless --no-sandbox --disable-gpu --user-data-dir=/tmp/other --dump-dom"
            drawn = docker.execute(container, "sh", "-c", f"chromium {options} '{page}' 2>/dev/null")
            assert "drawn" in drawn[1]
