"""What a runner is made from."""

import sys
from pathlib import Path
from typing import Any

import pytest

from domain.backends.definition import Backend
from domain.errors import Unprocessable
from projections.agents import Agent
from projections.users import User
from projections.views import Views
from supervisors.runners.identity import RunnerMaker

AGENT = Agent("a1", "u1", "b", "Name", "", 1, 0, 0)
URLS = {"process": "http://127.0.0.1:1", "docker": "http://host:1"}
SECOND = Agent("a2", "u1", "b", "Name", "", 2, 0, 0)


def _user(**changes: Any) -> User:
    fields = dict.fromkeys(User.__slots__, "") | {
        "id": "u1",
        "email": "ann@example.org",
        "name": "Ann",
        "slug": "ann",
    }
    return User(**{**fields, **changes})


def _backend(**changes: Any) -> Backend:
    return Backend.model_validate(
        {"name": "b", "display_name": "B", "engine": "process", "command": ["b"], **changes}
    )


@pytest.fixture
def maker(tmp_path: Path) -> RunnerMaker:
    return RunnerMaker(Views(), tmp_path / "data", b"secret", URLS, "127.0.0.2")


def test_a_key_belongs_to_one_start_and_one_installation(maker: RunnerMaker, tmp_path: Path) -> None:
    other = RunnerMaker(Views(), tmp_path, b"another secret", URLS, "127.0.0.2")
    assert maker.key("r1") == maker.key("r1")
    assert len({maker.key("r1"), maker.key("r2"), other.key("r1")}) == 3


def test_names_and_homes_of_later_agents_carry_their_ordinal(maker: RunnerMaker) -> None:
    assert maker.home(_backend(), _user(), AGENT).name == "b"
    assert maker.home(_backend(), _user(), SECOND).name == "b-a2"
    assert maker.spec(_backend(), _user(), AGENT, "r1").name == "b-ann"
    assert maker.spec(_backend(container_prefix="c"), _user(), SECOND, "r1").name == "c-ann-a2"


def test_placeholders_are_filled_in(maker: RunnerMaker) -> None:
    backend = _backend(
        command=["{python}", "{home}/x", "{port}"], extra_env={"KEY": "{key}", "AT": "{home}:{port}"}
    )
    spec = maker.spec(backend, _user(), AGENT, "r1")
    assert spec.command == (sys.executable, f"{spec.home}/x", "{port}")
    assert spec.env["KEY"] == maker.key("r1")
    assert spec.env["AT"] == f"{spec.home}:{{port}}"


def test_an_agent_is_told_who_it_works_for(maker: RunnerMaker) -> None:
    env = maker.spec(_backend(api_key_env="OWN_KEY"), _user(), AGENT, "r1").env
    assert env["OWN_KEY"] == env["AGENT_STACK_RUNNER_API_KEY"] == maker.key("r1")
    assert (env["AGENT_USER_ID"], env["AGENT_USER_EMAIL"], env["AGENT_USER_NAME"]) == (
        "u1",
        "ann@example.org",
        "Ann",
    )
    assert env["AGENT_STACK_AGENT_ID"] == "a1"
    assert env["AGENT_STACK_CALLBACK_URL"] == "http://127.0.0.1:1"


def test_the_secrets_of_a_specification_are_not_shown(maker: RunnerMaker) -> None:
    spec = maker.spec(_backend(api_key_env="OWN_KEY"), _user(), AGENT, "r1")
    assert maker.key("r1") not in repr(spec)


@pytest.mark.parametrize(
    "change",
    [{"command": ["x"]}, {"extra_env": {"A": "1"}}, {"api_key_env": "KEY"}, {"engine": "docker", "image": "x"}],
)
def test_the_fingerprint_changes_with_what_a_runner_is_made_from(
    maker: RunnerMaker, change: dict[str, Any]
) -> None:
    before = maker.spec_hash(_backend(), _user(), AGENT)
    assert maker.spec_hash(_backend(**change), _user(), AGENT) != before
    assert maker.spec_hash(_backend(), _user(name="Anna"), AGENT) != before
    assert maker.spec_hash(_backend(), _user(), SECOND) != before


def test_the_fingerprint_does_not_change_with_what_only_the_router_uses(maker: RunnerMaker) -> None:
    changed = _backend(description="new", stop_grace_seconds=1, extra_models=["x"], history="last_user")
    assert maker.spec_hash(changed, _user(), AGENT) == maker.spec_hash(_backend(), _user(), AGENT)


def test_a_container_is_told_its_own_paths_and_an_address_that_it_can_reach(maker: RunnerMaker) -> None:
    spec = maker.spec(
        _backend(engine="docker", image="x", home="/opt/data", command=["{home}"]), _user(), AGENT, "r1"
    )
    assert spec.command == ("/opt/data",)
    assert spec.env["AGENT_STACK_CALLBACK_URL"] == "http://host:1"


def test_a_variable_without_a_value_is_named_with_where_to_set_it(maker: RunnerMaker) -> None:
    backend = _backend(user_overridable_env=["LLM_MODEL", "LLM_API_KEY"], extra_env={"LLM_MODEL": "m"})
    with pytest.raises(Unprocessable, match=r"LLM_API_KEY.*Settings, Keys") as caught:
        maker.spec(backend, _user(), AGENT, "r1")
    assert caught.value.fields["missing"] == ["LLM_API_KEY"]


@pytest.mark.parametrize("change", [{"image": "other"}, {"memory": "2g"}, {"templated_files": ["x"]}, {"cpus": 2}])
def test_the_fingerprint_of_a_container_covers_image_limits_and_files(
    maker: RunnerMaker, change: dict[str, Any]
) -> None:
    common = {"engine": "docker", "image": "x", "home_template": "t"}
    before = maker.spec_hash(_backend(**common), _user(), AGENT)
    assert maker.spec_hash(_backend(**{**common, **change}), _user(), AGENT) != before


def test_what_an_agent_printed_is_shown_without_its_secrets(maker: RunnerMaker) -> None:
    spec = maker.spec(_backend(extra_env={"LLM_API_KEY": "sk-123456", "NAME": "harmless"}), _user(), AGENT, "r1")
    told = spec.redacted(f"harmless sk-123456 {maker.key('r1')}")
    assert told == "harmless [LLM_API_KEY] [AGENT_STACK_RUNNER_API_KEY]"
