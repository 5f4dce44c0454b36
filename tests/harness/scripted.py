"""The scripted agent as a backend, and the gates and notes that it shares with a test."""

from pathlib import Path
from typing import Any

from tests.harness.server import ROOT
from tests.harness.waiting import eventually


def scripted_backend(gates: "Gates", env: dict[str, str] | None = None, **changes: Any) -> dict[str, Any]:
    """Return an entry of backends.json; `env` adds to the agent's environment."""
    own = {
        "SCRIPTED_HOST": "{host}",
        "SCRIPTED_PORT": "{port}",
        "SCRIPTED_FOLDER": str(gates.folder),
        "PYTHONPATH": str(ROOT),
    }
    return {
        "name": "scripted",
        "display_name": "Scripted agent",
        "engine": "process",
        "command": ["{python}", "-m", "tests.agents.scripted"],
        "extra_env": {**own, **(env or {})},
        "api_key_env": "SCRIPTED_KEY",
        "ready_path": "/v1/models",
        "stop_grace_seconds": 2,
        **changes,
    }


class Gates:
    """A folder in which a test opens gates and the agent leaves notes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def open(self, name: str, number: int = 0) -> None:
        """Let the agent go on."""
        (self.folder / f"{name}.{number}").touch()

    def await_reached(self, name: str, number: int = 0) -> None:
        """Wait until the agent stands before a gate."""
        eventually((self.folder / f"{name}.{number}.reached").exists, f"the agent reaches {name}.{number}")

    def await_gone(self, name: str, number: int = 0) -> None:
        """Wait until the agent has noticed, at a gate, that its client is gone."""
        eventually((self.folder / f"{name}.{number}.gone").exists, f"the agent sees {name}.{number} go")

    def note(self, name: str) -> str:
        """Return a note of the agent, "" before there is one."""
        path = self.folder / name
        return path.read_text() if path.exists() else ""
