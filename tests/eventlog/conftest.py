"""Fixtures for the tests of the log."""

from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[EventDict]]:
    """Keep what is logged: printing a failed commit's traceback with all its locals takes longer than the test."""
    with capture_logs() as entries:
        yield entries
