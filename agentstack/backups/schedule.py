"""Backups from time to time, in a process of their own: chats do not notice, and a crash there harms nothing."""

import os
import re
import sys
import time
from pathlib import Path

import orjson
import structlog
import trio

from agentstack.settings import Settings

PREFIX, SUFFIX = "agent-stack-", ".backup"
_NAME = re.compile(rf"{PREFIX}\d{{8}}T\d{{6}}Z{re.escape(SUFFIX)}")
_CHECK_SECONDS = 60.0
_RETRY_SECONDS = 900.0
"""After a failure: each attempt copies the whole log."""
_TAIL = 500

_logger = structlog.get_logger("backup")


async def keep_backups(settings: Settings) -> None:
    """Make a backup whenever the newest one is old enough, and remove those that are too many. Never returns."""
    folder = settings.backup_folder
    if folder is None:
        return
    while True:
        if _age(folder) >= settings.backup_every_hours * 3600:
            if await _make(folder, settings.stack_data_root):
                remove_old(folder, settings.backup_keep)
            else:
                await trio.sleep(_RETRY_SECONDS)
        await trio.sleep(_CHECK_SECONDS)


def existing(folder: Path) -> list[Path]:
    """Return the backups of the schedule, oldest first. Others in the folder are left alone."""
    return sorted(p for p in folder.glob(f"{PREFIX}*{SUFFIX}") if _NAME.fullmatch(p.name))


def remove_old(folder: Path, keep: int) -> None:
    """Remove all but the newest `keep` of the schedule's backups."""
    for path in existing(folder)[: -keep or None]:
        path.unlink(missing_ok=True)


def _age(folder: Path) -> float:
    newest = existing(folder)[-1:]
    return time.time() - newest[0].stat().st_mtime if newest else float("inf")


async def _make(folder: Path, data: Path) -> bool:
    """Make a backup and tell whether that went well."""
    path = folder / time.strftime(f"{PREFIX}%Y%m%dT%H%M%SZ{SUFFIX}", time.gmtime())
    command = [sys.executable, "-m", "agentstack", "backup", "create", str(path), "--gently", "--json"]
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        environment = {**os.environ, "STACK_DATA_ROOT": str(data)}  # It may have been named on the command line.
        done = await trio.run_process(
            command, env=environment, capture_stdout=True, capture_stderr=True, check=False
        )
    except OSError as error:
        _logger.error("backup_failed", path=str(path), error=str(error))  # noqa: TRY400 - the message says it all
        return False
    if done.returncode:
        _logger.error("backup_failed", path=str(path), error=done.stderr.decode(errors="replace")[-_TAIL:].strip())
        return False
    told = orjson.loads(done.stdout)
    _logger.info("backup_made", path=str(path), bytes=told["bytes"], left_out=len(told["left_out"]))
    return True
