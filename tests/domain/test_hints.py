"""What a person is told to look at."""

import pytest

from domain.backends.definition import Backend
from domain.backends.hints import hint

BACKEND = Backend.model_validate(
    {
        "name": "b",
        "display_name": "B",
        "image": "b",
        "user_overridable_env": ["LLM_BASE_URL", "LLM_API_KEY", "LLM_MODEL"],
        "error_answers": ["Error(:| calling )"],
    }
)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("HTTP 401: Incorrect API key provided", "LLM_API_KEY"),
        ("Unauthorized", "LLM_API_KEY"),
        ("HTTP 404: the model `gpt-9` does not exist", "LLM_MODEL"),
        ("Error: Connection error.", "LLM_BASE_URL"),
        ("Request timed out.", "LLM_BASE_URL"),
        ("Error code: 503", "LLM_BASE_URL"),
        ("429 Too Many Requests", "limits its use"),
        ("You exceeded your current quota", "limits its use"),
    ],
)
def test_the_variable_that_is_likely_wrong_is_named(words: str, named: str) -> None:
    assert named in hint(BACKEND, words)


@pytest.mark.parametrize("words", ["", "Something odd", "line 14010"])
def test_words_that_tell_nothing_get_no_hint(words: str) -> None:
    assert hint(BACKEND, words) == ""


def test_a_backend_without_such_a_variable_gets_no_hint() -> None:
    assert hint(BACKEND.model_copy(update={"user_overridable_env": ()}), "401") == ""


@pytest.mark.parametrize(
    ("text", "is_error"), [("Error: x", True), ("Error calling LLM", True), ("An Error: x", False)]
)
def test_an_answer_that_begins_like_an_error_is_one(text: str, is_error: bool) -> None:
    assert BACKEND.is_error_answer(text) is is_error
