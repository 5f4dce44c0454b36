"""supervisors.homes: how a home is made, and what of it every start writes anew."""

import json
import os
import shutil
from pathlib import Path

import pytest
from pydantic import ValidationError

from supervisors.engines.protocol import EngineError
from supervisors.homes.home import Homes
from tests.supervisors.home_setup import VALUES, backend, everything_in, make_homes, mode, templated


@pytest.fixture
def homes(tmp_path: Path) -> Homes:
    return make_homes(tmp_path)


@pytest.fixture
def seed(homes: Homes) -> Path:
    return homes.templates / "seed"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "data" / "users" / "ann" / "demo"


# -- A new home -------------------------------------------------------------------------------------------


def test_a_new_home_is_the_template_with_its_templated_files_filled(homes: Homes, home: Path) -> None:
    homes.prepare(templated(), home, VALUES)
    assert json.loads((home / "config.json").read_text()) == {"name": "Ann", "key": "k-1", "own": "${KEY}"}
    assert (home / "workspace" / "AGENTS.md").read_text() == "Hello Ann"
    assert (home / "workspace" / "notes.md").read_text() == "${NOT_TEMPLATED}"
    assert (home / "workspace" / "skills" / "run.sh").is_file()
    assert (home / "empty").is_dir()
    assert [p.name for p in home.parent.iterdir()] == ["demo"]


def test_a_home_without_a_template_is_an_empty_folder(homes: Homes, home: Path) -> None:
    homes.prepare(backend(home_template=None), home, {})
    assert everything_in(home) == {}


def test_only_its_owner_may_look_into_a_home_and_what_was_executable_stays_so(homes: Homes, home: Path) -> None:
    homes.prepare(templated(mounts=[{"source": "{home}/a/b", "target": "/b"}]), home, VALUES)
    folders = [home, home.parent, home / "workspace", home / "workspace" / "skills", home / "a", home / "a" / "b"]
    assert {str(f): mode(f) for f in folders} == {str(f): 0o700 for f in folders}
    assert mode(home / "workspace" / "notes.md") == 0o600
    assert mode(home / "config.json") == 0o600
    assert mode(home / "workspace" / "skills" / "run.sh") == 0o700


def test_modes_do_not_depend_on_the_umask(homes: Homes, home: Path) -> None:
    before = os.umask(0)
    try:
        homes.prepare(templated(), home, VALUES)
    finally:
        os.umask(before)
    modes = {mode(path) for path in home.rglob("*")}
    assert modes == {0o600, 0o700}


def test_the_folders_that_mounts_want_are_made_in_the_home(homes: Homes, home: Path) -> None:
    wanted = [{"source": "{home}/cache/models", "target": "/models"}, {"source": "/srv", "target": "/srv"}]
    homes.prepare(backend(mounts=wanted), home, VALUES)
    assert (home / "cache" / "models").is_dir()


# -- The next start ---------------------------------------------------------------------------------------


def test_at_the_next_start_only_the_templated_files_are_written_anew(homes: Homes, home: Path, seed: Path) -> None:
    homes.prepare(templated(), home, VALUES)
    (home / "config.json").write_text("spoiled")
    (home / "workspace" / "notes.md").write_text("mine")
    (home / "workspace" / "skills" / "run.sh").unlink()
    (home / "own").mkdir()
    (seed / "new.md").write_text("new")
    homes.prepare(templated(), home, {"NAME": "Anna", "KEY": "k-2"})
    assert json.loads((home / "config.json").read_text())["key"] == "k-2"
    assert (home / "workspace" / "AGENTS.md").read_text() == "Hello Anna"
    assert (home / "workspace" / "notes.md").read_text() == "mine"
    assert (home / "own").is_dir()
    assert not (home / "workspace" / "skills" / "run.sh").exists()
    assert not (home / "new.md").exists()


def test_a_templated_file_follows_its_template(homes: Homes, home: Path, seed: Path) -> None:
    homes.prepare(templated(), home, VALUES)
    (seed / "workspace" / "AGENTS.md").write_text("Good day ${NAME}")
    homes.prepare(templated(), home, VALUES)
    assert (home / "workspace" / "AGENTS.md").read_text() == "Good day Ann"


def test_a_folder_of_a_templated_file_that_the_agent_removed_is_made_again(homes: Homes, home: Path) -> None:
    homes.prepare(templated(), home, VALUES)
    shutil.rmtree(home / "workspace")
    homes.prepare(templated(), home, VALUES)
    assert everything_in(home / "workspace") == {"AGENTS.md": "Hello Ann"}


def test_a_templated_file_that_the_agent_opened_to_all_is_private_again(homes: Homes, home: Path) -> None:
    homes.prepare(templated(), home, VALUES)
    (home / "config.json").chmod(0o666)
    homes.prepare(templated(), home, VALUES)
    assert mode(home / "config.json") == 0o600


# -- The template -----------------------------------------------------------------------------------------


def test_a_template_with_a_link_is_refused_with_its_place(homes: Homes, home: Path, seed: Path) -> None:
    (seed / "workspace" / "passwd").symlink_to("/etc/passwd")
    with pytest.raises(EngineError, match=r"'demo' holds a link: .*workspace/passwd. Put a file there"):
        homes.prepare(templated(), home, VALUES)
    assert not home.exists()


def test_a_template_with_a_link_to_a_folder_is_refused(homes: Homes, home: Path, seed: Path) -> None:
    (seed / "more").symlink_to("/etc")
    with pytest.raises(EngineError, match="holds a link"):
        homes.prepare(templated(), home, VALUES)
    assert not home.exists()


def test_a_template_that_is_not_there_is_refused_with_what_to_mend(homes: Homes, home: Path) -> None:
    with pytest.raises(EngineError, match=r"other of backend 'demo' does not exist.*`home_template`"):
        homes.prepare(backend(home_template="other"), home, VALUES)


def test_a_templated_file_that_is_not_in_the_template_is_refused_with_what_to_mend(
    homes: Homes, home: Path
) -> None:
    with pytest.raises(EngineError, match=r"seed/other.json of backend 'demo'.*`templated_files`"):
        homes.prepare(backend(templated_files=["other.json"]), home, VALUES)


def test_a_templated_file_that_leads_out_of_the_template_is_refused(homes: Homes, home: Path, seed: Path) -> None:
    homes.prepare(backend(), home, VALUES)
    (seed / "config.json").unlink()
    (seed / "config.json").symlink_to("/etc/passwd")
    with pytest.raises(EngineError, match="leads out of its folder"):
        homes.prepare(templated(), home, VALUES)


def test_a_templated_file_that_is_no_text_is_refused(homes: Homes, home: Path, seed: Path) -> None:
    (seed / "config.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(EngineError, match=r"config.json of backend 'demo' cannot be used"):
        homes.prepare(templated(), home, VALUES)


def test_a_variable_without_a_value_is_named_with_its_file(homes: Homes, home: Path) -> None:
    with pytest.raises(EngineError, match=r"config.json.*the variable KEY has no value"):
        homes.prepare(templated(), home, {"NAME": "Ann"})


def test_a_value_is_not_in_what_is_said_about_its_file(homes: Homes, home: Path, seed: Path) -> None:
    (seed / "config.yaml").write_text("key: '${KEY}'\nother: '${MISSING}'\n")
    with pytest.raises(EngineError, match="MISSING") as error:
        homes.prepare(backend(templated_files=["config.yaml"]), home, {"KEY": "sk-very\nsecret"})
    assert "sk-very" not in str(error.value)


@pytest.mark.parametrize("name", ["../config.json", "/etc/passwd", "a/../../b", "a//b"])
def test_a_name_that_leads_out_of_the_home_is_refused_by_the_definition(name: str) -> None:
    with pytest.raises(ValidationError):
        backend(templated_files=[name])
    with pytest.raises(ValidationError):
        backend(home_template=name)
    with pytest.raises(ValidationError):
        backend(mounts=[{"source": f"{{home}}/{name}", "target": "/x"}])


def test_pipes_and_sockets_of_a_template_are_left_out(homes: Homes, home: Path, seed: Path) -> None:
    os.mkfifo(seed / "pipe")
    homes.prepare(templated(), home, VALUES)
    assert not (home / "pipe").exists()


class Killed(BaseException):
    """The process ends here."""


def test_a_home_whose_making_was_cut_short_is_not_there_and_the_next_start_makes_all_of_it(
    homes: Homes, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:

        def cut(*_: object) -> None:
            assert (home.with_name(".demo.new") / "config.json").exists()
            raise Killed

        copy = shutil.copyfile
        patched.setattr(shutil, "copyfile", lambda a, b: copy(a, b) if Path(a).name == "config.json" else cut())
        with pytest.raises(Killed):
            homes.prepare(templated(), home, VALUES)
    assert not home.exists()
    homes.prepare(templated(), home, VALUES)
    assert (home / "workspace" / "notes.md").is_file()
    assert [p.name for p in home.parent.iterdir()] == ["demo"]


def test_a_templated_file_whose_writing_was_cut_short_is_still_the_old_one(
    homes: Homes, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    homes.prepare(templated(), home, VALUES)
    before = everything_in(home)

    def cut(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", cut)
        with pytest.raises(Killed):
            homes.prepare(templated(), home, {"NAME": "Anna", "KEY": "k-2"})
    assert everything_in(home) == before
