"""supervisors.homes: an agent may do what it likes in its home, and a start touches nothing else for it."""

import json
import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from supervisors.engines.protocol import EngineError
from supervisors.homes.guarded import Owner
from supervisors.homes.home import Homes, owner_of
from tests.supervisors.home_setup import (
    ROOT,
    VALUES,
    as_nobody,
    backend,
    everything_in,
    make_homes,
    templated,
)

OTHER = (4242, 4343)
"""Somebody who is nobody here."""
LARGE = 256 << 10


@pytest.fixture
def homes(tmp_path: Path) -> Homes:
    return make_homes(tmp_path)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "data" / "users" / "ann" / "demo"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Return a folder that is no business of the agent's."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "config.json").write_text("precious")
    return folder


# -- Links ------------------------------------------------------------------------------------------------


def test_a_templated_file_that_is_a_link_is_replaced_not_followed(homes: Homes, home: Path, outside: Path) -> None:
    homes.prepare(templated(), home, VALUES)
    (home / "config.json").unlink()
    (home / "config.json").symlink_to(outside / "config.json")
    homes.prepare(templated(), home, VALUES)
    assert not (home / "config.json").is_symlink()
    assert json.loads((home / "config.json").read_text())["key"] == "k-1"
    assert (outside / "config.json").read_text() == "precious"


def test_a_second_name_of_a_file_outside_is_replaced_not_written_to(
    homes: Homes, home: Path, outside: Path
) -> None:
    homes.prepare(templated(), home, VALUES)
    (home / "config.json").unlink()
    (home / "config.json").hardlink_to(outside / "config.json")
    homes.prepare(templated(), home, VALUES)
    assert (outside / "config.json").read_text() == "precious"


def test_a_folder_that_is_a_link_is_refused_and_nothing_is_written_where_it_leads(
    homes: Homes, home: Path, outside: Path
) -> None:
    homes.prepare(templated(), home, VALUES)
    shutil.rmtree(home / "workspace")
    (home / "workspace").symlink_to(outside)
    with pytest.raises(EngineError, match=r"could not be made ready.*workspace.*a link in the way"):
        homes.prepare(templated(), home, VALUES)
    assert everything_in(outside) == {"config.json": "precious"}


@pytest.mark.parametrize("part", ["a", "a/b"])
def test_a_folder_to_be_mounted_that_is_a_link_is_refused(
    homes: Homes, home: Path, outside: Path, part: str
) -> None:
    declared = backend(mounts=[{"source": "{home}/a/b", "target": "/b"}])
    homes.prepare(declared, home, VALUES)
    shutil.rmtree(home / part)
    (home / part).symlink_to(outside)
    with pytest.raises(EngineError, match="a link in the way"):
        homes.prepare(declared, home, VALUES)
    assert everything_in(outside) == {"config.json": "precious"}


def test_a_home_that_is_a_link_is_refused_and_nothing_is_written_where_it_leads(
    homes: Homes, home: Path, outside: Path
) -> None:
    home.parent.mkdir(parents=True)
    home.symlink_to(outside)
    with pytest.raises(EngineError, match=r"could not be made ready.*a link in the way"):
        homes.prepare(templated(), home, VALUES)
    assert everything_in(outside) == {"config.json": "precious"}
    assert home.is_symlink()


@pytest.mark.parametrize("name", ["config.json", "workspace"])
def test_what_is_not_what_the_template_has_there_is_named(homes: Homes, home: Path, name: str) -> None:
    homes.prepare(templated(), home, VALUES)
    path = home / name
    if path.is_dir():
        shutil.rmtree(path)
        path.write_text("a file where a folder was")
    else:
        path.unlink()
        (path / "full").mkdir(parents=True)
    with pytest.raises(EngineError, match=name):
        homes.prepare(templated(), home, VALUES)
    assert not [p for p in home.iterdir() if p.name.startswith(".")]


# -- Owners -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "owner"),
    [
        ({}, None if (os.getuid(), os.getgid()) == (1000, 1000) else (1000, 1000)),
        ({"user": "4242:4343"}, OTHER),
        ({"chown": "4242:4343"}, OTHER),
        ({"user": "1:1", "chown": "4242:4343"}, OTHER),
        ({"user": "4242:4343", "chown": "{uid}:{gid}"}, None),
        ({"user": "{uid}:{gid}"}, None),
        ({"user": "4242:{gid}"}, (4242, os.getgid())),
        ({"user": "4242:4343", "engine": "process", "command": ["x"]}, None),
    ],
)
def test_a_home_belongs_to_whom_the_agent_runs_as(fields: dict[str, Any], owner: Owner | None) -> None:
    assert owner_of(backend(**fields)) == owner


def owners_in(home: Path) -> set[Owner]:
    return {(p.lstat().st_uid, p.lstat().st_gid) for p in (home, *home.rglob("*"))}


@contextmanager
def root_or_told_how() -> Iterator[None]:
    """Only root can give files away; anybody else is told how to arrange it."""
    if ROOT:
        yield
        return
    with pytest.raises(EngineError, match=r"must belong to 4242:4343, which only root can arrange"):
        yield


def test_a_home_and_all_in_it_belong_to_the_agent(homes: Homes, home: Path) -> None:
    declared = templated(user="4242:4343", mounts=[{"source": "{home}/a/b", "target": "/b"}])
    with root_or_told_how():
        for _ in range(2):
            homes.prepare(declared, home, VALUES)
            assert owners_in(home) == {OTHER}


def test_a_home_changes_hands_when_the_agent_becomes_somebody_else(homes: Homes, home: Path, outside: Path) -> None:
    homes.prepare(templated(), home, VALUES)
    (home / "link").symlink_to(outside / "config.json")
    (home / "folder").symlink_to(outside)
    with root_or_told_how():
        homes.prepare(templated(user="4242:4343"), home, VALUES)
        assert owners_in(home) == {OTHER}
    assert OTHER not in owners_in(outside)


def test_who_is_not_root_is_told_how_an_agent_can_be_somebody_else() -> None:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        homes = make_homes(folder)
        folder.chmod(0o777)
        home = folder / "users" / "demo"
        with as_nobody():
            with pytest.raises(EngineError) as error:
                homes.prepare(templated(user="4242:4343"), home, VALUES)
            assert "must belong to 4242:4343, which only root can arrange" in str(error.value)
            assert '"user": "{uid}:{gid}"' in str(error.value)
            assert not home.exists()
            homes.prepare(templated(user="{uid}:{gid}"), home, VALUES)
            assert (home / "config.json").is_file()


# -- The disk ---------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Yield a folder with room for nearly nothing: on a disk of its own or, who may not mount one, by a limit."""
    folder = tmp_path / "small"
    folder.mkdir()
    if ROOT:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", folder], check=True)
        yield folder
        subprocess.run(["umount", folder], check=True)
    else:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 10, before[1]))
        yield folder
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def large(homes: Homes) -> Path:
    """Return a file of the template for which a small disk has no room."""
    path = homes.templates / "seed" / "large"
    path.write_bytes(bytes(LARGE))
    return path


def make_read_only(disk: Path, folder: Path) -> None:
    """Root writes whatever the modes are, so its disk is made read-only; that of others cannot be."""
    if ROOT:
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    else:
        folder.chmod(0o500)


def test_a_template_for_which_the_disk_has_no_room_is_no_home(homes: Homes, large: Path, small_disk: Path) -> None:
    home = small_disk / "demo"
    with pytest.raises(EngineError, match=r"could not be made ready.*Is the disk full"):
        homes.prepare(templated(), home, VALUES)
    assert not home.exists()
    large.unlink()
    homes.prepare(templated(), home, VALUES)
    assert (home / "config.json").is_file()


def test_a_home_that_could_not_be_made_takes_no_room(homes: Homes, large: Path, small_disk: Path) -> None:
    assert large.exists()
    with pytest.raises(EngineError, match="Is the disk full"):
        homes.prepare(templated(), small_disk / "demo", VALUES)
    assert everything_in(small_disk) == {}


def test_a_templated_file_for_which_the_disk_has_no_room_is_still_the_old_one(
    homes: Homes, small_disk: Path
) -> None:
    home = small_disk / "demo"
    homes.prepare(templated(), home, VALUES)
    before = everything_in(home)
    with pytest.raises(EngineError, match="Is the disk full"):
        homes.prepare(templated(), home, {"NAME": "x" * LARGE, "KEY": "k-2"})
    assert everything_in(home) == before


def test_a_data_folder_that_is_read_only_is_told_of(homes: Homes, small_disk: Path) -> None:
    home = small_disk / "demo"
    make_read_only(small_disk, small_disk)
    with pytest.raises(EngineError, match=r"could not be made ready.*the data folder read-only"):
        homes.prepare(templated(), home, VALUES)


def test_a_home_that_is_read_only_is_told_of(homes: Homes, small_disk: Path) -> None:
    home = small_disk / "demo"
    homes.prepare(templated(), home, VALUES)
    make_read_only(small_disk, home)
    with pytest.raises(EngineError, match=r"could not be made ready.*the data folder read-only"):
        homes.prepare(templated(), home, VALUES)
