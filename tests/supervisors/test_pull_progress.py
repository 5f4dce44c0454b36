"""supervisors.engines.docker.pull_progress: a bar that never goes back, whatever the daemon says."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisors.engines.docker.pull_progress import DOWNLOAD_SHARE, PullProgress

MIB = 1 << 20
LAYERS = st.sampled_from(["a", "b", "c"])
STATUSES = st.sampled_from(
    [
        "Pulling fs layer",
        "Waiting",
        "Downloading",
        "Verifying Checksum",
        "Download complete",
        "Extracting",
        "Pull complete",
        "Already exists",
        "Retrying in 5 seconds",
        "Something new",
    ]
)
AMOUNTS = st.integers(-1, 1 << 40)
DETAILS = st.none() | st.fixed_dictionaries({}, optional={"current": AMOUNTS, "total": AMOUNTS})
LINES = st.fixed_dictionaries({"id": LAYERS, "status": STATUSES}, optional={"progressDetail": DETAILS})
OTHER_LINES = st.sampled_from(
    [
        {"status": "Digest: sha256:00"},
        {"status": "Status: Downloaded newer image for a:b"},
        {"status": "Pulling from library/a", "id": "latest"},
        {"id": ""},
        {},
    ]
)


def line(layer: str, status: str, current: int = 0, total: int = 0) -> dict[str, Any]:
    detail = {"current": current, "total": total} if total else {}
    return {"id": layer, "status": status, "progressDetail": detail}


def fed(*lines: dict[str, Any]) -> PullProgress:
    progress = PullProgress()
    for each in lines:
        progress.feed(each)
    return progress


@given(lines=st.lists(LINES | OTHER_LINES, max_size=40))
def test_whatever_is_said_the_share_never_falls_and_stays_between_nothing_and_all(
    lines: list[dict[str, Any]],
) -> None:
    progress, before = PullProgress(), 0.0
    for each in lines:
        progress.feed(each)
        assert before <= progress.fraction <= 1
        assert progress.detail
        before = progress.fraction


@given(sizes=st.lists(st.integers(1, 1 << 34), min_size=1, max_size=5), data=st.data())
def test_a_pull_whose_layers_are_all_there_is_whole_in_whatever_order_they_came(
    sizes: list[int], data: st.DataObject
) -> None:
    names = [str(number) for number in range(len(sizes))]
    progress = fed(*(line(name, "Pulling fs layer") for name in names))
    for name, size in zip(names, sizes, strict=True):
        progress.feed(line(name, "Downloading", data.draw(st.integers(0, size)), size))
    for name in data.draw(st.permutations(names)):
        progress.feed(line(name, "Pull complete"))
    assert progress.fraction == pytest.approx(1)
    assert progress.detail.endswith(f"{len(sizes)} of {len(sizes)} layers")


def test_nothing_has_come_before_the_registry_has_answered() -> None:
    progress = fed({"status": "Pulling from library/a", "id": "latest"})
    assert (progress.fraction, progress.detail) == (0, "asking the registry")


def test_layers_whose_size_nobody_knows_yet_are_counted() -> None:
    assert fed(line("a", "Pulling fs layer"), line("b", "Waiting")).detail == "0 of 2 layers"


def test_a_layer_that_was_fetched_but_not_unpacked_is_not_whole() -> None:
    progress = fed(line("a", "Downloading", 5, 10), line("a", "Download complete"))
    assert progress.fraction == DOWNLOAD_SHARE
    assert progress.detail == "0 of 0 MiB, 0 of 1 layers"


def test_unpacking_is_the_rest_of_a_layers_work() -> None:
    progress = fed(line("a", "Extracting", 5, 10))
    assert progress.fraction == pytest.approx(DOWNLOAD_SHARE + (1 - DOWNLOAD_SHARE) / 2)


def test_large_layers_count_for_more_than_small_ones() -> None:
    progress = fed(line("large", "Downloading", 0, 99 * MIB), line("small", "Downloading", 1 * MIB, 1 * MIB))
    assert progress.fraction == pytest.approx(DOWNLOAD_SHARE * 0.01)
    progress.feed(line("large", "Downloading", 99 * MIB, 99 * MIB))
    assert progress.fraction == pytest.approx(DOWNLOAD_SHARE)


def test_a_layer_that_waits_counts_as_much_as_the_others_do_on_average() -> None:
    progress = fed(line("b", "Waiting"), line("a", "Downloading", 10 * MIB, 10 * MIB))
    assert progress.fraction == pytest.approx(DOWNLOAD_SHARE / 2)


def test_layers_that_are_here_already_do_not_count() -> None:
    progress = fed(line("b", "Pulling fs layer"), line("a", "Already exists"), line("b", "Downloading", 1, 1 * MIB))
    assert progress.fraction == pytest.approx(0, abs=0.01)
    assert progress.detail == "0 of 1 MiB, 0 of 1 layers"


def test_a_layer_that_is_here_already_says_nothing_about_those_that_are_told_of_after_it() -> None:
    progress = fed(line("base", "Already exists"), line("b", "Pulling fs layer"), line("c", "Pulling fs layer"))
    assert progress.fraction < 0.5
    progress.feed(line("b", "Downloading", 1 * MIB, 100 * MIB))
    assert progress.fraction < 0.5


def test_a_download_that_begins_again_does_not_take_the_bar_back() -> None:
    progress = fed(line("a", "Downloading", 9 * MIB, 10 * MIB))
    before = progress.fraction
    progress.feed(line("a", "Retrying in 5 seconds"))
    progress.feed(line("a", "Downloading", 1 * MIB, 10 * MIB))
    assert progress.fraction == before


def test_what_is_told_is_how_much_of_what_is_known_has_arrived() -> None:
    progress = fed(
        line("a", "Downloading", 3 * MIB, 10 * MIB),
        line("b", "Downloading", 20 * MIB, 20 * MIB),
        line("b", "Pull complete"),
        line("c", "Waiting"),
    )
    assert progress.detail == "23 of 30 MiB, 1 of 3 layers"
