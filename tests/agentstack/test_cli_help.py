"""What the command line says of itself."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from agentstack.cli import cli

COMMANDS = {
    (): [
        *("serve", "doctor", "backends", "images", "events", "projections", "users", "vault"),
        *("audit", "backup", "replay", "compact", "import-legacy"),
    ],
    ("backends",): ["check", "schema"],
    ("backends", "check"): ["FILE"],
    ("backends", "schema"): ["JSON schema"],
    ("images",): ["list", "build", "pull"],
    ("images", "list"): ["--json"],
    ("images", "build"): ["BACKENDS", "--base-image", "--ca", "--arg", "--no-cache"],
    ("images", "pull"): ["BACKENDS"],
    ("serve",): ["SIGTERM", "--data", "--read-only"],
    ("doctor",): ["settings"],
    ("events",): ["list", "tail", "show", "streams", "export"],
    ("audit",): ["verify", "head", "key"],
    ("events", "list"): ["--stream", "--type", "--after", "--limit", "--json"],
    ("events", "tail"): ["--type", "--lines", "--json"],
    ("events", "show"): ["POSITION"],
    ("events", "streams"): ["PREFIX", "--limit"],
    ("audit", "verify"): ["hash chain", "--against", "--key", "--json"],
    ("audit", "head"): ["checkpoint"],
    ("audit", "key"): ["verifier key"],
    ("backup",): ["create", "verify", "restore"],
    ("backup", "create"): ["FILE", "--passphrase-file", "--homes", "--gently", "--json", "server runs"],
    ("backup", "verify"): ["FILE", "--passphrase-file", "--json"],
    ("backup", "restore"): ["FILE", "--passphrase-file", "--json", "must be empty"],
    ("replay",): ["--to", "--out", "--diff", "--json", "--read-only"],
    ("compact",): ["--usage-days", "--session-days", "--dry-run", "--json", "must not be running"],
    ("import-legacy",): ["DATABASE", "--users-root", "--dry-run", "--json"],
    ("projections",): ["status", "rebuild"],
    ("projections", "status"): ["read model"],
    ("projections", "rebuild"): ["must not be running"],
    ("users",): ["create", "list"],
    ("users", "create"): ["EMAIL", "--name", "--admin", "--password", "--json"],
    ("users", "list"): ["--json"],
    ("vault",): ["status", "rotate"],
    ("vault", "status"): ["master key", "server runs"],
    ("vault", "rotate"): ["--new-key-file", "must not be running"],
}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: " ".join(c) or "agentstack")
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_every_command_explains_itself(command: tuple[str, ...], flag: str) -> None:
    shown = CliRunner().invoke(cli, [*command, flag])
    assert shown.exit_code == 0
    for word in COMMANDS[command]:
        assert word in shown.output


def test_the_program_is_installed_under_two_names(tmp_path: Path) -> None:
    for name in ("agentstack", "agent-stack"):
        program = Path(sys.executable).parent / name
        shown = subprocess.run([program, "--version"], capture_output=True, text=True, check=True, cwd=tmp_path)
        assert re.fullmatch(r"agent-stack, version \d+\.\d+\.\d+\n", shown.stdout)
