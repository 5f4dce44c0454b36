"""supervisors.turns.usage: what an answer says of its tokens, however it is cut and whatever it is about."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.conversations.events import Usage
from supervisors.turns.usage import UsageReader, usage_of

COUNTS = st.integers(0, 500_000_000)
TRICKS = st.sampled_from(
    [
        "",
        '"usage"',
        '"usage": {"prompt_tokens": 666, "completion_tokens": 666}',
        '{"usage": {"prompt_tokens": 666}}',
        '\\"usage\\": {"prompt_tokens": 666}',
        'data: {"usage":{"prompt_tokens":666,"completion_tokens":666}}\n\n',
        "\\",
        '\\\\"',
        "usage",
    ]
)
TEXTS = st.lists(st.one_of(TRICKS, st.text(max_size=20)), max_size=6).map("".join)


def _tail(data: bytes, cuts: list[int]) -> Usage | None:
    """Return what is read of an answer that comes in pieces."""
    reader, at = UsageReader(), 0
    for cut in [*sorted(c % (len(data) + 1) for c in cuts), len(data)]:
        reader.add(data[at:cut])
        at = cut
    return reader.usage()


def _whole(text: str, usage: dict[str, Any] | None, name: str) -> bytes:
    message = {"role": "assistant", "content": text, name: text}
    answer: dict[str, Any] = {"choices": [{"message": message, "finish_reason": "stop"}], "model": text}
    if usage is not None:
        answer["usage"] = usage
    return json.dumps(answer, ensure_ascii=False).encode()


def _streamed(text: str, usage: dict[str, Any] | None, name: str) -> bytes:
    chunks: list[dict[str, Any]] = [
        {"choices": [{"delta": {"content": text[i : i + 7], name: ""}}], "usage": None}
        for i in range(0, len(text), 7)
    ]
    if usage is not None:
        chunks.append({"choices": [], "usage": usage})
    return b"".join(b"data: " + json.dumps(c).encode() + b"\n\n" for c in chunks) + b"data: [DONE]\n\n"


@pytest.mark.parametrize("shape", [_whole, _streamed])
@settings(max_examples=300)
@given(text=TEXTS, prompt=COUNTS, completion=COUNTS, cuts=st.lists(st.integers(0, 2000), max_size=12))
def test_usage_is_found_wherever_the_answer_is_cut(
    shape: Any, text: str, prompt: int, completion: int, cuts: list[int]
) -> None:
    told = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    data = shape(text, told, "reasoning")
    assert _tail(data, cuts) == Usage(
        prompt_tokens=prompt, completion_tokens=completion, total_tokens=prompt + completion
    )


@pytest.mark.parametrize("shape", [_whole, _streamed])
@settings(max_examples=300)
@given(text=TEXTS, cuts=st.lists(st.integers(0, 2000), max_size=12))
def test_what_the_answer_is_about_is_never_taken_for_usage(shape: Any, text: str, cuts: list[int]) -> None:
    assert _tail(shape(text, None, "reasoning"), cuts) is None


@settings(max_examples=300)
@given(data=st.lists(st.one_of(st.binary(max_size=30), st.just(b'"usage"'), st.just(b'"usage":{')), max_size=30))
def test_of_whatever_an_agent_sends_nothing_breaks(data: list[bytes]) -> None:
    reader = UsageReader()
    for part in data:
        reader.add(part)
    reader.usage()


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_what_is_nested_too_deep_to_be_read_is_no_usage(opening: str) -> None:
    reader = UsageReader()
    reader.add(b'{"usage":{"a":' + (opening * 2000).encode())
    assert reader.usage() is None


@pytest.mark.parametrize("before", [0, 200])
@pytest.mark.parametrize("after", [0, 200])
def test_usage_is_found_wherever_it_stands_and_the_rest_is_not_kept(before: int, after: int) -> None:
    reader = UsageReader()
    for _ in range(before):
        reader.add(b"x" * 10_000)
    reader.add(b'{"usage":{"prompt_tokens":1,"completion_tokens":2}}')
    for _ in range(after):
        reader.add(b'"usage":null,' + b"x" * 10_000)
        reader.add(b"x" * 10_000)
    assert reader.usage() == Usage(prompt_tokens=1, completion_tokens=2)
    assert sum(map(len, reader._seen)) < 100_000


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"prompt_tokens": None},
        {"prompt_tokens": "5"},
        {"prompt_tokens": -1},
        {"prompt_tokens": True},
        {"prompt_tokens": 1.5},
        {"total_tokens": 5},
        {"prompt_tokens": [5]},
    ],
)
def test_what_is_no_count_is_not_counted(told: dict[str, Any]) -> None:
    assert _tail(_whole("x", told, "n"), []) is None


def test_the_names_of_the_responses_api_are_understood() -> None:
    assert _tail(b'{"usage":{"input_tokens":3,"output_tokens":4}}', []) == Usage(
        prompt_tokens=3, completion_tokens=4
    )


@pytest.mark.parametrize("count", [2**63, 10**30])
def test_a_count_that_no_model_can_have_used_is_not_counted(count: int) -> None:
    """The log takes numbers of 64 bits, the read models of 63: one more and neither can be written."""
    assert _tail(_whole("x", {"prompt_tokens": count, "completion_tokens": 1}, "n"), []) in {
        None,
        Usage(completion_tokens=1),
    }


@pytest.mark.parametrize(
    ("parts", "is_done"),
    [
        ([b"data: {}\n\ndata: [DONE]\n\n"], True),
        ([b"data: {}\n\n", b"data: [DONE]\n\n"], True),
        ([b"data: {}\r\n\r\n", b"data: [DONE]\r\n"], True),
        ([b"data: [DONE]"], True),
        ([b'data: {"content": "data: [DONE]"}\n\n'], False),
        ([b'data: {"content": "', b'data: [DONE]"}\n\n'], False),
        ([b'data: {"content": "\\ndata: [DONE]"}\n\n'], False),
        ([b"data: {}\n\n"], False),
    ],
)
def test_a_stream_is_done_when_it_says_so_itself_and_not_when_it_is_in_a_text(
    parts: list[bytes], is_done: bool
) -> None:
    reader = UsageReader()
    for part in parts:
        reader.add(part)
    assert reader.is_done is is_done


def test_of_all_that_is_told_the_most_counts() -> None:
    """Agents tell it again as it grows, and repeat what they were sent: neither makes it less."""
    real = b'{"usage":{"input_tokens":300,"output_tokens":4}}'
    less = (b'{"usage":{}}', b'{"usage":null}', b'{"metadata":{"usage":{"input_tokens":0,"output_tokens":0}}}')
    for other in less:
        for around in ([real, other * 20], [other * 20, real], [real, *[other] * 20], [*[other] * 20, real]):
            reader = UsageReader()
            for part in around:
                reader.add(part)
            assert reader.usage() == Usage(prompt_tokens=300, completion_tokens=4), around


@pytest.mark.parametrize("count", [2**63, 10**30, -1, True, 1.5, "5", None])
def test_what_is_no_count_is_not_counted_in_a_conversation_either(count: object) -> None:
    told = {"prompt_tokens": count, "completion_tokens": 2, "total_tokens": count}
    assert usage_of(told) == Usage(completion_tokens=2)
