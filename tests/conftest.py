"""Fixtures for all tests."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from tests.harness.server import Server

FAST_DEMO = {
    "name": "demo",
    "display_name": "Demo agent",
    "engine": "process",
    "command": ["{python}", "-m", "images.demo"],
    "extra_env": {"DEMO_HOST": "{host}", "DEMO_PORT": "{port}", "DEMO_WORDS_PER_SECOND": "0"},
    "api_key_env": "DEMO_API_KEY",
    "ready_path": "/v1/models",
    "stop_grace_seconds": 2,
}
"""The demo agent without its pauses."""


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """Undo what a test has set up by calling the command line: that logs to a stream which is closed by then."""
    root, before = logging.getLogger(), structlog.get_config()
    level, handlers = root.level, list(root.handlers)
    yield
    structlog.configure(**before)
    root.setLevel(level)
    for handler in [h for h in root.handlers if h not in handlers and type(h) is logging.StreamHandler]:
        root.removeHandler(handler)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a running server with the demo agent, shared by the tests of a module."""
    folder: Path = tmp_path_factory.mktemp("server")
    with Server(folder, backends=[FAST_DEMO]) as running:
        yield running
