"""Full-text search over a user's messages: an index in memory for each user who searches, never on disk.

It is built from the conversations at the first search, follows what changes, and is dropped when it is not used.
Three letters in a row are its unit (SQLite's trigram tokenizer), so that parts of words are found in any language.
"""

import sqlite3
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import trio

from domain.conversations.state import Conversation
from domain.users.events import UserDeleted
from eventlog.envelope import Recorded
from projections.views import Views

IDLE_SECONDS = 600.0
MOST_USERS = 64
_SHORTEST = 3
"""The tokenizer's unit: shorter words are looked for without the index."""
_CONTEXT_TOKENS = 64
BEGIN, END = "\x02", "\x03"
"""Around what was found, in an excerpt."""

Load = Callable[[str], Awaitable[Conversation]]


@dataclass(frozen=True, slots=True)
class Hit:
    """A message that holds all the words. In `excerpt` each stands between BEGIN and END."""

    conversation_id: str
    message_id: str
    role: str
    created_at: float
    excerpt: str


@dataclass(slots=True, eq=False)
class _Index:
    connection: sqlite3.Connection
    stale: set[str]
    used_at: float
    changed: dict[str, int] = field(default_factory=dict)
    """At which position a stale conversation was changed last."""
    lock: trio.Lock = field(default_factory=trio.Lock)


class Search:
    """Searches. `load` returns a conversation by its id."""

    def __init__(self, views: Views, load: Load) -> None:
        self._views = views
        self._load = load
        self._indexes: OrderedDict[str, _Index] = OrderedDict()

    def statistics(self) -> dict[str, int]:
        """Return how many users have an index."""
        return {"indexes": len(self._indexes)}

    def follow(self, records: Sequence[Recorded[Any]]) -> None:
        """Note which conversations have changed. A listener of the log."""
        for record in records:
            kind, _, id_ = record.stream.partition(":")
            if kind == "conversation":
                index = self._indexes.get(record.owner)
                if index:
                    index.stale.add(id_)
                    index.changed[id_] = record.position
            elif isinstance(record.event, UserDeleted):
                self._drop(record.event.user_id)

    async def find(self, user_id: str, text: str, limit: int) -> list[Hit]:
        """Return the newest messages of a user that hold every word of `text`."""
        words = text.split()
        if not words:
            return []
        index = self._index(user_id)
        async with index.lock:
            await self._refresh(user_id, index)
            return await trio.to_thread.run_sync(_found, index.connection, words, limit)

    async def keep_small(self) -> None:
        """Drop what nobody has used for a while, from time to time. Never returns."""
        while True:
            await trio.sleep(IDLE_SECONDS / 10)
            self.drop_idle()

    def drop_idle(self) -> None:
        """Drop the indexes of those who have not searched for a while."""
        oldest = time.monotonic() - IDLE_SECONDS
        for user_id, index in list(self._indexes.items()):
            if index.used_at < oldest:
                self._drop(user_id)

    def close(self) -> None:
        """Drop every index."""
        for user_id in list(self._indexes):
            self._drop(user_id)

    def _index(self, user_id: str) -> _Index:
        now = time.monotonic()
        for other in list(self._indexes)[: -MOST_USERS or None]:  # Those that were used longest ago.
            if other != user_id:
                self._drop(other)
        if user_id not in self._indexes:
            connection = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
            connection.execute(
                "CREATE VIRTUAL TABLE messages USING fts5("
                "content, conversation_id UNINDEXED, message_id UNINDEXED, role UNINDEXED, at UNINDEXED, "
                "tokenize='trigram')"
            )
            everything = {c.id for c in self._views.conversations.of_user(user_id)}
            self._indexes[user_id] = _Index(connection, everything, now)
        index = self._indexes[user_id]
        index.used_at = now
        self._indexes.move_to_end(user_id)
        return index

    async def _refresh(self, user_id: str, index: _Index) -> None:
        while index.stale:
            id_ = next(iter(index.stale))
            before = self._views.conversations.position
            summary = self._views.conversations.find(id_)
            mine = summary is not None and summary.user_id == user_id
            conversation = await self._load(id_) if mine else Conversation(id=id_)
            await trio.to_thread.run_sync(_replace, index.connection, id_, conversation)
            # Only now: who searches may give up in the middle. What has changed meanwhile stays for the next round.
            if index.changed.pop(id_, 0) <= before:
                index.stale.discard(id_)

    def _drop(self, user_id: str) -> None:
        index = self._indexes.pop(user_id, None)
        if index and not index.lock.locked():  # Else whoever holds it drops it by ending.
            index.connection.close()


def _replace(connection: sqlite3.Connection, conversation_id: str, conversation: Conversation) -> None:
    rows = [(m.content, conversation_id, m.id, m.role, m.created_at) for m in conversation.messages]
    connection.execute("BEGIN")
    connection.execute("DELETE FROM messages WHERE conversation_id=?", (conversation_id,))
    connection.executemany("INSERT INTO messages VALUES (?,?,?,?,?)", rows)
    connection.execute("COMMIT")


def _found(connection: sqlite3.Connection, words: Iterable[str], limit: int) -> list[Hit]:
    listed = list(words)
    long = [w for w in listed if len(w) >= _SHORTEST]
    clauses = ["messages MATCH ?"] if long else []
    parameters: list[Any] = [" ".join(f'"{w.replace(chr(34), chr(34) * 2)}"' for w in long)] if long else []
    for word in listed:
        if len(word) < _SHORTEST:
            clauses.append("content LIKE ? ESCAPE '\\'")
            parameters.append(f"%{word.translate({ord(c): chr(92) + c for c in '%_' + chr(92)})}%")
    excerpt = (
        f"snippet(messages, 0, '{BEGIN}', '{END}', '…', {_CONTEXT_TOKENS})" if long else "substr(content, 1, 160)"
    )
    rows = connection.execute(
        f"SELECT conversation_id, message_id, role, at, {excerpt} FROM messages "  # noqa: S608 - constants
        f"WHERE {' AND '.join(clauses)} ORDER BY at DESC LIMIT ?",
        [*parameters, limit],
    )
    return [Hit(*row) for row in rows]
