"""What is private in an event is encrypted in the log, and can be taken from it for good."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import trio

from domain.catalogue import EVENT_TYPES
from domain.event import Event
from eventlog.codec import EventMapper
from eventlog.envelope import ERASED, UNREADABLE, Recorded, StoredRecord, StreamAppend
from eventlog.errors import KeyDestroyedError, UnknownEventError
from eventlog.filter import Filter
from eventlog.log import open_log
from eventlog.vault import Vault
from tests.domain.samples import SAMPLES
from tests.eventlog.things import ORIGIN, Happened, append
from tests.eventlog.things_sealed import (
    MASTER,
    Aged,
    Named,
    Told,
    Whispered,
    first_shape,
    sealed_mapper,
    tell,
)

PRIVATE = [t for t in EVENT_TYPES if t.PRIVATE]


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Vault]:
    """Return a vault in which ada and bob have keys."""
    opened = Vault(tmp_path, MASTER)
    opened.create("ada")
    opened.create("bob")
    yield opened
    opened.close()


def _mark(event_type: type[Event], name: str) -> str:
    """Return a text that is found nowhere else, with what JSON writes in another way."""
    return f'planted-{event_type.TOPIC}-{name}-\u2603"\\\n\x00'


def _planted(event_type: type[Event]) -> Event:
    """Return an event with a text to look for in each private field."""
    sample = next(e for e in SAMPLES if type(e) is event_type)
    texts: dict[str, Any] = {name: _mark(event_type, name) for name in event_type.PRIVATE}
    if "extra" in texts:
        texts["extra"] = {"planted-key": [texts["extra"]]}
    return event_type.model_validate({**sample.model_dump(), **texts})


def _stored(mapper: EventMapper, event: Event, owner: str = "ada", stream: str = "one:1") -> StoredRecord:
    topic, payload, digest = mapper.encode(event, stream, 2, owner)
    return StoredRecord(5, stream, 2, topic, payload, 1_500_000, "system", "job", None, digest)


def _blanked(event: Event) -> dict[str, Any]:
    """Return what is read of an event once its private fields are gone."""
    fields = type(event).model_fields
    blanks = {n: "" if fields[n].is_required() else fields[n].default for n in type(event).PRIVATE}
    return {**event.model_dump(), **blanks}


# -- one event --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("event_type", PRIVATE, ids=lambda t: t.TOPIC)
def test_nothing_private_is_in_what_is_stored(vault: Vault, event_type: type[Event]) -> None:
    event = _planted(event_type)
    payload = _stored(EventMapper(EVENT_TYPES, vault), event).state
    assert b"planted" not in payload
    assert b"planted" in _stored(EventMapper(EVENT_TYPES), event).state, "without a vault it would be"


@pytest.mark.parametrize("event", SAMPLES, ids=lambda e: e.TOPIC)
def test_every_domain_event_survives_being_encrypted(vault: Vault, event: Event) -> None:
    mapper = EventMapper(EVENT_TYPES, vault)
    back = mapper.decode(_stored(mapper, event))
    assert back.event == event
    assert type(back.event) is type(event)
    assert not back.erased


@pytest.mark.parametrize("event_type", PRIVATE, ids=lambda t: t.TOPIC)
def test_every_domain_event_can_be_read_without_its_owners_key(vault: Vault, event_type: type[Event]) -> None:
    mapper, event = EventMapper(EVENT_TYPES, vault), _planted(event_type)
    stored = _stored(mapper, event)
    vault.destroy("ada")
    for reader in (mapper, EventMapper(EVENT_TYPES)):
        back = reader.decode(stored)
        assert back.erased
        assert back.event == event_type.model_validate(_blanked(event))
        assert (back.stream, back.version, back.position, back.origin.actor) == ("one:1", 2, 5, "system")


@pytest.mark.parametrize("event_type", PRIVATE, ids=lambda t: t.TOPIC)
def test_a_blank_fits_every_private_field(event_type: type[Event]) -> None:
    event_type.model_validate(_blanked(_planted(event_type)))


@pytest.mark.parametrize("event", [e for e in SAMPLES if not e.PRIVATE], ids=lambda e: e.TOPIC)
def test_an_event_without_private_fields_needs_neither_key_nor_owner(vault: Vault, event: Event) -> None:
    mapper = EventMapper(EVENT_TYPES, vault)
    for owner in ("", "nobody"):
        stored = _stored(mapper, event, owner)
        assert b"\0" not in stored.state
        assert mapper.decode(stored).event == event


def test_an_event_of_private_fields_alone_survives_too(vault: Vault) -> None:
    mapper = sealed_mapper(vault)
    stored = _stored(mapper, Whispered(text="hush"))
    assert mapper.decode(stored).event == Whispered(text="hush")
    vault.destroy("ada")
    assert mapper.decode(stored).event == Whispered(text="")


def test_private_fields_that_nobody_owns_are_a_bug(vault: Vault) -> None:
    with pytest.raises(AssertionError, match=r"test\.told"):
        sealed_mapper(vault).encode(Told(text="x"), "one:1", 1, "")


def test_the_digest_is_that_of_the_stored_bytes(vault: Vault) -> None:
    stored = _stored(sealed_mapper(vault), Told(text="x"))
    assert stored.digest == sha256(stored.state).digest()


def test_what_was_written_before_there_was_a_vault_is_read_as_it_is(vault: Vault) -> None:
    stored = _stored(sealed_mapper(None), Told(text="in the clear"))
    back = sealed_mapper(vault).decode(stored)
    assert back.event == Told(text="in the clear")
    assert not back.erased


@pytest.mark.parametrize(
    "moved",
    [
        {"originator_id": "one:2"},
        {"originator_version": 3},
        {"topic": "test.whispered", "state": b"{}"},
    ],
    ids=["to another stream", "to another version", "to another type"],
)
def test_what_was_encrypted_cannot_be_moved(vault: Vault, moved: dict[str, Any]) -> None:
    mapper = sealed_mapper(vault)
    stored = _stored(mapper, Told(text="a secret"))
    if "state" in moved:  # The open part of the other type, and this one's sealed part.
        moved = {**moved, "state": moved["state"] + b"\0" + stored.state.partition(b"\0")[2]}
    with pytest.raises(UnknownEventError, match="position 5"):
        mapper.decode(stored._replace(**moved))


def test_what_was_encrypted_cannot_be_given_to_another_owner(vault: Vault) -> None:
    mapper = sealed_mapper(vault)
    stored = _stored(mapper, Told(text="a secret"))
    with pytest.raises(UnknownEventError, match="position 5"):
        mapper.decode(stored._replace(state=stored.state.replace(b"\0ada\0", b"\0bob\0")))


# -- shapes -----------------------------------------------------------------------------------------------


def _first_shape(vault: Vault, topic: str, **private: str) -> StoredRecord:
    payload = first_shape(vault, topic, private)
    digest = sha256(payload).digest()
    return StoredRecord(5, "one:1", 2, topic, payload, 1_500_000, "system", "job", None, digest)


@pytest.mark.parametrize(
    "event",
    [Named(first="Ada", last="L", kind="person"), Aged(text="abc", note="n", size=3)],
    ids=lambda e: e.TOPIC,
)
def test_a_later_shape_survives_being_encrypted(vault: Vault, event: Event) -> None:
    mapper = sealed_mapper(vault)
    stored = _stored(mapper, event)
    assert mapper.decode(stored).event == event
    vault.destroy("ada")
    assert mapper.decode(stored).event.model_dump() == _blanked(event)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"name": "Ada Lovelace"}, Named(first="Ada", last="Lovelace", kind="person")),
        ({"text": "abc"}, Aged(text="abc", note="none", size=3)),
    ],
    ids=["split", "added"],
)
def test_an_older_encrypted_shape_is_upcast(vault: Vault, old: dict[str, str], new: Event) -> None:
    stored = _first_shape(vault, new.TOPIC, **old)
    back = sealed_mapper(vault).decode(stored)
    assert back.event == new
    assert not back.erased


def test_an_erased_event_of_an_older_shape_whose_private_fields_are_still_there_is_upcast(vault: Vault) -> None:
    stored = _first_shape(vault, Aged.TOPIC, text="abc")
    vault.destroy("ada")
    back = sealed_mapper(vault).decode(stored)
    assert back.erased
    assert (back.event.text, back.event.note) == ("", "")


def test_an_erased_event_of_an_older_shape_whose_private_fields_had_other_names_is_upcast(vault: Vault) -> None:
    """Else one deleted user and one renamed field keep the whole log from being read."""
    stored = _first_shape(vault, Named.TOPIC, name="Ada Lovelace")
    vault.destroy("ada")
    back = sealed_mapper(vault).decode(stored)
    assert back.erased
    assert (back.event.first, back.event.last) == ("", "")


# -- a log ------------------------------------------------------------------------------------------------


def _files(folder: Path) -> bytes:
    return b"".join(p.read_bytes() for p in folder.glob("events.db*"))


async def test_nothing_private_is_in_any_file_of_the_log(tmp_path: Path, vault: Vault) -> None:
    async with open_log(tmp_path, EventMapper(EVENT_TYPES, vault)) as log:
        for event_type in PRIVATE:
            event = _planted(event_type)
            (live,) = await log.append(StreamAppend(f"s:{event.TOPIC}", 0, [event], "ada"), origin=ORIGIN)
            assert live.event == event
        assert b"planted" not in _files(tmp_path)
        assert [r.event for r in await log.read(Filter())] == [_planted(t) for t in PRIVATE]
    assert b"planted" not in _files(tmp_path)


async def test_the_chain_verifies_before_and_after_a_key_is_destroyed_and_a_payload_blanked(
    tmp_path: Path, vault: Vault
) -> None:
    mapper = sealed_mapper(vault)
    async with open_log(tmp_path, mapper) as log:
        await log.append(tell("one:1", 0, "a", "b", owner="ada"), tell("two:1", 0, "c", owner="bob"), origin=ORIGIN)
        assert log.reader.verify() == 3
        vault.destroy("ada")
        assert log.reader.verify() == 3
        assert [(r.event.text, r.erased) for r in await log.read(Filter())] == [
            ("", True),
            ("", True),
            ("c", False),
        ]
    with closing(sqlite3.connect(tmp_path / "events.db")) as connection, connection:
        connection.execute("UPDATE stored_events SET state = X'' WHERE position = 1")
    async with open_log(tmp_path, mapper) as log:
        assert log.reader.verify() == 3
        found = await log.read(Filter())
        assert [r.event for r in found] == [ERASED, Told(n=1, text=""), Told(text="c")]
        await log.append(tell("two:1", 1, "d", owner="bob"), origin=ORIGIN)
        assert log.reader.verify() == 4


async def test_a_changed_encrypted_payload_is_found_by_the_chain_and_by_the_reader(
    tmp_path: Path, vault: Vault
) -> None:
    async with open_log(tmp_path, sealed_mapper(vault)) as log:
        await log.append(tell("one:1", 0, "a", owner="ada"), origin=ORIGIN)
        with closing(sqlite3.connect(tmp_path / "events.db")) as connection, connection:
            (state,) = connection.execute("SELECT state FROM stored_events").fetchone()
            connection.execute("UPDATE stored_events SET state=?", (state[:-1] + bytes([state[-1] ^ 1]),))
        (found,) = await log.read(Filter())
        assert found.event is UNREADABLE
        assert "position 1" in found.problem


async def test_an_append_for_a_destroyed_owner_is_refused_and_harms_nobody(tmp_path: Path, vault: Vault) -> None:
    outcomes: dict[str, object] = {}

    async def attempt(*appends: StreamAppend) -> None:
        name = appends[0].stream
        try:
            outcomes[name] = [r.event for r in await log.append(*appends, origin=ORIGIN)]
        except KeyDestroyedError as error:
            outcomes[name] = error.owner

    vault.destroy("ada")
    heard: list[Recorded[Any]] = []
    async with open_log(tmp_path, sealed_mapper(vault)) as log:
        log.listen(heard.extend)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(attempt, tell("gone:1", 0, "a", owner="ada"))
            nursery.start_soon(attempt, tell("bob:1", 0, "b", owner="bob"))
            # All or nothing, also when only one of several streams is of a deleted user.
            nursery.start_soon(attempt, tell("bob:2", 0, "c", owner="bob"), tell("gone:2", 0, "d", owner="ada"))
            nursery.start_soon(attempt, StreamAppend("gone:3", 0, [Happened(n=1)], "ada"))
        assert outcomes == {
            "gone:1": "ada",
            "bob:1": [Told(text="b")],
            "bob:2": "ada",
            "gone:3": [Happened(n=1)],
        }
        assert {r.stream for r in heard} == {r.stream for r in await log.read(Filter())} == {"bob:1", "gone:3"}
        assert await log.is_writable()
        await append(log, "gone:3", 1, 2)
        assert log.reader.verify() == 3


async def test_what_was_forgotten_is_read_from_disk_with_blanks(tmp_path: Path, vault: Vault) -> None:
    async with open_log(tmp_path, sealed_mapper(vault)) as log:
        await log.append(tell("one:1", 0, "a", owner="ada"), origin=ORIGIN)
        seen = log.recent(0)
        assert seen is not None
        assert seen[0].event == Told(text="a")
        vault.destroy("ada")
        log.forget()
        assert log.recent(0) is None
        async with trio.open_nursery() as nursery:
            async for record in log.subscribe(0):
                assert (record.event, record.erased) == (Told(text=""), True)
                nursery.cancel_scope.cancel()
                break
