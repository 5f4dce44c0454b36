"""An installation as it was at an earlier moment, in a folder of its own. All of it blocks."""

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from agentstack.settings import Settings
from agentstack.vaults import open_own_vault
from domain.catalogue import EVENT_TYPES
from domain.errors import Invalid
from eventlog.codec import EventMapper
from eventlog.log import FILE_NAME
from eventlog.reader import Reader
from eventlog.truncated import copy_until
from eventlog.vault import FILE_NAME as VAULT
from projections.views import rebuild


def parse_moment(text: str, reader: Reader) -> int:
    """Return the position that a moment means: a position, or a time such as 2026-11-25T14:30 (UTC unless it says).

    Raises Invalid.
    """
    if text.isdecimal():
        return min(int(text), reader.head().position)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid(
            f"{text!r} is neither a position in the log nor a time such as 2026-11-25T14:30.", code="bad_moment"
        ) from None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return reader.position_at(round(at.timestamp() * 1e6))


def replay_into(
    settings: Settings, folder: Path, position: int, out: Path, on_progress: Callable[[int], None]
) -> tuple[int, int]:
    """Make a folder with the log and the read models as they were; return the position and how many rows there are.

    It holds the installation's secrets too, which are needed to read it: keep it as the original.
    """
    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    last = copy_until(folder / FILE_NAME, position, out / FILE_NAME)
    shutil.copyfile(folder / VAULT, out / VAULT)
    (out / VAULT).chmod(0o600)
    if (folder / "secrets").is_dir():
        shutil.copytree(folder / "secrets", out / "secrets", dirs_exist_ok=True)
    vault = open_own_vault(settings, out)
    reader = Reader(out / FILE_NAME, EventMapper(EVENT_TYPES, vault))
    try:
        views = rebuild(out, reader, on_progress, vault)
    finally:
        reader.close()
        vault.close()
    return last, sum(len(table) for projection in views.all for table in projection.tables)
