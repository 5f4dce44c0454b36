"""Making a home from its template, and writing its templated files before every start. All of it blocks."""

import os
import shutil
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from domain.backends.definition import Backend
from domain.backends.template import TemplateError, render
from supervisors.engines.docker.container import numeric
from supervisors.engines.protocol import EngineError
from supervisors.homes import guarded
from supervisors.homes.guarded import Owner


@dataclass(frozen=True, slots=True)
class Homes:
    """`templates` is the folder that holds the home templates: the one of `backends.json`."""

    templates: Path

    def prepare(self, backend: Backend, home: Path, values: Mapping[str, str]) -> None:
        """Have a home ready for a start. `values` are the agent's variables. Raises EngineError."""
        owner = owner_of(backend)
        try:
            self._ensure(backend, home, owner)
            for name in backend.templated_files:
                guarded.write(home, name, self._rendered(backend, name, values), owner)
            for mount in backend.mounts:
                if mount.source.startswith("{home}/"):
                    with guarded.opened(home, mount.source.split("/")[1:], owner):
                        pass
        except OSError as error:
            raise EngineError(_in_words(home, owner, error)) from None

    def check(self, backend: Backend) -> None:
        """Raise EngineError unless a backend's template can be used, whatever the values of its variables."""
        template = self._template(backend)
        for path in template.rglob("*") if template else ():
            _refuse_link(backend, path)
        for name in backend.templated_files:
            self._rendered(backend, name, defaultdict(str))

    def _ensure(self, backend: Backend, home: Path, owner: Owner | None) -> None:
        if home.is_symlink() or not home.is_dir():
            home.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            unfinished = home.with_name(f".{home.name}.new")
            shutil.rmtree(unfinished, ignore_errors=True)
            try:
                self._copy(backend, unfinished)
                if owner:
                    guarded.give_to(unfinished, owner)
                unfinished.replace(home)
            except BaseException:
                shutil.rmtree(unfinished, ignore_errors=True)
                raise
        elif owner and (home.stat().st_uid, home.stat().st_gid) != owner:
            guarded.give_to(home, owner)

    def _copy(self, backend: Backend, to: Path) -> None:
        """Copy the template: folders and plain files, private to their owner."""
        template = self._template(backend)
        to.mkdir(mode=0o700)
        for source in sorted(template.rglob("*")) if template else ():
            target = to / source.relative_to(template or source)
            _refuse_link(backend, source)
            if source.is_dir():
                target.mkdir(mode=0o700)
            elif source.is_file():
                shutil.copyfile(source, target)
                target.chmod(0o700 if source.stat().st_mode & 0o100 else 0o600)

    def _rendered(self, backend: Backend, name: str, values: Mapping[str, str]) -> bytes:
        template = self._template(backend)
        if template is None:
            raise AssertionError("a templated file without a template")
        source = template / name
        try:
            if not source.resolve().is_relative_to(template.resolve()):
                raise TemplateError("it leads out of its folder")
            return render(source.read_text(encoding="utf-8"), source.suffix, values).encode()
        except (OSError, UnicodeDecodeError, TemplateError) as error:
            raise EngineError(
                f"The templated file {source} of backend {backend.name!r} cannot be used: {error}. "
                "Mend the file, or `templated_files` in backends.json."
            ) from None

    def _template(self, backend: Backend) -> Path | None:
        if backend.home_template is None:
            return None
        template = self.templates / backend.home_template
        if not template.is_dir() or template.is_symlink():
            raise EngineError(
                f"The home template {template} of backend {backend.name!r} does not exist. "
                "Create the folder, or mend `home_template` in backends.json."
            )
        return template


def owner_of(backend: Backend) -> Owner | None:
    """Return who a home belongs to, or None when that is the router's own user."""
    if backend.engine != "docker":
        return None
    user, group = numeric(backend.chown or backend.user).split(":")
    owner = (int(user), int(group))
    return None if owner == (os.getuid(), os.getgid()) else owner


def _refuse_link(backend: Backend, path: Path) -> None:
    if path.is_symlink():
        raise EngineError(f"The home template of {backend.name!r} holds a link: {path}. Put a file there.")


def _in_words(home: Path, owner: Owner | None, error: OSError) -> str:
    if isinstance(error, PermissionError) and owner and os.getuid() != 0:
        return (
            f"The home {home} must belong to {owner[0]}:{owner[1]}, which only root can arrange. Run agent-stack "
            f'as root (compose.yaml does) or as that user, or set "user": "{{uid}}:{{gid}}" in backends.json.'
        )
    where = error.filename or home
    return (
        f"The agent's home {home} could not be made ready: {error.strerror} ({where}). "
        "Is the disk full, the data folder read-only, or a link in the way?"
    )
