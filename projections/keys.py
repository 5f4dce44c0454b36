"""Values of variables: each user's own, and which of the admin's are shared."""

from dataclasses import dataclass

from domain.keys.events import KeyCleared, KeySet, KeyShared
from domain.users.events import UserDeleted
from eventlog.envelope import Recorded, Unreadable
from projections.projection import Projection
from projections.table import Table


@dataclass(frozen=True, slots=True)
class Key:
    """One value; `key` is `<user id>/<backend>/<name>`, and the backend is "" for all of them."""

    key: str
    user_id: str
    backend: str
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Share:
    """Whether the admin's own value of a variable is everybody's."""

    name: str
    shared: int


class Keys(Projection):
    """Who has set what."""

    name = "keys"

    def __init__(self) -> None:
        super().__init__()
        self._keys: Table[Key] = Table("keys", Key, sealed=("value",))
        self._shares: Table[Share] = Table("shares", Share)
        self._by_user = self._keys.index(lambda k: k.user_id)
        self.tables = (self._keys, self._shares)
        self.on = {
            KeySet: self._set,
            KeyCleared: self._cleared,
            KeyShared: self._shared,
            UserDeleted: self._user_deleted,
            Unreadable: self._unreadable,
        }

    def find(self, user_id: str, backend: str, name: str) -> str | None:
        """Return a user's value of a variable for a backend ("": for all of them), or None."""
        found = self._keys.get(f"{user_id}/{backend}/{name}")
        return found.value if found else None

    def of_user(self, user_id: str) -> list[Key]:
        """Return all that a user has set."""
        return self._by_user.all(user_id)

    def is_shared(self, name: str) -> bool:
        """Tell whether the admin's own value of a variable is everybody's."""
        found = self._shares.get(name)
        return bool(found and found.shared)

    def _set(self, event: KeySet, _: Recorded[KeySet]) -> None:
        key = f"{event.user_id}/{event.backend}/{event.name}"
        self._keys.put(Key(key, event.user_id, event.backend, event.name, event.value))

    def _cleared(self, event: KeyCleared, _: Recorded[KeyCleared]) -> None:
        self._keys.remove(f"{event.user_id}/{event.backend}/{event.name}")

    def _shared(self, event: KeyShared, _: Recorded[KeyShared]) -> None:
        self._shares.put(Share(event.name, int(event.shared)))

    def _user_deleted(self, event: UserDeleted, _: Recorded[UserDeleted]) -> None:
        self._drop_all(event.user_id)

    def _unreadable(self, _: Unreadable, record: Recorded[Unreadable]) -> None:
        """Drop all values when it cannot be read which was changed, and share none when that was.

        A value that was replaced or taken back, perhaps because others know it, must not count again.
        """
        if record.type in {KeySet.TOPIC, KeyCleared.TOPIC}:
            self._drop_all(record.stream.partition(":")[2])
        elif record.type == KeyShared.TOPIC:
            for share in list(self._shares):
                self._shares.put(Share(share.name, 0))

    def _drop_all(self, user_id: str) -> None:
        for key in self._by_user.all(user_id):
            self._keys.remove(key.key)
