"""What holds for the whole tree: short files that explain themselves, and documentation that leaves nothing out."""

import ast
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from prometheus_client.parser import text_string_to_metric_families

from agentstack.cli import cli
from agentstack.settings import Settings
from tests.harness.contract import operations
from tests.harness.server import ROOT, Server

PACKAGES = ("agentstack", "domain", "eventlog", "images", "projections", "seeds", "supervisors", "web")
MOST_LINES = 400
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def document(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def commands(group: click.Group, prefix: str = "agentstack") -> Iterator[str]:
    """Yield the full name of every command."""
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_file_says_what_it_is_for_and_is_short_enough_to_read(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text)), f"{path}: no module docstring"
    assert len(text.splitlines()) <= MOST_LINES


@pytest.mark.parametrize("name", [f.upper() for f in Settings.model_fields])
def test_every_setting_is_in_the_example_and_in_the_documentation(name: str) -> None:
    lines = [line.lstrip("# ") for line in document(".env.example").splitlines()]
    assert [line for line in lines if line.startswith(f"{name}=")]
    assert f"`{name}`" in document("docs/configuration.md")


def test_every_metric_is_in_the_documentation(server: Server) -> None:
    text = document("docs/operations.md")
    families = text_string_to_metric_families(server.client().get("/metrics").text)
    ours = {
        f.name + ("_total" if f.type == "counter" else "")
        for f in families
        if f.name.startswith("agentstack_") and not f.name.endswith("_created")
    }
    assert len(ours) > 10
    assert not [name for name in sorted(ours) if f"`{name}`" not in text]


@pytest.mark.parametrize("command", list(commands(cli)))
def test_every_command_is_in_the_documentation(command: str) -> None:
    assert command in document("docs/cli.md")


def test_every_route_is_in_the_documentation(server: Server) -> None:
    text = document("docs/http-api.md")
    routes = [f"{o.method.upper()} {o.path}" for o in operations(server)]
    assert not [route for route in routes if f"`{route}`" not in text]
