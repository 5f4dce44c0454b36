"""`agentstack backends`."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from agentstack.cli import cli
from tests.conftest import FAST_DEMO
from tests.harness.server import ROOT


def run(*args: str) -> Result:
    return CliRunner().invoke(cli, ["backends", *args], env={"COLUMNS": "200"})


def declared(folder: Path, **changes: Any) -> str:
    path = folder / "backends.json"
    path.write_text(json.dumps({"backends": [{**FAST_DEMO, **changes}]}))
    return str(path)


def test_the_backends_that_are_shipped_are_in_order() -> None:
    shown = run("check", str(ROOT / "seeds" / "backends.json"))
    assert shown.exit_code == 0, shown.output
    assert "is in order" in shown.output
    for name in ("demo", "nanobot", "hermes", "openclaw"):
        assert name in shown.output


def test_a_file_of_ones_own_is_shown_as_it_was_understood(tmp_path: Path) -> None:
    shown = run("check", declared(tmp_path, name="mine", extra_models=["other"], disabled=True))
    assert shown.exit_code == 0, shown.output
    assert "mine (disabled)" in shown.output
    assert "mine, other" in shown.output


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"home_template": "nowhere"}, "nowhere"),
        ({"home_template": "seed", "templated_files": ["bad.json"]}, "bad.json"),
        ({"home_template": "seed", "templated_files": ["missing.md"]}, "missing.md"),
    ],
)
def test_a_template_that_cannot_be_used_is_told_of(tmp_path: Path, changes: dict[str, Any], word: str) -> None:
    (tmp_path / "seed").mkdir()
    (tmp_path / "seed" / "bad.json").write_text("{")
    shown = run("check", declared(tmp_path, **changes))
    assert shown.exit_code == 1
    assert word in shown.output


def test_a_link_in_a_template_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "seed").mkdir()
    (tmp_path / "seed" / "passwd").symlink_to("/etc/passwd")
    shown = run("check", declared(tmp_path, home_template="seed"))
    assert shown.exit_code == 1
    assert "passwd" in shown.output


def test_the_schema_is_the_one_that_is_shipped() -> None:
    shipped = (ROOT / "seeds" / "backends.schema.json").read_text()
    assert json.loads(run("schema").output) == json.loads(shipped)


def test_the_schema_knows_every_key_of_the_shipped_backends() -> None:
    known = json.loads(run("schema").output)["$defs"]["Backend"]["properties"]
    for backend in json.loads((ROOT / "seeds" / "backends.json").read_text())["backends"]:
        assert set(backend) <= set(known)
