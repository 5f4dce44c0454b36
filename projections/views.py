"""All read models together: loaded from `views.db`, caught up from the log, then following every commit."""

import gc
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import structlog
import trio

from domain.backends.definition import Backend
from domain.keys.policy import Effective, effective
from eventlog.envelope import Recorded
from eventlog.filter import Filter
from eventlog.log import EventLog
from eventlog.reader import Reader
from eventlog.vault import Vault
from projections.agents import Agents
from projections.conversations import Conversations
from projections.footprints import Footprints
from projections.invites import Invites
from projections.keys import Keys
from projections.projection import Projection
from projections.runners import Runners
from projections.sessions import Sessions
from projections.store import FILE_NAME, MAKE_ANEW, Part, ViewStore, load_alone
from projections.tokens import Tokens
from projections.unreadable import UnreadableEvents
from projections.usage import Usage
from projections.users import Users

SAVE_INTERVAL = 0.25
"""Seconds for which changes are gathered before they are saved: a crash costs at most this much catching up."""

_logger = structlog.get_logger("projections")


class Views:
    """The hot read models. Reading one is a look into memory: no disk, no waiting."""

    def __init__(self) -> None:
        self.users = Users()
        self.sessions = Sessions()
        self.tokens = Tokens()
        self.invites = Invites()
        self.keys = Keys()
        self.agents = Agents()
        self.runners = Runners()
        self.conversations = Conversations()
        self.usage = Usage()
        self.footprints = Footprints()
        self.unreadable = UnreadableEvents()
        self.saved_position = 0
        """Everything up to here is in `views.db`."""
        self.unsaved = ""
        """Why the last save failed, for a person; "" when it did not."""
        self._changed = trio.Event()
        self._saving = trio.Lock()

    @property
    def all(self) -> tuple[Projection, ...]:
        """Every projection."""
        return (
            *(self.users, self.sessions, self.tokens, self.invites, self.keys),
            *(self.agents, self.runners, self.conversations, self.usage, self.footprints, self.unreadable),
        )

    @property
    def position(self) -> int:
        """Everything up to here has been applied to every projection."""
        return min(p.position for p in self.all)

    @property
    def problems(self) -> list[str]:
        """What is wrong with the read models or the events that they are made of, each in words for a person."""
        found = [f"Read model {p.name}: {p.problem}" for p in self.all if p.problem]
        return [*found, *filter(None, (self.unsaved, self.unreadable.summary))]

    def effective(self, backend: Backend, user_id: str) -> dict[str, Effective]:
        """Return the values of a backend's variables that count for a user."""
        admin = self.users.admin()

        def shared(scope: str, name: str) -> str | None:
            return self.keys.find(admin.id, scope, name) if admin and self.keys.is_shared(name) else None

        return effective(backend, partial(self.keys.find, user_id), shared)

    def apply(self, records: Sequence[Recorded[Any]]) -> None:
        """Apply the events of a commit."""
        for projection in self.all:
            projection.apply(records)
        self._changed.set()

    def mark_changed(self) -> None:
        """Have what has changed saved soon."""
        self._changed.set()

    def catch_up(self, reader: Reader, on_progress: Callable[[int], None] = lambda _: None) -> int:
        """Apply what the log has beyond the views, and return how many events were read. Blocking."""
        count = 0
        with _no_garbage_collection():
            while records := reader.events(Filter(after=self.position)):
                self.apply(records)
                count += len(records)
                on_progress(self.position)
        return count

    def take_changes(self) -> list[Part]:
        """Return what has changed since the last call, to be saved."""
        return [
            Part(
                p.name,
                # What has missed something is not good enough to begin with: the next start makes it anew.
                MAKE_ANEW if p.problem else p.version,
                p.position,
                tuple((t, changes) for t in p.tables if (changes := t.take_changes())),
            )
            for p in self.all
        ]

    async def keep_saved(self, store: ViewStore) -> None:
        """Save changes as they come, for as long as the task lives."""
        while True:
            await self._changed.wait()
            await trio.sleep(SAVE_INTERVAL)
            await self.save(store)

    async def save(self, store: ViewStore) -> None:
        """Save what has changed. A refusal of the disk costs only a longer catch-up at the next start."""
        async with self._saving:  # The last time, at the end, may meet the one before it.
            self._changed = trio.Event()
            parts, position = self.take_changes(), self.position
            try:
                with trio.CancelScope(shield=True):  # What was taken must be saved, or marked again.
                    refused = await trio.to_thread.run_sync(store.save, parts)
            except Exception as error:
                _logger.exception("views_not_saved", position=position)
                self.unsaved = (
                    f"The read models are not saved since #{self.saved_position} ({type(error).__name__})."
                )
                for table, changes in (change for part in parts for change in part.changes):
                    table.mark_changed(changes)
            else:
                self.saved_position, self.unsaved = position, ""
                for projection in self.all:
                    if projection.name in refused:
                        projection.unsaved = refused[projection.name]
                        _logger.error("view_not_saved", projection=projection.name, problem=projection.unsaved)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Rows and events hold no cycles; to look for some in a growing million takes a third of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@asynccontextmanager
async def open_views(folder: Path, log: EventLog, vault: Vault | None = None) -> AsyncIterator[Views]:
    """Load the views, catch them up, and keep them up to date and saved until the context ends.

    To look through the whole log for events that cannot be read, because another program did so before, would take
    long for nothing else: that is left to a rebuild of `unreadable` (`is_postponed`).
    """
    views = Views()
    store = await trio.to_thread.run_sync(ViewStore, folder / FILE_NAME, vault)
    try:
        identity = await trio.to_thread.run_sync(log.reader.identity)
        with _no_garbage_collection():
            await trio.to_thread.run_sync(store.load, views.all, identity, log.position)
        if await trio.to_thread.run_sync(views.unreadable.readable_again, log.reader):
            _logger.info("views_made_anew", reason="this version reads events that could not be read before")
            views = Views()
            store.forget()
            await trio.to_thread.run_sync(store.load, views.all, identity, log.position)
        others = min(p.position for p in views.all if p is not views.unreadable)
        if views.unreadable.position == 0 < others:
            views.unreadable.postpone(log.position)
        caught_up = await trio.to_thread.run_sync(views.catch_up, log.reader)
        if caught_up:
            _logger.info("views_caught_up", events=caught_up, position=views.position)
        log.listen(views.apply)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(views.keep_saved, store)
            try:
                yield views
            finally:
                nursery.cancel_scope.cancel()
                with trio.CancelScope(shield=True):
                    await views.save(store)
    finally:
        store.close()


def find_unreadable(folder: Path, reader: Reader) -> UnreadableEvents:
    """Return which events of a log cannot be read: what the saved copy knows, and what came after it. Blocking.

    The log may be in use. Without a saved copy of this version, every event is read.
    """
    found = UnreadableEvents()
    load_alone(folder / FILE_NAME, found, reader.identity(), reader.head().position)
    if found.readable_again(reader):
        found = UnreadableEvents()
    while records := reader.events(Filter(after=found.position)):
        found.apply(records)
    return found


def rebuild(
    folder: Path,
    reader: Reader,
    on_progress: Callable[[int], None] = lambda _: None,
    vault: Vault | None = None,
) -> Views:
    """Replay the whole log into a new `views.db` and put it in the place of the old one. Blocking."""
    fresh = folder / f"{FILE_NAME}.new"
    fresh.unlink(missing_ok=True)
    store = ViewStore(fresh, vault)
    try:
        views = Views()
        store.load(views.all, reader.identity(), reader.head().position)
        views.catch_up(reader, on_progress)
        store.save(views.take_changes())
    finally:
        store.close()
    for suffix in ("-wal", "-shm"):
        (folder / f"{FILE_NAME}{suffix}").unlink(missing_ok=True)
    fresh.replace(folder / FILE_NAME)
    return views
