"""Deletes a user on a data folder and ends itself with SIGKILL in the middle: `... <user id> <moment>`.

The settings come from the environment, as those of a server do.
"""

import os
import shutil
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import trio

from agentstack.root import Stack, open_stack
from agentstack.settings import load_settings
from domain.users.events import UserDeleted
from eventlog.envelope import Origin
from eventlog.log import FILE_NAME
from eventlog.writer import FAIL_POINTS
from projections.users import User
from supervisors.commands import deletion

NOTHING_YET = "before_commit"
MOMENTS = (NOTHING_YET, "after_commit", "stopping", "stopped", "half of the homes", "homes gone", "key gone")


def kill() -> None:
    """End as a crash would."""
    os.kill(os.getpid(), signal.SIGKILL)


def arrange(stack: Stack, user: User, moment: str) -> None:
    """Have this process end at a moment of a deletion."""
    services, deleting = stack.services, stack.services.deletion
    if moment in FAIL_POINTS:
        writer = services.log._writer
        assert writer is not None

        def reached(point: str) -> None:
            # Not at the commit of something else, such as of a runner that was adopted.
            if point == moment and (moment == NOTHING_YET or _tells_of_a_deletion(stack)):
                kill()

        writer._on_point = reached
    elif moment == "stopping":
        _before(services.pool, "dismiss")
    elif moment == "stopped":
        _before(services.usage, "forget")
    elif moment == "half of the homes":
        vars(deletion)["remove"] = _half_removed
    elif moment == "homes gone":
        _before(deleting._vault, "destroy")
    else:
        _before(services.log, "forget")
    assert services.views.users.find(user.id)


def _tells_of_a_deletion(stack: Stack) -> bool:
    path = stack.settings.stack_data_root / FILE_NAME
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT 1 FROM stored_events WHERE topic = ?"
        return connection.execute(query, (UserDeleted.TOPIC,)).fetchone() is not None


def _before(owner: Any, method: str) -> None:
    setattr(owner, method, lambda *_: kill())


async def _half_removed(folder: Path) -> str:
    for path in list(folder.iterdir())[:1]:
        shutil.copytree(path, folder.with_name("copy"))
    for path in folder.rglob("*"):
        if path.is_file():
            path.unlink()
            break
    shutil.move(folder.with_name("copy"), folder / "copy")
    kill()
    return ""


async def main(user_id: str, moment: str) -> None:
    """Delete the user."""
    async with open_stack(load_settings()) as stack:
        services = stack.services
        await services.turns.close_interrupted()
        await services.deletion.finish_interrupted()
        await services.pool.begin()
        adopted = [s.run_now for s in services.pool.all()]
        while any(run and not run.version for run in adopted) or services.log.statistics()["queued"]:
            await trio.sleep(0.01)
        await services.log.append(origin=Origin("system", "all that was asked for is written"))
        user = services.views.users.get(user_id)
        arrange(stack, user, moment)
        await services.deletion.delete(user, Origin("operator", "child"))
    raise AssertionError("it has survived")


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2])
