"""What changed between two moments, by user."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from eventlog.filter import Filter
from eventlog.reader import Reader
from projections.table import Table
from projections.views import Views

_HIDDEN = {"password_hash", "hash", "value", "key"}
_NOISE = {"updated_at", "version", "last_used_at"}


@dataclass(frozen=True, slots=True)
class Difference:
    """One row that came, went or changed: `what` is `added`, `removed` or `changed`.

    `fields` are those of the row, or of a change (before, after) by name; secrets are not among them.
    """

    user_id: str
    table: str
    key: str
    what: str
    fields: dict[str, Any]


def differences(
    reader: Reader, first: int, second: int, on_progress: Callable[[int], None] = lambda _: None
) -> dict[str, list[Difference]]:
    """Replay the log to two positions and return what is different, by user ("" for what is nobody's). Blocking."""
    views = Views()
    _replay(views, reader, first, on_progress)
    before = {table.name: {_key(table, row): row for row in table} for table in _tables(views)}
    _replay(views, reader, second, on_progress)
    found: defaultdict[str, list[Difference]] = defaultdict(list)
    for table in _tables(views):
        after = {_key(table, row): row for row in table}
        for difference in _compared(table, before[table.name], after):
            found[difference.user_id].append(difference)
    return dict(found)


def _replay(views: Views, reader: Reader, until: int, on_progress: Callable[[int], None]) -> None:
    while views.position < until and (records := reader.events(Filter(after=views.position, until=until))):
        views.apply(records)
        on_progress(views.position)


def _tables(views: Views) -> Iterator[Table[Any]]:
    for projection in views.all:
        yield from projection.tables


def _key(table: Table[Any], row: Any) -> str:
    found: str = getattr(row, table.columns[0])
    return found


def _compared(table: Table[Any], before: dict[str, Any], after: dict[str, Any]) -> Iterator[Difference]:
    for key in sorted({*before, *after}):
        old, new = before.get(key), after.get(key)
        if old == new:
            continue
        row = new or old
        user = str(getattr(row, table.owner, "")) if table.owner in table.columns else ""
        if old is None or new is None:
            shown = {c: getattr(row, c) for c in table.columns if c not in _HIDDEN}
            yield Difference(user, table.name, key, "added" if old is None else "removed", shown)
            continue
        changed = {
            c: ("(secret)", "(secret)") if c in _HIDDEN else (getattr(old, c), getattr(new, c))
            for c in table.columns
            if c not in _NOISE and getattr(old, c) != getattr(new, c)
        }
        if changed:
            yield Difference(user, table.name, key, "changed", changed)
