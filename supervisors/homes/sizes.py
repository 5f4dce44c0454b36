"""How much agents' homes take on disk.

`du` measures it, in a process of its own: a home may hold millions of files, and folders in folders without end.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import structlog
import trio

from projections.users import User
from projections.views import Views

INTERVAL_SECONDS = 300.0
_AGAIN_SECONDS = 10.0
"""How long after a measurement the next one is made for who asks for it."""
_MOST_SECONDS = 600.0
_FILE_BYTES = 4096
"""What a file counts for at least: an empty one takes a place, too."""

_logger = structlog.get_logger("homes")


class HomeSizes:
    """Measures the homes of every user every few minutes. `users` is the folder that holds a folder for each."""

    def __init__(self, users: Path, views: Views) -> None:
        self._users = users
        self._views = views
        self._known: dict[str, int] = {}
        self._asked: set[str] = set()
        self._called = trio.Event()

    def of(self, user_id: str) -> int | None:
        """Return the bytes that were measured last for a user, None when nothing was yet of what there is."""
        known, user = self._known.get(user_id), self._views.users.find(user_id)
        is_none = known is None and user is not None and not (self._users / user.slug).exists()
        return 0 if is_none else known

    def ask(self, user_id: str) -> None:
        """Have a user's homes measured again soon: files may have been removed."""
        self._asked.add(user_id)
        self._called.set()

    async def run(self, on_measured: Callable[[str], None]) -> None:
        """Measure, for as long as the task lives. `on_measured` is called with the id of each user."""
        while True:
            users = self._views.users.all()
            self._known = {u.id: self._known[u.id] for u in users if u.id in self._known}
            for user in users:
                await self.measure(user)
                on_measured(user.id)
            with trio.move_on_after(INTERVAL_SECONDS):
                await self._measure_on_demand(on_measured)

    async def measure(self, user: User) -> None:
        """Measure the homes of one user. What cannot be measured in time is known as it was."""
        folder = self._users / user.slug
        if not folder.is_dir():
            self._known[user.id] = 0
            return
        with trio.move_on_after(_MOST_SECONDS) as patience:
            blocks = await _du("-k", folder)
            files = await _du("--inodes", folder) if sys.platform == "linux" else 0
            if blocks is not None:
                self._known[user.id] = max(blocks * 1024, (files or 0) * _FILE_BYTES)
        if patience.cancelled_caught:
            _logger.warning("home_not_measured", folder=folder.name, error="it takes too long")

    async def _measure_on_demand(self, on_measured: Callable[[str], None]) -> None:
        while True:
            await self._called.wait()
            self._called = trio.Event()
            asked, self._asked = self._asked, set()
            for user in filter(None, map(self._views.users.find, asked)):
                await self.measure(user)
                on_measured(user.id)
            await trio.sleep(_AGAIN_SECONDS)


async def _du(unit: str, folder: Path) -> int | None:
    """Return what `du` says of a folder; what it may not read counts for nothing. None when it says nothing."""
    command = ["nice", "du", "-s", "-x", unit, "--", str(folder)]
    try:
        done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
        if done.returncode:
            _logger.warning("home_not_measured_whole", folder=folder.name)
        return int(done.stdout.split(maxsplit=1)[0])
    except (OSError, ValueError, IndexError) as error:
        _logger.warning("home_not_measured", folder=folder.name, error=str(error) or type(error).__name__)
        return None
