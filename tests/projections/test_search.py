"""projections.search: which indexes are kept, and which of their conversations are read again."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from domain.conversations.events import ConversationStarted, MessagePosted
from domain.conversations.state import Conversation, evolve
from domain.event import Event
from projections.search import BEGIN, END, IDLE_SECONDS, Search
from projections.views import Views
from tests.harness.clock import Clock
from tests.projections.histories import record


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("projections.search.time", clock)
    return clock


@dataclass
class Searched:
    """A search over conversations without a log. `read` are those that it has read, in their order."""

    views: Views = field(default_factory=Views)
    states: dict[str, Conversation] = field(default_factory=dict)
    read: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.search = Search(self.views, self._load)

    async def _load(self, id_: str) -> Conversation:
        self.read.append(id_)
        return self.states[id_]

    def happens(self, user: str, id_: str, event: Event) -> None:
        """Let something happen in a user's conversation."""
        (found,) = record([(f"conversation:{id_}", event)], after=self.views.position)
        found = replace(found, owner=user)
        self.states[id_] = evolve(self.states.get(id_, Conversation()), event, found.time)
        self.views.apply([found])
        self.search.follow([found])

    def start(self, user: str, id_: str, text: str) -> None:
        """Begin a conversation with a message."""
        about = {"conversation_id": id_, "user_id": user, "agent_id": "a", "backend": "b", "model": "", "title": ""}
        self.happens(user, id_, ConversationStarted.model_validate(about))
        self.post(user, id_, text)

    def post(self, user: str, id_: str, text: str) -> None:
        """Add a message."""
        message = MessagePosted(conversation_id=id_, message_id=text, role="user", content=text)
        self.happens(user, id_, message)

    async def find(self, user: str, text: str) -> list[str]:
        """Return the messages that are found."""
        return [hit.message_id for hit in await self.search.find(user, text, 10)]


@pytest.fixture
def searched() -> Iterator[Searched]:
    """Return the search of two users, who have said something."""
    made = Searched()
    made.start("ada", "c1", "ada says hello")
    made.start("bob", "c2", "bob says hello")
    with closing(made.search):
        yield made


async def test_an_index_goes_when_its_owner_has_not_searched_for_a_while(searched: Searched, clock: Clock) -> None:
    assert await searched.find("ada", "hello") == ["ada says hello"]
    clock.now += IDLE_SECONDS
    assert await searched.find("bob", "hello") == ["bob says hello"]
    searched.search.drop_idle()
    assert searched.search.statistics() == {"indexes": 2}, "that long, and not longer"
    clock.now += 1
    searched.search.drop_idle()
    assert list(searched.search._indexes) == ["bob"]
    searched.read.clear()
    assert await searched.find("bob", "hello") == ["bob says hello"]
    assert searched.read == []
    assert await searched.find("ada", "hello") == ["ada says hello"]
    assert searched.read == ["c1"]


async def test_every_search_begins_the_while_anew(searched: Searched, clock: Clock) -> None:
    for _ in range(4):
        await searched.find("ada", "hello")
        clock.now += IDLE_SECONDS / 2
        searched.search.drop_idle()
        assert list(searched.search._indexes) == ["ada"]
    clock.now += IDLE_SECONDS
    searched.search.drop_idle()
    assert searched.search.statistics() == {"indexes": 0}


async def test_too_many_users_cost_those_their_index_who_have_not_searched_the_longest(
    searched: Searched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.search.MOST_USERS", 2)
    for user in ("ada", "bob", "ada", "cyd", "dan"):
        await searched.find(user, "hello")
    assert list(searched.search._indexes) == ["ada", "cyd", "dan"]


async def test_what_others_do_makes_no_index_stale(searched: Searched) -> None:
    await searched.find("ada", "hello")
    index = searched.search._indexes["ada"]
    searched.post("bob", "c2", "bob says more")
    searched.start("bob", "c3", "bob says hello again")
    assert (index.stale, index.changed) == (set(), {})
    searched.read.clear()
    assert await searched.find("ada", "says") == ["ada says hello"]
    assert searched.read == []


async def test_what_a_user_does_is_found_and_only_that_is_read_again(searched: Searched) -> None:
    searched.start("ada", "c4", "ada says nothing")
    await searched.find("ada", "hello")
    searched.post("ada", "c4", "ada says more")
    searched.read.clear()
    assert await searched.find("ada", "more") == ["ada says more"]
    assert await searched.find("bob", "more") == []
    assert searched.read == ["c4", "c2"]


@pytest.mark.parametrize(
    ("text", "words", "marked"),
    [
        ("Where does the heron nest?", "nest HERON", ["heron", "nest"]),
        ("aaaa", "aa a", ["aa", "aa"]),
        ("STRASSE und Straße", "straße", ["Straße"]),
        ("İstanbul is far", "far", ["far"]),
        ("我们去看苍鹭", "苍鹭 去", ["去", "苍鹭"]),
        ("100% of a_b", "% _", ["%", "_"]),
        ("x" * 5000 + " needle " + "y" * 5000, "needle", ["needle"]),
        ("needle" + " straw" * 3000 + " thread", "thread needle", ["needle"]),
    ],
)
async def test_an_excerpt_shows_the_words_in_their_place(text: str, words: str, marked: list[str]) -> None:
    made = Searched()
    made.start("ada", "c1", text)
    with closing(made.search):
        ((_, excerpt),) = [(h.message_id, h.excerpt) for h in await made.search.find("ada", words, 10)]
    pieces = excerpt.split(BEGIN)
    assert [piece.partition(END)[0] for piece in pieces[1:]] == marked
    plain = excerpt.replace(BEGIN, "").replace(END, "").strip("…")
    assert plain in text
    assert len(plain) <= 170


@given(st.lists(st.text("abAB é", max_size=12), max_size=6), st.text("abé ", min_size=1, max_size=5))
def test_what_is_found_is_what_holds_every_word(texts: list[str], words: str) -> None:
    made = Searched()
    for number, text in enumerate(texts):
        made.start("ada", f"c{number}", f"{number} {text}")

    async def search() -> list[str]:
        return await made.find("ada", words)

    wanted = {
        f"{n} {t}" for n, t in enumerate(texts) if all(w.lower() in f"{n} {t}".lower() for w in words.split())
    }
    assert set(trio.run(search)) == (wanted if words.split() else set())


async def test_what_there_is_no_room_for_is_found_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("projections.search.KEPT_BYTES_EACH", 2000)
    monkeypatch.setattr("projections.search.KEPT_BYTES", 3000)
    made = Searched()
    for number in range(10):
        made.start("ada", f"c{number}", f"ada {number} " + "x" * 300)
        made.start("bob", f"d{number}", f"bob {number} " + "x" * 300)
    with closing(made.search):
        for _ in range(3):
            for user in ("ada", "bob"):
                assert len(await made.find(user, f"{user} xxx")) == 10
                assert sum(index.size for index in made.search._indexes.values()) <= 3000
                index = made.search._indexes[user]
                assert index.size == sum(index.sizes.values()) <= 2000
        made.post("ada", "c3", "ada says more")
        assert await made.find("ada", "more") == ["ada says more"]
