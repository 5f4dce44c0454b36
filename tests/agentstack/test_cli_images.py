"""`agentstack images`, with a real Docker Engine."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.conftest import FAST_DEMO
from tests.harness.docker import BASE_IMAGE, engine_client, remove_image
from tests.harness.registry import Registry, layer
from tests.harness.server import Server

pytestmark = pytest.mark.docker


@pytest.fixture
def tag() -> Iterator[str]:
    """Return the name of an image that is removed afterwards."""
    name = f"agent-stack-test-cli:{uuid4().hex[:8]}"
    yield name
    remove_image(name)


def cli(folder: Path, backends: list[dict[str, Any]], *args: str) -> subprocess.CompletedProcess[str]:
    return Server(folder, backends=backends).cli("images", *args)


def buildable(tag: str) -> dict[str, Any]:
    return {"name": "mine", "display_name": "Mine", "build": {"folder": "mine", "image": tag}}


def dockerfile(folder: Path, text: str) -> None:
    (folder / "images" / "mine").mkdir(parents=True)
    (folder / "images" / "mine" / "Dockerfile").write_text(text)


def test_an_image_is_built_from_the_folder_beside_the_declaration(tmp_path: Path, tag: str) -> None:
    dockerfile(tmp_path, 'ARG BASE_IMAGE=nowhere\nFROM ${BASE_IMAGE}\nARG WORD\nLABEL word="${WORD}"\n')
    done = cli(tmp_path, [buildable(tag)], "build", "mine", "--base-image", BASE_IMAGE, "--arg", "WORD=hello")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Built {tag}." in done.stdout
    with engine_client() as engine:
        assert engine.images.get(tag).labels["word"] == "hello"
    (row,) = [json.loads(line) for line in cli(tmp_path, [buildable(tag)], "list", "--json").stdout.splitlines()]
    assert (row["backend"], row["image"], row["present"]) == ("mine", tag, True)


def test_certificates_are_put_into_the_build(tmp_path: Path, tag: str) -> None:
    (tmp_path / "own.crt").write_text("-----BEGIN CERTIFICATE-----\n")
    copy = "ARG EXTRA_CA=Dockerfile\nCOPY ${EXTRA_CA} /extra\nRUN grep -q '^-----BEGIN CERT' /extra\n"
    dockerfile(tmp_path, f"FROM {BASE_IMAGE}\n{copy}")
    assert cli(tmp_path, [buildable(tag)], "build", "mine", "--ca", str(tmp_path / "own.crt")).returncode == 0
    assert cli(tmp_path, [buildable(tag)], "build", "mine").returncode != 0


def test_a_build_that_fails_is_told_with_its_last_lines(tmp_path: Path, tag: str) -> None:
    dockerfile(tmp_path, f"FROM {BASE_IMAGE}\nRUN echo my last words && exit 3\n")
    done = cli(tmp_path, [buildable(tag)], "build", "mine")
    assert done.returncode != 0
    assert f"{tag} could not be built" in done.stderr
    assert "my last words" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_cannot_be_built_is_named(tmp_path: Path, tag: str) -> None:
    assert "No `build` is declared" in cli(tmp_path, [FAST_DEMO], "build", "demo").stderr
    assert "There is no Dockerfile" in cli(tmp_path, [buildable(tag)], "build", "mine").stderr
    assert "no backend 'none'" in cli(tmp_path, [buildable(tag)], "build", "none").stderr
    assert "NAME=VALUE" in cli(tmp_path, [buildable(tag)], "build", "mine", "--arg", "WORD").stderr


def test_an_image_is_pulled_with_its_progress(tmp_path: Path) -> None:
    with Registry() as registry:
        image = registry.add("cli/pulled:1", [layer({"file": b"text"})])
        pulled = {"name": "theirs", "display_name": "Theirs", "image": image}
        before = cli(tmp_path, [pulled], "list")
        assert "agentstack images pull theirs" in before.stdout
        done = cli(tmp_path, [pulled], "pull", "theirs")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "is here" in done.stdout
        missing = {**pulled, "image": image.replace("pulled", "missing")}
        refused = cli(tmp_path, [missing], "pull")
        assert refused.returncode != 0
        assert "could not be pulled" in refused.stderr


def test_an_engine_that_is_not_there_is_told_of(tmp_path: Path, tag: str) -> None:
    server = Server(tmp_path, backends=[buildable(tag)], env={"DOCKER_HOST": f"unix://{tmp_path}/none.sock"})
    done = server.cli("images", "list")
    assert done.returncode != 0
    assert "Docker Engine does not answer" in done.stderr


def test_the_doctor_tells_of_images_that_nobody_publishes(tmp_path: Path, tag: str) -> None:
    done = Server(tmp_path, backends=[buildable(tag)]).cli("doctor")
    assert done.returncode != 0
    assert "agentstack images build mine" in done.stdout
