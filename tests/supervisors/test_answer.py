"""Reading an agent's answer."""

import contextlib
import itertools
import time
from collections.abc import Iterator

import orjson
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from supervisors.turns.answer import MAX_LINE, AnswerReader, BrokenAnswerError, whole_answer
from supervisors.turns.live import LiveTurn
from tests.agents.chunks import DONE, chunk, completion, usage_chunk

ERROR = b'data: {"error": {"message": "out of credit"}}\n\n'
LINE_ENDS = st.sampled_from([b"\n", b"\r\n"])
CUTS = st.lists(st.integers(0, 2000), max_size=40)


def _read(reader: AnswerReader, *parts: bytes) -> Iterator[str]:
    for part in parts:
        yield reader.feed(part)
    reader.end()


def _cut(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(c % (len(data) + 1) for c in cuts)})
    return [data[a:b] for a, b in itertools.pairwise(places)]


@given(st.lists(st.text(), max_size=20), CUTS, LINE_ENDS)
def test_any_cutting_of_a_stream_gives_the_same_text(texts: list[str], cuts: list[int], end: bytes) -> None:
    stream = b"".join([chunk(t) for t in texts] + [chunk(reason="stop"), usage_chunk(), DONE]).replace(b"\n", end)
    reader = AnswerReader()
    assert "".join(reader.feed(part) for part in _cut(stream, cuts)) == "".join(texts)
    reader.end()
    assert (reader.done, reader.finish_reason) == (True, "stop")


@given(CUTS)
def test_the_text_before_an_error_is_kept_however_the_stream_is_cut(cuts: list[int]) -> None:
    reader, texts = AnswerReader(), list[str]()
    with pytest.raises(BrokenAnswerError, match="out of credit"):
        texts.extend(_read(reader, *_cut(chunk("one ") + chunk("two ") + ERROR, cuts)))
    assert "".join(texts) == "one two "


@given(st.binary())
def test_no_bytes_break_the_reader_in_an_unforeseen_way(data: bytes) -> None:
    reader = AnswerReader()
    try:
        reader.feed(data)
        reader.end()
    except BrokenAnswerError:
        pass


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-9, 9) | st.text(),
        lambda j: (
            st.lists(j)
            | st.dictionaries(
                st.sampled_from(
                    ["choices", "delta", "content", "usage", "finish_reason", "error", "message", "total_tokens"]
                ),
                j,
            )
        ),
    )
)
def test_no_json_breaks_the_reader_in_an_unforeseen_way(data: object) -> None:
    reader = AnswerReader()
    for read in (
        lambda: reader.feed(b"data: " + orjson.dumps(data) + b"\n\n"),
        lambda: trio.run(whole_answer, orjson.dumps(data)),
    ):
        with contextlib.suppress(BrokenAnswerError):
            read()


def test_comments_and_named_events_are_passed_over() -> None:
    reader = AnswerReader()
    told = b': ping\n\nevent: tool.progress\ndata: {"error": "not for us"}\n\nevent: message\n' + chunk("text")
    assert reader.feed(told) == "text"


def test_what_comes_after_the_end_is_passed_over() -> None:
    assert AnswerReader().feed(chunk("text", "stop") + DONE + chunk("more") + b"data: garbage\n\n") == "text"


def test_a_stream_may_end_without_a_done_when_it_gave_a_reason() -> None:
    reader = AnswerReader()
    reader.feed(chunk("text", "length"))
    reader.end()
    assert reader.finish_reason == "length"


def test_a_stream_that_ends_without_a_reason_is_broken() -> None:
    reader = AnswerReader()
    reader.feed(chunk("text"))
    with pytest.raises(BrokenAnswerError, match="broke off"):
        reader.end()


def test_a_line_without_an_end_is_given_up() -> None:
    with pytest.raises(BrokenAnswerError, match="without an end"):
        list(_read(AnswerReader(), b"data: ", b"x" * (MAX_LINE + 1)))


@pytest.mark.parametrize(("line", "words"), [(b"data: {", "not JSON"), (b"data: [1]", "not a JSON object")])
def test_garbage_is_named(line: bytes, words: str) -> None:
    with pytest.raises(BrokenAnswerError, match=words):
        list(_read(AnswerReader(), line + b"\n"))


async def test_an_answer_in_one_piece_is_read() -> None:
    assert await whole_answer(orjson.dumps(completion("text"))) == ("text", "stop")


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b'{"choices": []}', b'{"choices": [{"message": 1}]}'])
async def test_what_is_no_chat_completion_is_refused(data: bytes) -> None:
    with pytest.raises(BrokenAnswerError):
        await whole_answer(data)


@pytest.mark.parametrize("error", ["words", {"message": "words"}, {"detail": "words"}])
async def test_an_error_is_told_in_its_own_words(error: object) -> None:
    with pytest.raises(BrokenAnswerError, match="words"):
        await whole_answer(orjson.dumps({"error": error}))


@pytest.mark.parametrize(
    "piece",
    [b"x", b"\n", b"\r\n", b"x\n", b":\n", b"data:\n", b"data: {}\n", b"event: x\n\n", b"\r", b"data: [[[\n"],
    ids=repr,
)
@pytest.mark.parametrize("size", [1, 100, 65536], ids=["byte by byte", "in small pieces", "in large ones"])
def test_no_byte_of_an_answer_costs_more_the_more_there_are(piece: bytes, size: int) -> None:
    """Four times as much takes some four times as long, and not sixteen times, however it is cut."""

    def seconds(length: int) -> float:
        data = (piece * (length // len(piece) + 1))[:length]
        parts = [data[place : place + size] for place in range(0, length, size)]
        reader, begun = AnswerReader(), time.process_time()
        for part in parts:
            reader.feed(part)
            reader.error = None  # As if it were none: reading goes on.
        return time.process_time() - begun

    assert min(seconds(400_000) for _ in range(3)) < 10 * max(min(seconds(100_000) for _ in range(3)), 0.001)


def test_watching_an_answer_costs_as_much_as_is_new() -> None:
    live = LiveTurn("t", "c", "u", "m")
    for number in range(5000):
        live.add(f"{number} ", 10**9)
        assert live.text(live.length - 2).endswith(" ")
    assert live.text().split() == [str(number) for number in range(5000)]
    assert live.text(live.length) == live.text(live.length + 1) == ""
    assert live.text(3) == live.text()[3:]


@given(st.lists(st.text(max_size=20), max_size=20), st.integers(0, 60))
def test_an_answer_is_cut_at_a_character(texts: list[str], most: int) -> None:
    live = LiveTurn("t", "c", "u", "m")
    for text in texts:
        live.add(text, most)
    whole = "".join(texts)
    assert whole.startswith(live.text())
    assert live.length == len(live.text())
    assert len(live.text().encode()) <= most
    assert live.text() == whole or live.size == most
