"""What the tests of homes share: a template, and looks into what was made of it."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from domain.backends.definition import Backend
from supervisors.homes.home import Homes

ROOT = os.getuid() == 0
NOBODY = 65534
VALUES = {"NAME": "Ann", "KEY": "k-1"}


def make_homes(folder: Path) -> Homes:
    """Return homes whose template `seed` holds a few files."""
    seed = folder / "declared" / "seed"
    (seed / "workspace" / "skills").mkdir(parents=True)
    (seed / "empty").mkdir()
    (seed / "config.json").write_text('{"name": "${NAME}", "key": "${KEY}", "own": "$${KEY}"}')
    (seed / "workspace" / "AGENTS.md").write_text("Hello ${NAME}")
    (seed / "workspace" / "notes.md").write_text("${NOT_TEMPLATED}")
    (seed / "workspace" / "skills" / "run.sh").write_text("#!/bin/sh\n")
    (seed / "workspace" / "skills" / "run.sh").chmod(0o755)
    return Homes(folder / "declared")


def backend(**fields: Any) -> Backend:
    """Return a backend whose homes are copies of the template."""
    return Backend.model_validate(
        {"name": "demo", "display_name": "Demo", "image": "x", "home_template": "seed", **fields}
    )


def templated(**fields: Any) -> Backend:
    """Return a backend two of whose files are filled."""
    return backend(templated_files=["config.json", "workspace/AGENTS.md"], **fields)


def mode(path: Path) -> int:
    """Return the permissions of a file or folder."""
    return stat.S_IMODE(path.lstat().st_mode)


def everything_in(folder: Path) -> dict[str, str]:
    """Return every file, folder and link below a folder, and what is in it."""
    found = {}
    for path in sorted(folder.rglob("*")):
        kind = f"-> {path.readlink()}" if path.is_symlink() else "/" if path.is_dir() else path.read_text()
        found[str(path.relative_to(folder))] = kind
    return found


@contextmanager
def as_nobody() -> Iterator[None]:
    """Be somebody without any rights, if we are root."""
    if not ROOT:
        yield
        return
    os.setresgid(NOBODY, NOBODY, 0)
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)
