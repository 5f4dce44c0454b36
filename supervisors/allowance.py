"""How much of this server each user may take for good: in the log, as conversations, as agents' files."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from domain.errors import Full, TooMany
from projections.usage import DAY
from projections.users import User
from projections.views import Views
from supervisors.homes.sizes import HomeSizes

_FAR_OVER = 1.1
"""From such a part of the limit on, runners are stopped in the middle of an answer: it may never end."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What each user may take; None for any amount. Sizes in bytes."""

    log_per_day: int | None
    conversations: int | None
    files: int | None


@dataclass(frozen=True, slots=True)
class Taken:
    """What a user takes; `files` is None until they have been measured. Sizes in bytes."""

    log_today: int
    log: int
    conversations: int
    files: int | None


class Allowance:
    """Refuses what would be too much. What must not be lost, as an answer that has begun, is kept all the same."""

    def __init__(self, views: Views, sizes: HomeSizes, limits: Limits) -> None:
        self._views = views
        self._sizes = sizes
        self._opening: Counter[str] = Counter()
        self.limits = limits

    def taken(self, user_id: str) -> Taken:
        """Return what a user takes."""
        footprint, files = self._views.footprints.of(user_id), self._sizes.of(user_id)
        if files is None:
            self._sizes.ask(user_id)
        return Taken(
            log_today=footprint.on(_today()),
            log=footprint.total,
            conversations=self._views.conversations.count_of(user_id),
            files=files,
        )

    async def measure_again(self, user: User) -> None:
        """Measure the files of a user's agents: some have been removed."""
        await self._sizes.measure(user)

    def check_log(self, user_id: str) -> None:
        """Raise TooMany when as much is in the log of today about a user as may be."""
        most = self.limits.log_per_day
        if most is not None and self._views.footprints.of(user_id).on(_today()) >= most:
            wait = DAY - int(time.time() % DAY)
            raise TooMany(
                f"You and your agents have had {_told(most)} kept today, which is the most for a day. Come again "
                "after midnight (UTC), or ask the admin for more (LOG_MIB_PER_DAY).",
                code="log_quota",
                retry_after=wait,
            )

    @contextmanager
    def one_more_conversation(self, user_id: str) -> Iterator[None]:
        """Keep a place for a conversation that is being opened. Raises Full when its user has as many as may be."""
        most = self.limits.conversations
        taken = self._views.conversations.count_of(user_id) + self._opening[user_id]
        if most is not None and taken >= most:
            raise Full(
                f"You have {taken} conversations, and {most} is the most. Delete some, or ask the admin for more "
                "(CONVERSATIONS_PER_USER).",
                code="conversation_quota",
            )
        self._opening[user_id] += 1
        try:
            yield
        finally:
            self._opening[user_id] -= 1
            if not self._opening[user_id]:
                del self._opening[user_id]

    def check_files(self, user_id: str) -> None:
        """Raise Full when a user's agents have as many files as may be."""
        if self.is_over(user_id):
            self._sizes.ask(user_id)  # Some may have been removed.
            most, taken = self.limits.files or 0, self.taken(user_id).files or 0
            raise Full(
                f"The files of your agents take {_told(taken)}, and {_told(most)} is the most, so no agent is "
                "started or asked. Delete an agent with its files and conversations (Settings, Usage), or ask the "
                "admin for more (FILES_MIB_PER_USER).",
                code="files_quota",
            )

    def is_over(self, user_id: str, *, far: bool = False) -> bool:
        """Tell whether a user's agents have more files than may be, or with `far` many more."""
        most, taken = self.limits.files, self._sizes.of(user_id)
        return most is not None and taken is not None and taken > most * (_FAR_OVER if far else 1)


def _today() -> int:
    return int(time.time() // DAY)


def _told(size: int) -> str:
    return f"{size / (1 << 30):.1f} GiB" if size >= 1 << 30 else f"{size / (1 << 20):.0f} MiB"
