"""eventlog.bounds: what may be kept, and that whatever may be is read back as it was."""

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from domain.event import Event
from eventlog import bounds
from eventlog.codec import EventMapper
from eventlog.envelope import StreamAppend
from eventlog.errors import UnkeepableError
from eventlog.filter import Filter
from eventlog.log import open_log
from tests.eventlog.things import ORIGIN, stored
from tests.harness.poison import nested


class Held(Event):
    """Anything."""

    TOPIC = "test.held"

    anything: Any = None


MAPPER = EventMapper([Held])
LARGEST, SMALLEST = 2**63 - 1, -(2**63)

ANY_TEXT = st.text(st.characters(), max_size=12)
"""Halves of surrogate pairs are among them."""
ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=2**62, max_value=2**66)
    | st.floats()
    | ANY_TEXT
    | st.integers(min_value=50, max_value=80).map(nested),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=20,
)


def _document(value: Any) -> bytes:
    return json.dumps(value).encode()


@given(value=ANY_JSON)
@example(value={"deep": nested(bounds.MAX_DEPTH - 1), "n": LARGEST})
@example(value=[LARGEST] * bounds.MAX_VALUES)
def test_a_document_is_refused_or_can_be_kept_and_is_read_back_as_it_was(value: Any) -> None:
    try:
        found = bounds.read(_document(value))
    except (UnkeepableError, ValueError):
        return
    event = Held(anything=found)
    topic, payload, _ = MAPPER.encode(event, "held:1", 1, "")
    assert MAPPER.decode(stored(topic, payload)).event == event == Held(anything=value)


@given(value=ANY_JSON)
def test_an_event_is_refused_when_it_is_encoded_or_can_be_decoded(value: Any) -> None:
    event = Held(anything=value)
    try:
        topic, payload, _ = MAPPER.encode(event, "held:1", 1, "")
    except UnkeepableError:
        return
    assert MAPPER.decode(stored(topic, payload)).problem == ""


@pytest.mark.parametrize(
    "value",
    [
        nested(bounds.MAX_DEPTH),
        [0] * bounds.MAX_VALUES,
        LARGEST,
        SMALLEST,
        {"é": "\U0001f4a9", "": 1.5e300},
        ['[{,"' * 40_000],
        ["\\" * 100_001],
    ],
    ids=["deep", "many", "largest", "smallest", "odd texts", "brackets in a text", "escapes in a text"],
)
def test_what_is_just_within_the_bounds_is_read(value: Any) -> None:
    assert bounds.read(_document(value)) == value


@pytest.mark.parametrize(
    ("document", "told"),
    [
        (_document(nested(bounds.MAX_DEPTH + 1)), "at most 64 levels"),
        (b"[" * 5_000 + b"]" * 5_000, "nested too deeply"),
        (b"[" * 9_000, "nested too deeply"),
        (b"[" * 1_000_000, "more than 10000 values"),
        (_document([0] * (bounds.MAX_VALUES + 1)), "more than 10000 values"),
        (_document([[[0] * 99] * 101]), "more than 10000 values"),
        (_document({str(n): n for n in range(bounds.MAX_VALUES + 1)}), "more than 10000 values"),
        (_document(LARGEST + 1), "64 bits"),
        (_document([SMALLEST - 1]), "64 bits"),
        (_document({"a": 10**400}), "64 bits"),
        (b'["\\ud800"]', "surrogate"),
        (b'{"\\udc00\\ud800": 1}', "surrogate"),
        (b"1e999", "too large"),
    ],
)
def test_what_is_beyond_the_bounds_is_refused_in_words(document: bytes, told: str) -> None:
    with pytest.raises(UnkeepableError, match=told):
        bounds.read(document)


@pytest.mark.parametrize(
    "document", [b"", b"{", b"NaN", b"[Infinity]", b'"\xff"', b"{'a': 1}", '{"a": 1}'.encode("utf-16"), b'"' * 3]
)
def test_what_is_no_json_is_no_json(document: bytes) -> None:
    with pytest.raises(ValueError):
        bounds.read(document)


def test_a_byte_order_mark_does_no_harm() -> None:
    assert bounds.read(b"\xef\xbb\xbf[1]") == [1]


@pytest.mark.parametrize("piece", [b"[],", b"{},", b'"",', b"1,", b'"a":{"a":['], ids=lambda piece: piece.decode())
def test_too_much_costs_no_more_than_as_much_as_may_be(piece: bytes) -> None:
    """Measured beside a document that is just within the bounds, in the same run."""
    most, too_much = _document([[] for _ in range(bounds.MAX_VALUES)]), b"[" + piece * 3_000_000
    begun = time.process_time()
    bounds.read(most)
    within, begun = time.process_time() - begun, time.process_time()
    with pytest.raises(UnkeepableError):
        bounds.read(too_much)
    assert time.process_time() - begun < 5 * within


@pytest.mark.parametrize(
    "tail", [b"", b"\\", b'"', b'\\"', b"]"], ids=["cut", "escape", "quote", "quoted", "closed"]
)
@pytest.mark.parametrize(
    "piece", [b'\\"', b"\\\\", b'"', b'"\\', b'\\"x', b'"",', b"\\u", b'["', b" ", b"1", b"\\n"], ids=repr
)
def test_no_document_is_read_more_than_once(piece: bytes, tail: bytes) -> None:
    """Measured beside one string of the same length, in the same run."""
    size = 1_000_000
    plain, odd = b'"' + b"x\\n" * (size // 3) + b'"', b'"' + piece * (size // len(piece)) + tail
    begun = time.process_time()
    bounds.read(plain)
    once, begun = time.process_time() - begun, time.process_time()
    with suppress(ValueError, UnkeepableError):
        bounds.read(odd)
    assert time.process_time() - begun < 30 * once


@given(
    pieces=st.lists(st.sampled_from([b'"', b"\\", b"[", b"{", b",", b"x", b'"x"', b'"\\""', b"]"]), max_size=60),
    window=st.integers(1, 9),
    enough=st.integers(0, 40),
)
@example(pieces=[b'"', b"\\", b"x", b'"'], window=1, enough=0)  # An escape that no window holds.
def test_it_is_all_the_same_in_how_many_pieces_a_document_is_counted(
    pieces: list[bytes], window: int, enough: int
) -> None:
    document = b"".join([*pieces, b"," * (enough + 1)])  # Else nothing need be counted.
    *_, at_once = bounds.count(document, enough)
    with patch.object(bounds, "_WINDOW", window):
        *_, in_pieces = bounds.count(document, enough)
    assert in_pieces == at_once


def test_what_is_trimmed_is_within_the_bounds_and_the_rest_is_as_it_was() -> None:
    deep = {"kept": [1, "two", None], "deep": nested(200)}
    found = bounds.trimmed(deep)
    bounds.check(found)
    assert found["kept"] == deep["kept"]
    assert bounds.trimmed(nested(bounds.MAX_DEPTH)) == nested(bounds.MAX_DEPTH)


UNKEEPABLE: dict[str, Any] = {
    "too deep to be read": nested(220),
    "too deep to be written": nested(260),
    "64 bits": 2**63,
    "64 bits, inside": [{"n": 2**63}],
    "65 bits": 2**64,
    "half a character": "\ud800",
    "half a character for a name": {"\ud800": 1},
    "a number for a name": {1: 1},
    "too large": "x" * (33 << 20),
}


@pytest.mark.parametrize("odd", UNKEEPABLE.values(), ids=UNKEEPABLE)
async def test_an_event_that_could_not_be_read_back_is_never_in_the_log(tmp_path: Path, odd: Any) -> None:
    async with open_log(tmp_path, MAPPER) as log:
        with pytest.raises(UnkeepableError):
            await log.append(StreamAppend("held:1", 0, [Held(), Held(anything=odd)]), origin=ORIGIN)
        assert await log.read(Filter()) == []
        await log.append(StreamAppend("held:1", 0, [Held(anything="fine")]), origin=ORIGIN)
        assert [r.event.anything for r in await log.read(Filter())] == ["fine"]
