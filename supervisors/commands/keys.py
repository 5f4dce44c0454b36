"""Setting, clearing and sharing the values of variables."""

from domain.backends.registry import Backends
from domain.errors import Invalid
from domain.keys.events import KeyCleared, KeySet, KeyShared
from domain.keys.policy import MAX_VALUE
from eventlog.envelope import Origin
from eventlog.log import EventLog
from projections.views import Views
from supervisors.commands.stream_end import StreamEnds
from supervisors.runners.pool import RunnerPool


class Keys:
    """Commands on values. Each change has the runners renewed whose values it changed, of all users."""

    def __init__(self, log: EventLog, views: Views, backends: Backends, pool: RunnerPool) -> None:
        self._views = views
        self._backends = backends
        self._pool = pool
        self._ends = StreamEnds(log)

    @property
    def names(self) -> list[str]:
        """Every variable that users of some backend may set."""
        return sorted({name for b in self._backends for name in b.user_overridable_env})

    async def set(
        self, user_id: str, backend: str, name: str, value: str, origin: Origin, *, at_once: bool
    ) -> bool:
        """Set a value for one backend, or ("") for all; an empty one clears it. Tells whether there is one now.

        With `at_once` runners are renewed in the middle of what they do. Raises Invalid or NotFound.
        """
        self._check(backend, name)
        if "\0" in value or len(value) > MAX_VALUE:
            raise Invalid(f"A value has at most {MAX_VALUE} characters, and no NUL among them.", code="bad_value")
        if value == (self._views.keys.find(user_id, backend, name) or ""):
            return bool(value)
        about = {"user_id": user_id, "backend": backend, "name": name}
        event = KeySet(**about, value=value) if value else KeyCleared(**about)
        await self._ends.append(f"keys:{user_id}", event, origin, owner=user_id)
        self._pool.renew_changed(at_once=at_once)
        return bool(value)

    async def share(self, name: str, shared: bool, origin: Origin, *, at_once: bool) -> None:
        """Share the admin's own value of a variable with everybody, or no longer. Raises Invalid."""
        self._check("", name)
        if shared != self._views.keys.is_shared(name):
            await self._ends.append("keys:shared", KeyShared(name=name, shared=shared), origin)
            self._pool.renew_changed(at_once=at_once)

    def _check(self, backend: str, name: str) -> None:
        allowed = self._backends.get(backend).user_overridable_env if backend else self.names
        if name not in allowed:
            whom = f"of backend {backend!r}" if backend else "of any backend"
            raise Invalid(
                f"{name[:80]!r} is not a variable {whom} that may be set here. These are: "
                f"{', '.join(allowed) or 'none'}.",
                code="not_overridable",
            )
