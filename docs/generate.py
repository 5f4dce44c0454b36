"""Write the parts of the documentation that come from the program: `python docs/generate.py`.

Whole files: docs/configuration.md, docs/cli.md, .env.example and seeds/backends.schema.json. In docs/http-api.md,
docs/operations.md and docs/backends.md, what stands between `<!-- generated -->` and `<!-- end -->`.
A test fails when any of them is out of date.
"""

import json
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import trio
from prometheus_client import REGISTRY
from pydantic.fields import FieldInfo

from agentstack.cli import cli
from agentstack.root import open_stack
from agentstack.settings import Settings
from domain.backends.container import ContainerOptions
from domain.backends.definition import Backend
from domain.backends.registry import json_schema
from web.app import make_app

ROOT = Path(__file__).resolve().parent.parent
NOTICE = "Generated from the program by `python docs/generate.py`; change it there."
INTRODUCTION = (
    "Settings come from environment variables and from a `.env` file in the folder where agent-stack is started; "
    "the environment wins. All of them are checked at start, and every mistake is listed in one message. Nothing "
    "has to be set. `agentstack doctor` tells how a set-up looks."
)
SECRETS = (
    "Secrets that are not set are made at the first start and kept in `<data folder>/secrets` with mode 0600. A "
    "secret that is set must have at least 32 random characters."
)
HIDDEN_METRIC = re.compile(r"^(python|process)_")
SIZES = {"memory", "shm_size", "log_max_size"}
Openapi = dict[str, Any]


def settings_table() -> str:
    """Return docs/configuration.md."""
    rows = [
        "# Configuration",
        "",
        INTRODUCTION,
        "",
        "| variable | default | what it is |",
        "| --- | --- | --- |",
    ]
    for name, field in Settings.model_fields.items():
        default = "" if field.default in (None, "", ()) else f"`{_plain(field.default)}`"
        rows.append(f"| `{name.upper()}` | {default} | {field.description} |")
    rows += [
        "",
        SECRETS,
        "",
        f"*{NOTICE}*",
        "",
    ]
    return "\n".join(rows)


def env_example() -> str:
    """Return .env.example."""
    lines = ["# Copy to .env and remove the # of what you change. Every setting has a default.", f"# {NOTICE}", ""]
    for name, field in Settings.model_fields.items():
        lines += [f"# {field.description}", f"#{name.upper()}={_plain(field.default)}", ""]
    return "\n".join(lines)


def cli_pages() -> str:
    """Return docs/cli.md."""
    parts = ["# Command line", "", "`agentstack`, also installed as `agent-stack`.", ""]
    for command, context in _commands(
        cli, click.Context(cli, info_name="agentstack", terminal_width=100, **cli.context_settings)
    ):
        parts += [f"## {context.command_path}", "", "```text", command.get_help(context), "```", ""]
    return "\n".join([*parts, f"*{NOTICE}*", ""])


def _commands(command: click.Command, context: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    yield command, context
    if isinstance(command, click.Group):
        for name, sub in command.commands.items():
            yield from _commands(sub, click.Context(sub, info_name=name, parent=context))


async def from_stack() -> tuple[Openapi, list[tuple[str, str, str]]]:
    """Return the OpenAPI document and (name, type, help) of every metric of a real, empty stack."""
    with tempfile.TemporaryDirectory() as folder:
        async with open_stack(Settings(_env_file=None, stack_data_root=Path(folder))) as stack:  # type: ignore[call-arg]
            app = make_app(stack.services, stack.guard)
            answer = await app.test_client().get("/openapi.json", scope_base={"agentstack.correlation": "docs"})
            document: Openapi = await answer.get_json()
            metrics = [
                (m.name + ("_total" if m.type == "counter" else ""), m.type, m.documentation)
                for m in REGISTRY.collect()
                if not HIDDEN_METRIC.match(m.name)
            ]
    return document, sorted(metrics)


def routes_table(document: Openapi) -> str:
    """Return the table of routes."""
    rows = ["| call | what it does |", "| --- | --- |"]
    for path, methods in sorted(document["paths"].items()):
        for method, operation in sorted(methods.items()):
            rows.append(f"| `{method.upper()} {path}` | {operation['summary']} |")
    return "\n".join(rows)


def metrics_table(metrics: list[tuple[str, str, str]]) -> str:
    """Return the table of metrics."""
    rows = ["| metric | type | what it counts |", "| --- | --- | --- |"]
    rows += [f"| `{name}` | {kind} | {text} |" for name, kind, text in metrics]
    return "\n".join(rows)


def keys_table(*, container: bool) -> str:
    """Return the table of the keys of a backend: those of its container, or all the others."""
    rows = ["| key | default | meaning |", "| --- | --- | --- |"]
    for name, field in Backend.model_fields.items():
        if (name in ContainerOptions.model_fields) is container:
            meaning = " ".join((field.description or "").split())
            rows.append(f"| `{name}` | {_default(name, field)} | {meaning} |")
    return "\n".join(rows)


def _default(name: str, field: FieldInfo) -> str:
    value = field.default
    if field.is_required() or value in (None, "", (), {}):
        return "required" if field.is_required() else ""
    if name in SIZES:
        return f"`{value // 2**20}m`"
    return f"`{json.dumps(value)}`"


def schema() -> str:
    """Return seeds/backends.schema.json."""
    return json.dumps(json_schema(), indent=2) + "\n"


def between_marks(path: Path, *tables: str) -> str:
    """Return a file's text with what is generated in it made anew: the first table between the first marks."""
    made = iter(tables)
    text = path.read_text(encoding="utf-8")
    return re.sub(
        r"(<!-- generated -->\n).*?(<!-- end -->)", lambda m: f"{m[1]}{next(made)}\n{m[2]}", text, flags=re.DOTALL
    )


def pages() -> dict[Path, str]:
    """Return every generated file with its text."""
    document, metrics = trio.run(from_stack)
    docs = ROOT / "docs"
    return {
        docs / "configuration.md": settings_table(),
        docs / "cli.md": cli_pages(),
        ROOT / ".env.example": env_example(),
        ROOT / "seeds" / "backends.schema.json": schema(),
        docs / "backends.md": between_marks(
            docs / "backends.md", keys_table(container=False), keys_table(container=True)
        ),
        docs / "http-api.md": between_marks(docs / "http-api.md", routes_table(document)),
        docs / "operations.md": between_marks(docs / "operations.md", metrics_table(metrics)),
    }


def _plain(value: object) -> str:
    if value in (None, ()):
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def main() -> None:
    """Write what is out of date; with --check, only name it, and fail if there is something."""
    stale = {
        path: text
        for path, text in pages().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    }
    only_check = "--check" in sys.argv[1:]
    for path, text in stale.items():
        sys.stdout.write(f"{path.relative_to(ROOT)}\n")
        if not only_check:
            path.write_text(text, encoding="utf-8")
    sys.exit(1 if stale and only_check else 0)


if __name__ == "__main__":
    main()
