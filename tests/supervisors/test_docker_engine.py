"""The Docker engine passes the suite that every engine passes, against a real daemon."""

import pytest

from tests.supervisors.docker_setup import DockerRunners
from tests.supervisors.engine_conformance import EngineConformance

pytestmark = pytest.mark.docker


class TestDockerEngine(DockerRunners, EngineConformance):
    """It passes the suite; what else it does is in the test modules beside this one."""
