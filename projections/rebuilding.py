"""Making one read model anew from the log while it is in use: it is replaced when the new one has caught up."""

import time
from dataclasses import dataclass

import structlog
import trio

from domain.errors import Conflict, NotFound
from eventlog.errors import ReadOnlyError
from eventlog.filter import Filter
from eventlog.log import EventLog
from projections.projection import Projection
from projections.views import Views

_logger = structlog.get_logger("projections")


@dataclass(slots=True)
class Rebuild:
    """How far it is: `done` of `total` events."""

    done: int
    total: int


class Rebuilder:
    """Rebuilds one projection at a time. `errors` says why the last attempt failed, `speeds` how fast it went.

    Speeds are in events per second.
    """

    def __init__(self, log: EventLog, views: Views, nursery: trio.Nursery) -> None:
        self._log = log
        self._views = views
        self._nursery = nursery
        self.running: dict[str, Rebuild] = {}
        self.errors: dict[str, str] = {}
        self.speeds: dict[str, float] = {}

    def start(self, name: str) -> None:
        """Begin to rebuild a projection. Raises NotFound, Conflict while one is being rebuilt, or ReadOnlyError.

        What is known and kept nowhere would be forgotten, so a log that is only looked at is not read anew.
        """
        if self._log.is_read_only:
            raise ReadOnlyError
        projection = next((p for p in self._views.all if p.name == name), None)
        if projection is None:
            known = ", ".join(p.name for p in self._views.all)
            raise NotFound(f"There is no read model {name[:80]!r}. There are: {known}.", code="unknown_projection")
        if self.running:
            raise Conflict(f"{next(iter(self.running))} is being rebuilt. Wait for it.", code="rebuilding")
        self.running[name] = Rebuild(0, self._log.position)
        self._nursery.start_soon(self._run, projection)

    async def _run(self, projection: Projection) -> None:
        name, started = projection.name, time.perf_counter()
        progress = self.running[name]
        try:
            fresh = type(projection)()
            while fresh.position < self._log.position:
                records = await self._log.read(Filter(after=fresh.position))
                await trio.to_thread.run_sync(fresh.apply, records)
                progress.done, progress.total = fresh.position, self._log.position
            # From here to the end nothing is awaited, so no commit comes in between.
            projection.replace_with(fresh)
            self._views.mark_changed()
            self.speeds[name] = progress.done / max(1e-6, time.perf_counter() - started)
            self.errors.pop(name, None)
        except Exception as error:
            _logger.exception("rebuild_failed", projection=name)
            self.errors[name] = f"It could not be rebuilt: {error}"
        finally:
            del self.running[name]
