"""Tables of rows in memory, with indexes, that know which of their rows changed since they were last saved."""

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, fields
from typing import Any, Generic, TypeVar

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Changes(Generic[R]):
    """Keys that were removed, and rows that came or changed after that. A key may be in both."""

    removed: tuple[str, ...]
    rows: dict[str, R]

    def __bool__(self) -> bool:
        return bool(self.removed or self.rows)


class Table(Generic[R]):
    """Rows of one frozen dataclass by key: its first field, a string.

    Rows are replaced, never changed, so a list of the changed ones is a consistent snapshot for free. The columns
    `sealed`, all of them texts, are encrypted in the saved copy, with the key of whom the column `owner` names.
    """

    def __init__(
        self, name: str, row_type: type[R], *, sealed: tuple[str, ...] = (), owner: str = "user_id"
    ) -> None:
        self.name = name
        self.row_type = row_type
        self.sealed = sealed
        self.owner = owner
        self.columns = tuple(f.name for f in fields(row_type))  # type: ignore[arg-type] # a dataclass, by contract
        self._key = self.columns[0]
        self._rows: dict[str, R] = {}
        self._changed: dict[str, None] = {}
        self._removed: dict[str, None] = {}
        self._indexes: list[Index[R]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[R]:
        return iter(self._rows.values())

    def __repr__(self) -> str:
        return f"<Table {self.name}: {len(self._rows)} rows, {len(self._changed)} unsaved>"

    def index(self, key: Callable[[R], Hashable]) -> "Index[R]":
        """Return an index of the rows by `key`, kept up to date from here on."""
        index = Index(key)
        self._indexes.append(index)
        return index

    def get(self, key: str) -> R | None:
        """Return a row, or None."""
        return self._rows.get(key)

    def put(self, row: R) -> None:
        """Insert or replace a row."""
        self._changed[self._place(row)] = None

    def remove(self, key: str) -> None:
        """Remove a row if it is there."""
        row = self._rows.pop(key, None)
        if row is not None:
            self._changed.pop(key, None)
            self._removed[key] = None
            for index in self._indexes:
                index.discard(key, row)

    def load(self, row: R) -> None:
        """Insert a row that is already saved."""
        self._place(row)

    def drop(self, key: str) -> None:
        """Have a saved row that was not loaded removed from the saved copy."""
        self._removed[key] = None

    def replace_with(self, fresh: "Table[R]") -> None:
        """Take over the rows of another table, which is not used afterwards. All of them count as changed."""
        self._removed.update(dict.fromkeys(self._rows))
        self._rows = fresh._rows  # noqa: SLF001 - of the same class
        self._changed = dict.fromkeys(self._rows)
        for index, new in zip(self._indexes, fresh._indexes, strict=True):  # noqa: SLF001
            index.replace_with(new)

    def take_changes(self) -> "Changes[R]":
        """Return what changed since the last call, and count it as saved."""
        rows = {key: self._rows[key] for key in self._changed if key in self._rows}
        changes = Changes(tuple(self._removed), rows)
        self._changed.clear()
        self._removed.clear()
        return changes

    def mark_changed(self, changes: "Changes[R]") -> None:
        """Count changes as unsaved again: saving them failed."""
        # Before what came meanwhile: rows load in the order in which they were saved first.
        self._changed = {**dict.fromkeys(changes.rows), **self._changed}
        self._removed = {**dict.fromkeys(changes.removed), **self._removed}

    def _place(self, row: R) -> str:
        key: str = getattr(row, self._key)
        if self._indexes:
            old = self._rows.get(key)
            for index in self._indexes:
                index.move(key, old, row)
        self._rows[key] = row
        return key


class Index(Generic[R]):
    """Rows by something else than their key, in the order in which they came."""

    def __init__(self, key: Callable[[R], Any]) -> None:
        self._key = key
        self._groups: dict[Hashable, dict[str, R]] = {}

    def all(self, key: Hashable) -> list[R]:
        """Return the rows under `key`."""
        return list(self._groups.get(key, {}).values())

    def count(self, key: Hashable) -> int:
        """Return how many rows there are under `key`."""
        return len(self._groups.get(key, ()))

    def one(self, key: Hashable) -> R | None:
        """Return the first row under `key`, or None."""
        return next(iter(self._groups.get(key, {}).values()), None)

    def replace_with(self, fresh: "Index[R]") -> None:
        """Take over the groups of another index."""
        self._groups = fresh._groups  # noqa: SLF001 - of the same class

    def move(self, id_: str, old: R | None, new: R) -> None:
        """Note that a row was inserted (`old` is None) or replaced."""
        group = self._key(new)
        if old is not None and self._key(old) != group:
            self.discard(id_, old)
        self._groups.setdefault(group, {})[id_] = new

    def discard(self, id_: str, row: R) -> None:
        """Note that a row is gone."""
        group = self._key(row)
        rows = self._groups.get(group, {})
        rows.pop(id_, None)
        if not rows:
            self._groups.pop(group, None)
