"""What a runner is made from."""

import sys
from pathlib import Path
from typing import Any

import pytest

from domain.backends.definition import Backend
from projections.agents import Agent
from projections.users import User
from supervisors.engines.protocol import EngineError
from supervisors.runners.identity import RunnerMaker

AGENT = Agent("a1", "u1", "b", "Name", "", 1, 0, 0)
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
    return Backend.model_validate({"name": "b", "display_name": "B", "engine": "process", **changes})


@pytest.fixture
def maker(tmp_path: Path) -> RunnerMaker:
    return RunnerMaker(tmp_path / "data", tmp_path / "templates", b"secret", "http://127.0.0.1:1")


def test_a_key_belongs_to_one_start_and_one_installation(maker: RunnerMaker, tmp_path: Path) -> None:
    other = RunnerMaker(tmp_path, tmp_path, b"another secret", "")
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
    "change", [{"command": ["x"]}, {"extra_env": {"A": "1"}}, {"api_key_env": "KEY"}, {"engine": "docker"}]
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


def test_a_home_without_a_template_is_empty_and_private(maker: RunnerMaker) -> None:
    home = maker.home(_backend(), _user(), AGENT)
    maker.ensure_home(_backend(), home)
    assert list(home.iterdir()) == []
    assert home.stat().st_mode & 0o077 == 0


def test_a_home_is_copied_from_its_template_once(maker: RunnerMaker) -> None:
    backend = _backend(home_template="t")
    (maker.templates / "t" / "workspace").mkdir(parents=True)
    (maker.templates / "t" / "workspace" / "AGENTS.md").write_text("hello")
    home = maker.home(backend, _user(), AGENT)
    maker.ensure_home(backend, home)
    kept = home / "workspace" / "AGENTS.md"
    assert kept.read_text() == "hello"
    kept.write_text("changed by the agent")
    maker.ensure_home(backend, home)
    assert kept.read_text() == "changed by the agent"
    assert home.stat().st_mode & 0o077 == 0


def test_a_copy_that_was_cut_off_is_made_anew(maker: RunnerMaker) -> None:
    backend = _backend(home_template="t")
    (maker.templates / "t").mkdir(parents=True)
    (maker.templates / "t" / "config.json").write_text("{}")
    home = maker.home(backend, _user(), AGENT)
    unfinished = home.with_name(f".{home.name}.new")
    unfinished.mkdir(parents=True)
    (unfinished / "half").touch()
    maker.ensure_home(backend, home)
    assert [p.name for p in home.iterdir()] == ["config.json"]
    assert not unfinished.exists()


def test_a_missing_template_is_refused_in_words(maker: RunnerMaker) -> None:
    backend = _backend(home_template="missing")
    with pytest.raises(EngineError, match="home_template"):
        maker.ensure_home(backend, maker.home(backend, _user(), AGENT))
