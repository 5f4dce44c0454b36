"""Generated requests of one user about the things of another: none is answered with them, and none changes them."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.core.result import Ok

from tests.conftest import FAST_DEMO
from tests.harness.contract import STREAMS, new_email
from tests.harness.faults import faults
from tests.harness.person import Person
from tests.harness.server import Server
from tests.harness.walk import Belongings

LIMITS = settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
KEYED = {**FAST_DEMO, "name": "keyed", "user_overridable_env": ["LLM_API_KEY"]}
LEFT_OUT = ("/auth/logout", "/auth/setup")
"""The end of this session, and what there is no right to."""
NAMED = ("agent_id", "conversation_id", "backend", "user_id")
"""Members of bodies that name something."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose agent has a variable."""
    with Server(tmp_path_factory.mktemp("tenants"), backends=[KEYED]) as running:
        yield running


@pytest.fixture(scope="module")
def first(server: Server) -> Iterator[Belongings]:
    """A user who has one of each thing."""
    with Person(server, "first") as person:
        yield Belongings.of(person, "keyed", "LLM_API_KEY")


def test_no_request_of_one_user_reaches_what_another_has(server: Server, first: Belongings) -> None:
    second = server.sign_up(new_email("second"))
    headers = {"authorization": f"Bearer {server.token(second)}"}
    before = first.snapshot()
    schema = schemathesis.openapi.from_dict(second.get("/openapi.json").json())
    schema.config.update(base_url=server.url)
    tried = []
    for result in schema.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()
        if operation.path in LEFT_OUT or (operation.method == "get" and operation.path.endswith(STREAMS)):
            continue
        tried.append(operation.path)

        @LIMITS
        @given(case=operation.as_strategy(), in_body=st.booleans())
        def fuzz(case: Any, in_body: bool) -> None:
            case.path_parameters = {n: first.ids.get(n, v) for n, v in (case.path_parameters or {}).items()}
            if in_body and isinstance(case.body, dict):
                case.body = {**case.body, **{n: first.ids[n] for n in NAMED}}
            response = case.call(headers=headers, timeout=30)
            assert response.status_code < 500 or response.status_code in {502, 503}, (case, response.text)
            sent = case.formatted_path + str(case.body)
            assert [m for m in first.marks if m in response.text and m not in sent] == [], case

        fuzz()
    assert len(tried) > 55
    assert first.snapshot() == before
    assert second.get("/auth/me").status_code == 200, "it was signed in to the end"
    assert faults(server) == []
