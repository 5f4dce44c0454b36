"""Fixtures for tests against a whole server with the scripted agent."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.person import Person
from tests.harness.scripted import Gates, scripted_backend
from tests.harness.server import Server


@pytest.fixture(scope="module")
def gates(tmp_path_factory: pytest.TempPathFactory) -> Gates:
    """Return the folder that a module's scripted agents share with its tests."""
    return Gates(tmp_path_factory.mktemp("gates"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, gates: Gates) -> Iterator[Server]:
    """Return a running server with the scripted agent, shared by the tests of a module."""
    folder: Path = tmp_path_factory.mktemp("server")
    with Server(folder, backends=[scripted_backend(gates)], env={"MAX_BODY_MIB": "1"}) as running:
        yield running


@pytest.fixture
def user(server: Server) -> Iterator[Person]:
    """Return a new user, who has no runner yet."""
    with Person(server) as person:
        yield person
