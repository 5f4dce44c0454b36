"""Appending what the earlier agent-stack knew: all of it in one commit, or nothing."""

import hashlib
import os
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import trio

from agentstack.legacy.database import Legacy, read_legacy
from agentstack.legacy.plan import plan
from agentstack.root import Stack, open_stack
from agentstack.settings import Settings
from domain.imports.events import LegacyImported
from eventlog.envelope import Origin, StreamAppend
from eventlog.errors import EventLogError

STREAM = "import:legacy"
_BLOCK = 1 << 20
_COPYING = ".importing"


class ImportRefusedError(EventLogError):
    """Nothing was brought in; the message says why."""


@dataclass(slots=True)
class Report:
    """What was, or would be, brought in."""

    counts: Mapping[str, int]
    left: Mapping[str, int]
    problems: list[str]
    slugs: dict[str, str]
    events: int
    done: str = ""
    """"" for a dry run, `imported`, or `already` when this was done before."""
    homes: list[str] = field(default_factory=list)


async def import_legacy(settings: Settings, database: Path, users_root: Path | None, *, dry_run: bool) -> Report:
    """Bring a database in, and the homes below `users_root`. Raises ImportRefusedError.

    A second run of the same database copies the homes that are not there yet, and changes nothing else.
    """
    legacy = await trio.to_thread.run_sync(read_legacy, database)
    digest = await trio.to_thread.run_sync(_digest, database)
    async with open_stack(settings) as stack:
        appends, slugs = plan(legacy, stack.services.accounts.email_stream)
        report = Report(legacy.counts, legacy.left, legacy.problems, slugs, len(appends))
        homes = stack.settings.stack_data_root.absolute() / "users"
        copy = partial(_copy_homes, legacy, slugs, users_root, homes) if users_root else list
        done = await stack.services.log.read_stream(STREAM)
        if done:
            if done[0].event.digest != digest:
                raise ImportRefusedError(
                    f"Another database than {database} was brought in before, and there is room for one. To start "
                    "over with this one, import it into an empty data folder."
                )
            report.done = "already"
            if not dry_run:
                report.homes = await trio.to_thread.run_sync(copy)
            return report
        if dry_run or legacy.problems:
            return report
        if stack.services.log.position:
            raise ImportRefusedError(
                f"The data folder {settings.stack_data_root} is in use already: old events cannot come before new "
                "ones. Import into an empty folder, before the first start of the server."
            )
        await _append(stack, legacy, appends, digest)
        report.done = "imported"
        report.homes = await trio.to_thread.run_sync(copy)
    return report


async def _append(stack: Stack, legacy: Legacy, appends: list[StreamAppend], digest: str) -> None:
    users = [str(user["id"]) for user in legacy["users"]]
    done = StreamAppend(STREAM, 0, [LegacyImported(digest=digest, counts=legacy.counts)])
    try:
        for user_id in users:
            await trio.to_thread.run_sync(stack.vault.create, user_id)
        await stack.services.log.append(*appends, done, origin=Origin("operator", "import-legacy"))
    except BaseException:
        with trio.CancelScope(shield=True):
            for user_id in users:
                await trio.to_thread.run_sync(stack.vault.destroy, user_id)
        raise


def _copy_homes(legacy: Legacy, slugs: dict[str, str], source: Path, to: Path) -> list[str]:
    """Copy the homes that are there, links as links; return those that could not be copied.

    A home appears when it is whole: an attempt that failed, or was cut short, is made anew by the next import.
    """
    failed = []
    to.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial_copy = to / _COPYING
    for user in legacy["users"]:
        old = str(user["slug"])
        home, target = source / old, to / slugs.get(old, old)
        # A slug that is no name of a folder would lead to somebody else's home, or to something that is none.
        if old in {"", ".", ".."} or "/" in old or not home.is_dir() or target.exists():
            continue
        shutil.rmtree(partial_copy, ignore_errors=True)
        try:
            shutil.copytree(home, partial_copy, symlinks=True, ignore=_no_files)
            partial_copy.rename(target)
        except shutil.Error as error:  # Of each file: from, to, why.
            failed += [f"{file}: {why}" for file, _, why in error.args[0]]
        except OSError as error:
            failed.append(f"{home}: {error}")
    shutil.rmtree(partial_copy, ignore_errors=True)
    return [os.fsencode(line).decode(errors="replace") for line in failed]  # Names of files may be no text.


def _no_files(folder: str, names: list[str]) -> list[str]:
    """Return what is neither a file nor a folder nor a link: sockets and pipes of programs that have ended."""
    modes = {name: os.lstat(Path(folder, name)).st_mode for name in names}
    return [n for n, m in modes.items() if not (stat.S_ISREG(m) or stat.S_ISDIR(m) or stat.S_ISLNK(m))]


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(_BLOCK):
            digest.update(data)
    return digest.hexdigest()
