"""supervisors.engines.protocol: what is told of an end."""

import pytest

from supervisors.engines.protocol import Endpoint, Exit


@pytest.mark.parametrize(
    ("ended", "words"),
    [
        (Exit(None), "it ended"),
        (Exit(0), "it exited with code 0"),
        (Exit(3), "it exited with code 3"),
        (Exit(126), "it exited with code 126: its command cannot be executed; mend `command` of the backend"),
        (
            Exit(127),
            "it exited with code 127: its command was not found; mend `command` or `image` of the backend",
        ),
        (Exit(128), "it exited with code 128"),
        (Exit(143), "it was killed by signal 15"),
        (Exit(-15), "it was killed by signal 15"),
        (Exit(137, out_of_memory=True), "it was killed for using too much memory"),
        (Exit(None, out_of_memory=True), "it was killed for using too much memory"),
    ],
)
def test_an_end_is_told_with_what_it_means(ended: Exit, words: str) -> None:
    assert str(ended) == words


@pytest.mark.parametrize("code", [137, -9])
def test_an_end_by_signal_9_is_told_with_its_likely_reason(code: int) -> None:
    words = str(Exit(code))
    assert "killed by signal 9" in words
    assert "memory" in words


@pytest.mark.parametrize("code", [193, 255])
def test_a_code_that_is_no_signal_is_told_as_a_code(code: int) -> None:
    assert str(Exit(code)) == f"it exited with code {code}"


def test_an_endpoint_is_the_start_of_its_urls() -> None:
    assert Endpoint("127.0.0.1", 19000).url == "http://127.0.0.1:19000"
