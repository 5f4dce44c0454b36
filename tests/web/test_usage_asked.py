"""web.openai.usage: asking a stream for its usage, and keeping it from a client that did not ask."""

from typing import Any

import pytest

from tests.agents.chunks import DONE, chunk, tool_call_chunk, usage_chunk
from web.openai.usage import asking_for_usage, without_usage

ASKED = {"include_usage": True}
USAGE = b'"usage": {"prompt_tokens": 3, "completion_tokens": 5}'


@pytest.mark.parametrize(
    ("body", "options"),
    [
        ({"stream": True}, ASKED),
        ({"stream": 1}, ASKED),
        ({"stream": True, "stream_options": {"include_usage": "false"}}, ASKED),
        ({"stream": True, "stream_options": None}, ASKED),
        ({"stream": True, "stream_options": "odd"}, ASKED),
        ({"stream": True, "stream_options": {}}, ASKED),
        ({"stream": True, "stream_options": {"include_usage": False}}, ASKED),
        (
            {"stream": True, "stream_options": {"include_obfuscation": False}},
            {"include_obfuscation": False, "include_usage": True},
        ),
    ],
)
def test_a_stream_that_would_not_tell_its_usage_is_asked_for_it(body: dict[str, Any], options: object) -> None:
    before = {"model": "m", **body}
    kept = {**before}
    assert asking_for_usage(before) == {**kept, "stream_options": options}
    assert before == kept


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"stream": False},
        {"stream": None},
        {"stream": False, "stream_options": {"include_usage": False}},
        {"stream": True, "stream_options": {"include_usage": True}},
    ],
)
def test_what_tells_its_usage_anyway_is_left_as_it_is(body: dict[str, Any]) -> None:
    assert asking_for_usage({"model": "m", **body}) is None


HIDDEN = {
    "as the scripted agent writes it": usage_chunk(),
    "with spaces": b'data: {"choices" : [ ], ' + USAGE + b"}\n\n",
    "the other way round": b"data: {" + USAGE + b',"choices":[]}\n\n',
    "with carriage returns": b'data: {"choices":[],' + USAGE + b"}\r\n\r\n",
    "with an id": b'id: 5\ndata: {"choices":[],' + USAGE + b"}\n\n",
}


@pytest.mark.parametrize("event", HIDDEN.values(), ids=HIDDEN)
def test_the_event_that_tells_the_usage_goes_and_its_neighbours_stay(event: bytes) -> None:
    before, after = chunk("one ") + b": comment\n\n", chunk("two ") + chunk(reason="stop")
    assert without_usage(before + event + after + DONE) == before + after + DONE
    assert without_usage(before + event) == before
    assert without_usage(event + DONE) == DONE
    assert without_usage(event) == b""


def test_a_stream_whose_lines_end_with_carriage_returns_keeps_them() -> None:
    one, done = b'data: {"choices":[{"delta":{}}]}\r\n\r\n', b"data: [DONE]\r\n\r\n"
    assert without_usage(one + HIDDEN["with carriage returns"] + done) == one + done


@pytest.mark.parametrize(
    "event",
    [
        chunk('{"choices": [], "usage": {"prompt_tokens": 1}}'),
        chunk('data: {"choices":[],"usage":{}}\n\n'),
        tool_call_chunk("report", {"choices": [], "usage": {"prompt_tokens": 1}}),
        chunk("last ", usage={"prompt_tokens": 3}),
        chunk("one ", usage=None),
        b'data: {"choices": [], "prompt_filter_results": []}\n\n',
        b'data: {"choices": [{"delta": {"content": "\\"choices\\": []"}}], ' + USAGE + b"}\n\n",
        b"data: {nonsense\n\n",
        DONE,
        b"",
    ],
)
def test_an_event_that_tells_anything_else_stays(event: bytes) -> None:
    assert without_usage(event) == event
    assert without_usage(event + usage_chunk() + event) == event + event
