"""Which events to read."""

from dataclasses import dataclass
from itertools import product
from typing import Any

from eventlog.schema import COLUMNS, KIND

_SELECT = f"SELECT {COLUMNS} FROM stored_events"  # noqa: S608 - both are constants
HIGHEST = "\U0010ffff"
"""Sorts after whatever may follow a prefix."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events to read. All that is given must fit.

    `stream`, `types`, `correlation` and `causation` are exact; `user` is an id: events about that user, or brought
    about by them. Positions are exclusive below (`after`) and inclusive above (`until`); times are in microseconds,
    inclusive and exclusive.
    """

    after: int = 0
    until: int | None = None
    stream: str | None = None
    stream_prefix: str | None = None
    types: tuple[str, ...] = ()
    user: str | None = None
    correlation: str | None = None
    causation: int | None = None
    since_us: int | None = None
    until_us: int | None = None
    newest_first: bool = False
    by_stream: bool = False
    """How to find them: all of the streams with the prefix, which are few, instead of going along the log. SQLite
    has no way to know which is faster."""

    def sql(self, limit: int) -> tuple[str, list[Any]]:
        """Return a SELECT of whole rows in order, and its parameters; a negative limit means all.

        Each alternative (one of several types, about a user or by them) is a limited query of its own, so that each
        finds its rows by an index, in order, and stops when there are enough.
        """
        order = "DESC" if self.newest_first else "ASC"
        clauses, parameters = self._common()
        free = self._free
        queries: list[str] = []
        values: list[Any] = []
        for alternative in self._alternatives():
            where = " AND ".join([*clauses, *(f"{free}{column} = ?" for column, _ in alternative)])
            queries.append(f"SELECT * FROM ({_SELECT} WHERE {where} ORDER BY {free}position {order} LIMIT ?)")  # noqa: S608
            values += [*parameters, *(value for _, value in alternative), limit]
        if len(queries) == 1:
            return f"{queries[0]} ORDER BY position {order}", values
        return f"{' UNION '.join(queries)} ORDER BY position {order} LIMIT ?", [*values, limit]

    @property
    def _free(self) -> str:
        """What stands before a column whose index is not to be used."""
        return "+" if self.by_stream else ""

    @property
    def part_of_a_name(self) -> str:
        """The prefix, unless it is a kind of stream: those have an index in the order of positions."""
        prefix = self.stream_prefix or ""
        return "" if prefix.find(":") == len(prefix) - 1 else prefix

    def where(self) -> tuple[str, list[Any]]:
        """Return the condition for counting, and its parameters."""
        clauses, parameters = self._common()
        for columns in (["topic"] * len(self.types), ["owner", "actor"] if self.user else []):
            if columns:
                clauses.append(f"({' OR '.join(f'{self._free}{column} = ?' for column in columns)})")
        users = [self.user, f"user:{self.user}"] if self.user else []
        return " AND ".join(clauses), [*parameters, *self.types, *users]

    def _alternatives(self) -> list[tuple[tuple[str, str], ...]]:
        types: list[tuple[tuple[str, str], ...]] = [(("topic", t),) for t in dict.fromkeys(self.types)] or [()]
        users: list[tuple[tuple[str, str], ...]] = (
            [(("owner", self.user),), (("actor", f"user:{self.user}"),)] if self.user else [()]
        )
        return [one + other for one, other in product(types, users)]

    def _common(self) -> tuple[list[str], list[Any]]:
        clauses = [f"{self._free}position > ?"]
        parameters: list[Any] = [self.after]
        conditions: list[tuple[str, Any]] = [
            ("position <= ?", self.until),
            ("originator_id = ?", self.stream),
            ("correlation = ?", self.correlation),
            ("causation = ?", self.causation),
            ("at >= ?", self.since_us),
            ("at < ?", self.until_us),
        ]
        for clause, value in conditions:
            if value is not None:
                clauses.append(f"{self._free}{clause}")
                parameters.append(value)
        if self.part_of_a_name:
            clauses.append("originator_id >= ? AND originator_id < ?")
            parameters += [self.part_of_a_name, self.part_of_a_name + HIGHEST]
        elif self.stream_prefix:
            clauses.append(f"{KIND} = ?")
            parameters.append(self.stream_prefix)
        return clauses, parameters
