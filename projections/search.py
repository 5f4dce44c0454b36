"""Search over a user's messages: their texts in memory for each user who searches, never on disk.

They are read from the conversations at the first search, follow what changes, and are dropped when nobody uses
them. There is no index: to look through texts takes far less time than to index them, and an index takes several
times their memory. Parts of words are found in any language, in upper and lower case alike.
"""

import heapq
import sys
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import trio

from domain.conversations.state import Conversation
from domain.users.events import UserDeleted
from eventlog.envelope import Recorded
from projections.views import Views

IDLE_SECONDS = 600.0
MOST_USERS = 64
KEPT_BYTES, KEPT_BYTES_EACH = 64 << 20, 32 << 20
"""Of the texts in memory: of all users, and of one. What is beyond is read from the log for every search."""
_EXCERPT, _BEFORE = 160, 40
"""Characters of an excerpt, and how many of them may stand before what was found."""
_FOLDED_AT_ONCE = 100_000
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


@dataclass(frozen=True, slots=True)
class _Text:
    conversation_id: str
    message_id: str
    role: str
    created_at: float
    content: str
    folded: str
    """The same, character by character, in one case."""


@dataclass(slots=True, eq=False)
class _Index:
    """What is known of one user's messages. Of the conversations in `stale`, something else is known by now."""

    stale: set[str]
    used_at: float
    texts: dict[str, list[_Text]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    size: int = 0
    """Bytes in memory, of all of them."""
    too_large: set[str] = field(default_factory=set)
    """Conversations for which there is no room."""
    changed: dict[str, int] = field(default_factory=dict)
    """At which position a stale conversation was changed last."""
    lock: trio.Lock = field(default_factory=trio.Lock)

    def keep(self, conversation_id: str, texts: list[_Text]) -> None:
        self.too_large.discard(conversation_id)
        self.texts.pop(conversation_id, None)
        self.size -= self.sizes.pop(conversation_id, 0)
        size = sum(sys.getsizeof(t.content) + sys.getsizeof(t.folded) for t in texts)
        if self.size + size > KEPT_BYTES_EACH:
            self.too_large.add(conversation_id)
        elif texts:
            self.texts[conversation_id], self.sizes[conversation_id] = texts, size
            self.size += size


class Search:
    """Searches. `load` returns a conversation by its id."""

    def __init__(self, views: Views, load: Load) -> None:
        self._views = views
        self._load = load
        self._indexes: OrderedDict[str, _Index] = OrderedDict()

    def statistics(self) -> dict[str, int]:
        """Return of how many users there are texts in memory."""
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
                self._indexes.pop(record.event.user_id, None)

    async def find(self, user_id: str, text: str, limit: int) -> list[Hit]:
        """Return the newest messages of a user that hold every word of `text`."""
        words = sorted({_folded(word) for word in text.split()})
        if not words:
            return []
        index = self._index(user_id)
        async with index.lock:
            await self._refresh(user_id, index)
            kept = chain.from_iterable(index.texts.values())
            found = await trio.to_thread.run_sync(_found, kept, words, limit)
            for id_ in sorted(index.too_large):
                texts = await trio.to_thread.run_sync(_texts, await self._load(id_))
                found += await trio.to_thread.run_sync(_found, texts, words, limit)
        return await trio.to_thread.run_sync(_hits, _newest(found, limit), words)

    async def keep_small(self) -> None:
        """Drop what nobody has used for a while, from time to time. Never returns."""
        while True:
            await trio.sleep(IDLE_SECONDS / 10)
            self.drop_idle()

    def drop_idle(self) -> None:
        """Drop the texts of those who have not searched for a while."""
        oldest = time.monotonic() - IDLE_SECONDS
        for user_id, index in list(self._indexes.items()):
            if index.used_at < oldest:
                del self._indexes[user_id]

    def close(self) -> None:
        """Drop all texts."""
        self._indexes.clear()

    def _index(self, user_id: str) -> _Index:
        now = time.monotonic()
        # Those go who searched the longest ago.
        for other in list(self._indexes)[: -MOST_USERS or None]:
            if other != user_id:
                del self._indexes[other]
        if user_id not in self._indexes:
            everything = {c.id for c in self._views.conversations.of_user(user_id)}
            self._indexes[user_id] = _Index(everything, now)
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
            index.keep(id_, await trio.to_thread.run_sync(_texts, conversation))
            # Only now: who searches may give up in the middle. What has changed meanwhile stays for the next round.
            if index.changed.pop(id_, 0) <= before:
                index.stale.discard(id_)
            self._make_room(user_id)

    def _make_room(self, user_id: str) -> None:
        total = sum(index.size for index in self._indexes.values())
        for other, index in list(self._indexes.items()):
            if total <= KEPT_BYTES:
                return
            if other != user_id:
                total -= index.size
                del self._indexes[other]


def _texts(conversation: Conversation) -> list[_Text]:
    return [
        _Text(conversation.id, m.id, m.role, m.created_at, m.content, _folded(m.content))
        for m in conversation.messages
    ]


def _folded(text: str) -> str:
    """Return a text in one case, of the same length: what is found in it is at the same place in the text."""
    pieces = (text[n : n + _FOLDED_AT_ONCE] for n in range(0, len(text), _FOLDED_AT_ONCE))
    folded = "".join(map(_folded_piece, pieces))
    return text if folded == text else folded


def _folded_piece(text: str) -> str:
    folded = text.casefold()
    if len(folded) == len(text):
        return folded
    return "".join(f if len(f := c.casefold()) == 1 else c for c in text)


def _found(texts: Iterable[_Text], words: Sequence[str], limit: int) -> list[_Text]:
    return _newest((t for t in texts if all(word in t.folded for word in words)), limit)


def _newest(texts: Iterable[_Text], limit: int) -> list[_Text]:
    return heapq.nlargest(limit, texts, key=lambda t: t.created_at)


def _hits(texts: Iterable[_Text], words: Sequence[str]) -> list[Hit]:
    return [Hit(t.conversation_id, t.message_id, t.role, t.created_at, _excerpt(t, words)) for t in texts]


def _excerpt(text: _Text, words: Sequence[str]) -> str:
    """Return what stands around the first of the words, each of them marked."""
    begin = max(0, min(text.folded.find(word) for word in words) - _BEFORE)
    if begin <= _BEFORE:
        begin = 0
    end = begin + _EXCERPT
    parts, place = ["…" if begin else ""], begin
    for first, last in _places(text.folded, words, begin, end):
        parts += [text.content[place:first], BEGIN, text.content[first:last], END]
        place = last
    parts.append(text.content[place : max(place, end)] + ("…" if max(place, end) < len(text.content) else ""))
    return "".join(parts)


def _places(folded: str, words: Sequence[str], begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield where the words stand, as they begin between two places; those that overlap are one."""
    found: list[tuple[int, int]] = []
    for word in words:
        at = folded.find(word, begin)
        while 0 <= at < end:
            found.append((at, at + len(word)))
            at = folded.find(word, at + len(word))
    last = None
    for place in sorted(found):
        if last and place[0] < last[1]:
            last = (last[0], max(last[1], place[1]))
        else:
            if last:
                yield last
            last = place
    if last:
        yield last
