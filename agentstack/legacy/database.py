"""Reading the earlier agent-stack's database. Nothing in it is changed."""

import sqlite3
import time
import unicodedata
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Row = dict[str, Any]

_COLUMNS = {
    "users": ("id", "email", "name", "slug", "pw_hash", "role", "created_at"),
    "user_backend_prefs": ("user_id", "backend", "idle_seconds"),
    "user_env_overrides": ("user_id", "backend_name", "env_var", "value", "updated_at"),
    "admin_shared_env": ("env_var", "shared", "updated_at"),
    "agents": ("id", "user_id", "backend", "name", "model", "ordinal", "created_at", "updated_at"),
    "conversations": ("id", "user_id", "backend", "model", "title", "agent_id", "created_at", "updated_at"),
    "messages": ("id", "conversation_id", "role", "content", "created_at"),
}
_COUNTED = ("runners", "rooms", "room_members", "room_messages")
"""Runners are the earlier router's own; there are no rooms here yet."""
_CLOCKS_DIFFER = 3600.0
_ROLES = {"user", "assistant", "system", "error"}


@dataclass(slots=True)
class Legacy:
    """All rows, and what is wrong with them. `left` counts what is not brought in."""

    tables: dict[str, list[Row]] = field(default_factory=dict)
    left: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def __getitem__(self, table: str) -> list[Row]:
        return self.tables.get(table, [])

    @property
    def counts(self) -> dict[str, int]:
        """How many rows of each table are brought in."""
        return {name: len(rows) for name, rows in self.tables.items()}


def read_legacy(path: Path) -> Legacy:
    """Read and check a database. What is wrong is in `problems`, in words for a person; nothing is raised."""
    found = Legacy()
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            _read(connection, found)
    except sqlite3.DatabaseError as error:
        found.problems.append(f"The file is damaged, or is not an SQLite database: {error}.")
    else:
        _check(found)
    return found


def _read(connection: sqlite3.Connection, found: Legacy) -> None:
    damage = [row[0] for row in connection.execute("PRAGMA integrity_check(5)")]
    if damage != ["ok"]:
        found.problems.append(f"The database is damaged: {'; '.join(damage)}.")
    there = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")}
    for table, columns in _COLUMNS.items():
        if table not in there:
            found.problems.append(f"The table {table} is missing: was the database migrated only in part?")
            continue
        have = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
        missing = [column for column in columns if column not in have]
        if missing:
            found.problems.append(f"The table {table} has no column {', '.join(missing)}.")
            continue
        query = f"SELECT {', '.join(columns)} FROM {table} ORDER BY rowid"  # noqa: S608 - constants
        found.tables[table] = [dict(row) for row in connection.execute(query)]
    for table in _COUNTED:
        if table in there:
            found.left[table] = connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]  # noqa: S608


def _check(found: Legacy) -> None:
    problems = found.problems
    users = {str(u["id"]) for u in found["users"]}
    admins = [u for u in found["users"] if u["role"] == "admin"]
    if len(admins) != 1:
        problems.append(f"There are {len(admins)} admins, and there must be exactly one.")
    for column in ("email", "slug"):
        seen = Counter(_normal(str(u[column])) for u in found["users"])
        problems += [f"{n} users have the {column} {value!r}." for value, n in seen.items() if n > 1]
    agents = {str(a["id"]): a for a in found["agents"]}
    conversations = {str(c["id"]) for c in found["conversations"]}
    for table in ("user_backend_prefs", "user_env_overrides", "agents", "conversations"):
        problems += _strays(found[table], table, "user_id", users, "user")
    problems += _strays(found["conversations"], "conversations", "agent_id", set(agents), "agent")
    problems += _strays(found["messages"], "messages", "conversation_id", conversations, "conversation")
    odd = Counter(str(m["role"]) for m in found["messages"] if m["role"] not in _ROLES)
    problems += [f"{n} messages have the unknown role {role!r}." for role, n in odd.items()]
    for table, rows in found.tables.items():
        for column in ("created_at", "updated_at"):
            wrong = sum(1 for row in rows if column in row and not is_time(row[column]))
            if wrong:
                problems.append(f"{wrong} rows of {table} have no time in {column}, or one that is yet to come.")
        if "id" in _COLUMNS[table]:
            ids = Counter(str(row["id"]) for row in rows)
            problems += [f"{n} rows of {table} have the id {id_!r}." for id_, n in ids.items() if n > 1]


def _strays(rows: list[Row], table: str, column: str, known: set[str], what: str) -> list[str]:
    count = sum(1 for row in rows if str(row[column]) not in known)
    return [f"{count} rows of {table} belong to no {what} ({column})."] if count else []


def is_time(value: object) -> bool:
    """Tell whether a value is a time in unix seconds, and not in the future: the time of a log never goes back."""
    return isinstance(value, int | float) and 0 <= value < time.time() + _CLOCKS_DIFFER


def _normal(text: str) -> str:
    return unicodedata.normalize("NFKC", text).strip().casefold()
