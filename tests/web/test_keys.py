"""/api/me/env-overrides and /api/admin/shared-env: values of variables in three tiers."""

from collections.abc import Iterator
from itertools import count
from typing import Any

import httpx
import pytest

from tests.conftest import FAST_DEMO
from tests.harness.contract import has_shape, is_openai_error, is_problem, new_email
from tests.harness.events import events
from tests.harness.keys import OVERRIDES, SHARED, effective, environment, put_key, set_key, share
from tests.harness.server import Server

BOTH = {**FAST_DEMO, "name": "both", "user_overridable_env": ["LLM_API_KEY", "LLM_BASE_URL"]}
MODEL = {
    **FAST_DEMO,
    "name": "model",
    "user_overridable_env": ["LLM_API_KEY", "LLM_MODEL"],
    "extra_env": {**FAST_DEMO["extra_env"], "LLM_MODEL": "small"},  # type: ignore[dict-item]
}
TELLING = {
    **FAST_DEMO,
    "name": "telling",
    "command": ["{python}", "-c", "import os, sys; print('it is', os.environ['OWN_TOKEN']); sys.exit(3)"],
    "user_overridable_env": ["OWN_TOKEN"],
}
VARS = ["LLM_API_KEY", "LLM_BASE_URL", "LLM_MODEL", "OWN_TOKEN"]
_numbers = count()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with backends that need values."""
    with Server(tmp_path_factory.mktemp("keys"), backends=[FAST_DEMO, BOTH, MODEL, TELLING]) as running:
        yield running


@pytest.fixture
def client(server: Server) -> httpx.Client:
    return server.sign_up(new_email())


@pytest.fixture
def admin(server: Server) -> Iterator[httpx.Client]:
    """The admin, who has set and shared nothing, before and after."""
    client = server.admin()
    yield client
    for scope, found in client.get(OVERRIDES).json()["overrides"].items():
        for name in found:
            client.delete(f"{OVERRIDES}/{name}", params={"backend": scope})
    for name in VARS:
        share(client, name, shared=False)


def secret() -> str:
    """Return a value that is nowhere else."""
    return f"sk-{next(_numbers):04}-nobody-may-see-this-9876"


def shown(value: str) -> str:
    return f"{value[:4]}••••••••{value[-4:]}"


# -- what is there ----------------------------------------------------------------------------------------


def test_whoever_has_set_nothing_sees_which_variables_there_are_and_where(client: httpx.Client) -> None:
    answer = client.get(OVERRIDES)
    assert answer.status_code == 200
    assert answer.json() == {
        "vars": VARS,
        "backends": {
            "LLM_API_KEY": ["both", "model"],
            "LLM_BASE_URL": ["both"],
            "LLM_MODEL": ["model"],
            "OWN_TOKEN": ["telling"],
        },
        "admin_shared": dict.fromkeys(VARS, False),
        "admin_shared_present": dict.fromkeys(VARS, False),
        "overrides": {},
        "effective": {
            "demo": {},
            "both": {
                "LLM_API_KEY": {"source": "unset", "masked": ""},
                "LLM_BASE_URL": {"source": "unset", "masked": ""},
            },
            "model": {
                "LLM_API_KEY": {"source": "unset", "masked": ""},
                "LLM_MODEL": {"source": "default", "masked": "•••••"},
            },
            "telling": {"OWN_TOKEN": {"source": "unset", "masked": ""}},
        },
    }


def test_the_nearest_value_counts(client: httpx.Client, admin: httpx.Client) -> None:
    values = {tier: f"{tier}-value-{secret()}" for tier in ("shared", "global", "backend")}
    set_key(admin, "LLM_MODEL", values["shared"])
    assert effective(client, "model")["LLM_MODEL"][0] == "default"
    share(admin, "LLM_MODEL")
    assert effective(client, "model")["LLM_MODEL"] == ("shared", shown(values["shared"]))
    set_key(client, "LLM_MODEL", values["global"])
    assert effective(client, "model")["LLM_MODEL"] == ("global", shown(values["global"]))
    set_key(client, "LLM_MODEL", values["backend"], "model")
    assert effective(client, "model")["LLM_MODEL"] == ("backend", shown(values["backend"]))
    client.delete(f"{OVERRIDES}/LLM_MODEL", params={"backend": "model"})
    client.delete(f"{OVERRIDES}/LLM_MODEL")
    assert effective(client, "model")["LLM_MODEL"][0] == "shared"


def test_a_value_for_one_backend_counts_for_no_other(client: httpx.Client) -> None:
    set_key(client, "LLM_API_KEY", secret(), "both")
    assert effective(client, "both")["LLM_API_KEY"][0] == "backend"
    assert effective(client, "model")["LLM_API_KEY"] == ("unset", "")


def test_a_value_for_all_backends_counts_for_each_that_has_the_variable(client: httpx.Client) -> None:
    value = secret()
    set_key(client, "LLM_API_KEY", value)
    for backend in ("both", "model"):
        assert effective(client, backend)["LLM_API_KEY"] == ("global", shown(value))
    assert client.get(OVERRIDES).json()["overrides"] == {"": {"LLM_API_KEY": shown(value)}}


def test_nobody_sees_or_uses_the_values_of_another_user(server: Server, client: httpx.Client) -> None:
    set_key(client, "LLM_API_KEY", secret())
    other = server.sign_up(new_email())
    assert other.get(OVERRIDES).json()["overrides"] == {}
    assert effective(other, "both")["LLM_API_KEY"] == ("unset", "")


@pytest.mark.parametrize(
    ("value", "masked"),
    [
        ("x", "•"),
        ("12345678", "••••••••"),
        ("123456789", "1234•6789"),
        ("1234567890", "1234••7890"),
        ("1234" + "x" * 500 + "7890", "1234••••••••7890"),
        ("äöüß€uro!", "äöüß•uro!"),
    ],
)
def test_a_value_is_shown_masked(client: httpx.Client, value: str, masked: str) -> None:
    set_key(client, "LLM_API_KEY", value, "both")
    assert client.get(OVERRIDES).json()["overrides"] == {"both": {"LLM_API_KEY": masked}}
    assert effective(client, "both")["LLM_API_KEY"] == ("backend", masked)


# -- setting and clearing ---------------------------------------------------------------------------------


@pytest.mark.parametrize("empty", ["", "  ", "\n\t"])
@pytest.mark.parametrize("scope", ["", "both"])
def test_an_empty_value_clears_it(client: httpx.Client, empty: str, scope: str) -> None:
    set_key(client, "LLM_API_KEY", secret(), scope)
    assert put_key(client, "LLM_API_KEY", empty, scope).json() == {"ok": True, "set": False}
    assert client.get(OVERRIDES).json()["overrides"] == {}


def test_a_value_loses_the_blanks_around_it(client: httpx.Client) -> None:
    set_key(client, "LLM_API_KEY", "  123456789\n")
    assert effective(client, "both")["LLM_API_KEY"] == ("global", "1234•6789")


def test_clearing_takes_one_scope_only_and_may_be_repeated(client: httpx.Client) -> None:
    value = secret()
    set_key(client, "LLM_API_KEY", value)
    set_key(client, "LLM_API_KEY", secret(), "both")
    for _ in range(2):
        answer = client.delete(f"{OVERRIDES}/LLM_API_KEY", params={"backend": "both"})
        assert (answer.status_code, answer.json()) == (200, {"ok": True})
    assert client.get(OVERRIDES).json()["overrides"] == {"": {"LLM_API_KEY": shown(value)}}


@pytest.mark.parametrize(
    ("name", "backend"),
    [("PATH", ""), ("llm_api_key", ""), ("LLM_MODEL", "both"), ("LLM_API_KEY", "demo"), ("AGENT_USER_ID", "both")],
)
def test_a_variable_that_may_not_be_set_is_refused(client: httpx.Client, name: str, backend: str) -> None:
    problem = is_problem(put_key(client, name, "value", backend), 400, "not_overridable")
    assert name in problem["detail"]
    is_problem(client.delete(f"{OVERRIDES}/{name}", params={"backend": backend}), 400, "not_overridable")
    assert client.get(OVERRIDES).json()["overrides"] == {}


def test_a_value_for_an_unknown_backend_is_not_found(client: httpx.Client) -> None:
    is_problem(put_key(client, "LLM_API_KEY", "value", "nope"), 404, "unknown_backend")
    is_problem(client.delete(f"{OVERRIDES}/LLM_API_KEY?backend=nope"), 404, "unknown_backend")


@pytest.mark.parametrize(
    ("value", "status"), [("a\0b", 400), ("x" * 8193, 400), (7, 422), (None, 422), (["x"], 422)]
)
def test_a_value_that_no_variable_can_have_is_refused(client: httpx.Client, value: Any, status: int) -> None:
    is_problem(client.put(f"{OVERRIDES}/LLM_API_KEY", json={"value": value}), status)
    raw = client.put(
        f"{OVERRIDES}/LLM_API_KEY", content=b'{"value": "\\ud800"}', headers={"content-type": "application/json"}
    )
    is_problem(raw, 422)
    assert client.get(OVERRIDES).json()["overrides"] == {}


def test_setting_the_same_value_again_is_no_change(server: Server, client: httpx.Client) -> None:
    value = secret()
    before = len(events(server, "keys.set"))
    for _ in range(3):
        set_key(client, "LLM_API_KEY", value)
    assert len(events(server, "keys.set")) == before + 1


# -- sharing ----------------------------------------------------------------------------------------------


def test_what_the_admin_shares_is_the_value_for_all_backends(client: httpx.Client, admin: httpx.Client) -> None:
    set_key(admin, "LLM_API_KEY", secret(), "both")
    share(admin, "LLM_API_KEY")
    found = client.get(OVERRIDES).json()
    assert found["admin_shared"]["LLM_API_KEY"] is True
    assert found["admin_shared_present"]["LLM_API_KEY"] is False
    assert found["effective"]["both"]["LLM_API_KEY"]["source"] == "unset"
    value = secret()
    set_key(admin, "LLM_API_KEY", value)
    assert effective(client, "both")["LLM_API_KEY"] == ("shared", shown(value))
    assert client.get(OVERRIDES).json()["admin_shared_present"]["LLM_API_KEY"] is True
    share(admin, "LLM_API_KEY", shared=False)
    assert effective(client, "both")["LLM_API_KEY"] == ("unset", "")
    assert client.get(OVERRIDES).json()["admin_shared"]["LLM_API_KEY"] is False


def test_the_admin_sees_what_is_shared_and_whether_there_is_a_value(admin: httpx.Client) -> None:
    set_key(admin, "LLM_MODEL", secret())
    set_key(admin, "LLM_API_KEY", secret(), "both")
    share(admin, "LLM_API_KEY")
    assert admin.get(SHARED).json() == {
        "vars": VARS,
        "shared": {"LLM_API_KEY": True, "LLM_BASE_URL": False, "LLM_MODEL": False, "OWN_TOKEN": False},
        "admin_has_value": {"LLM_API_KEY": False, "LLM_BASE_URL": False, "LLM_MODEL": True, "OWN_TOKEN": False},
    }


def test_no_other_users_value_is_ever_shared(server: Server, client: httpx.Client, admin: httpx.Client) -> None:
    set_key(client, "LLM_API_KEY", secret())
    share(admin, "LLM_API_KEY")
    for other in (server.sign_up(new_email()), admin):
        assert effective(other, "both")["LLM_API_KEY"] == ("unset", "")


def test_the_admins_own_agents_use_the_admins_values_unshared(admin: httpx.Client) -> None:
    set_key(admin, "LLM_API_KEY", secret())
    assert effective(admin, "both")["LLM_API_KEY"][0] == "global"


def test_only_the_admin_shares(client: httpx.Client, admin: httpx.Client) -> None:
    is_problem(client.put(f"{SHARED}/LLM_API_KEY", json={"shared": True}), 403, "admin_only")
    is_problem(client.get(SHARED), 403, "admin_only")
    is_problem(admin.put(f"{SHARED}/PATH", json={"shared": True}), 400, "not_overridable")
    assert admin.get(SHARED).json()["shared"] == dict.fromkeys(VARS, False)


# -- what agents get --------------------------------------------------------------------------------------


def test_a_start_without_a_value_names_all_that_is_missing_and_where_to_set_it(client: httpx.Client) -> None:
    problem = is_problem(client.post("/api/runners/both/start"), 422, "missing_values")
    assert problem["missing"] == ["LLM_API_KEY", "LLM_BASE_URL"]
    assert "LLM_API_KEY, LLM_BASE_URL" in problem["detail"]
    assert "Keys" in problem["detail"]
    chat = {"model": "both", "messages": [{"role": "user", "content": "hi"}]}
    error = is_openai_error(client.post("/v1/chat/completions", json=chat), 422, "missing_values")
    assert "LLM_API_KEY, LLM_BASE_URL" in error["message"]


def test_values_reach_the_next_start_without_a_restart_of_the_server(
    server: Server, client: httpx.Client, admin: httpx.Client
) -> None:
    own, shared = secret(), "http://shared.example.org/v1"
    for _ in range(4):  # However often it has failed: it is not the agent's fault.
        is_problem(client.post("/api/runners/both/start"), 422)
    set_key(client, "LLM_API_KEY", own, "both")
    assert is_problem(client.post("/api/runners/both/start"), 422)["missing"] == ["LLM_BASE_URL"]
    set_key(admin, "LLM_BASE_URL", shared)
    share(admin, "LLM_BASE_URL")
    started = client.post("/api/runners/both/start").json()["runner"]
    has_shape(started, {"host_port": int})
    env = environment(server, started["host_port"])
    assert (env["LLM_API_KEY"], env["LLM_BASE_URL"]) == (own, shared)
    assert "LLM_MODEL" not in env


def test_no_value_is_taken_from_the_servers_own_environment(server: Server) -> None:
    server.stop()
    server.env["LLM_API_KEY"] = server.env["LLM_BASE_URL"] = "from the environment"
    server.start()
    client = server.sign_up(new_email())
    is_problem(client.post("/api/runners/both/start"), 422, "missing_values")


def test_a_default_is_used_until_there_is_a_value(server: Server, client: httpx.Client) -> None:
    set_key(client, "LLM_API_KEY", secret())
    started = client.post("/api/runners/model/start").json()["runner"]
    assert environment(server, started["host_port"])["LLM_MODEL"] == "small"
