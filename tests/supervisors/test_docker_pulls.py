"""Pulling images with the Docker engine, from a registry that does what it is told."""

import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import trio

from domain.backends.definition import Backend
from supervisors.engines.docker.engine import DockerEngine
from supervisors.engines.docker.prepull import Prepull
from supervisors.engines.protocol import EngineError, RunnerSpec
from tests.harness import docker
from tests.harness.images import scripted_image
from tests.harness.registry import Registry, layer, random_layer
from tests.supervisors.docker_setup import DockerRunners, silent
from tests.supervisors.engine_conformance import PATIENCE_SECONDS

pytestmark = pytest.mark.docker
MEGABYTE = 1 << 20


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry() as running:
        yield running


class Watcher:
    """What is told of a pull."""

    def __init__(self) -> None:
        self.shares: list[float] = []
        self.details: list[str] = []

    def __call__(self, done: float, detail: str) -> None:
        self.shares.append(done)
        self.details.append(detail)


def fetched_layers(registry: Registry) -> list[str]:
    """Return what was asked for of the layers and the configuration, without manifests."""
    return [line for line in registry.requests if "/blobs/" in line]


async def until(happened: Callable[[], bool]) -> None:
    with trio.fail_after(PATIENCE_SECONDS):
        while not happened():
            await trio.sleep(0.02)


async def collected(errors: list[str], work: Callable[[], Awaitable[Any]]) -> None:
    try:
        await work()
    except EngineError as error:
        errors.append(str(error))


class TestPulls(DockerRunners):
    """Images that are in the registry and not here."""

    def spec(self, image: str, runner_id: str = "r1", **changes: Any) -> RunnerSpec:
        return self.make_spec(runner_id, image=image, **changes)

    async def refusal(self, engine: DockerEngine, image: str) -> str:
        errors: list[str] = []
        await collected(errors, lambda: engine.prepare(self.spec(image), silent))
        (words,) = errors
        assert f"The image {image}" in words
        return words

    # -- It works ---------------------------------------------------------------------------------------------

    async def test_progress_rises_layer_by_layer_and_tells_of_sizes(self, registry: Registry) -> None:
        image = registry.add("test/progress:1", [random_layer(4 * MEGABYTE), random_layer(4 * MEGABYTE)])
        registry.hold()
        engine, watcher = self.make_engine(), Watcher()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(engine.prepare, self.spec(image), watcher)
            await until(lambda: any("MiB" in detail for detail in watcher.details))
            assert 0 < watcher.shares[-1] < 1
            assert re.fullmatch(r"\d+ of [48] MiB, 0 of 2 layers", watcher.details[-1])
            registry.release()
        assert watcher.shares == sorted(watcher.shares)
        assert 0 <= watcher.shares[0] < 0.5
        assert watcher.shares[-1] == 1
        assert "2 of 2 layers" in watcher.details[-2]

    async def test_progress_of_an_image_whose_base_is_here_is_that_of_its_other_layers(
        self, registry: Registry
    ) -> None:
        base = layer({"base": b"of both"})
        engine = self.make_engine()
        await engine.prepare(self.spec(registry.add("test/base:1", [base])), silent)
        image = registry.add("test/above:1", [base, random_layer(4 * MEGABYTE), random_layer(4 * MEGABYTE)])
        registry.hold()
        watcher = Watcher()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(engine.prepare, self.spec(image), watcher)
            await until(lambda: any("MiB" in detail for detail in watcher.details))
            held_at = watcher.shares[-1]
            registry.release()
        assert held_at < 0.9

    async def test_the_digest_of_the_registry_is_what_a_runner_is_made_from(self, registry: Registry) -> None:
        image = registry.add("test/digest:1", [layer({"file": b"text"})])
        (digest,) = [key for _, key in registry.manifests if key.startswith("sha256:")]
        engine = self.make_engine()
        identity = f"{image.removesuffix(':1')}@{digest}"
        assert await engine.prepare(self.spec(image), silent) == identity
        assert await engine.prepare(self.spec(image), silent) == identity

    async def test_an_image_can_be_declared_by_its_digest(self, registry: Registry) -> None:
        image = registry.add("test/pinned:1", [layer({"file": b"text"})])
        (digest,) = [key for _, key in registry.manifests if key.startswith("sha256:")]
        pinned = f"{image.removesuffix(':1')}@{digest}"
        assert await self.make_engine().prepare(self.spec(pinned), silent) == pinned
        docker.remove_image(pinned)

    async def test_an_image_without_a_tag_is_the_latest_and_no_other_is_fetched(self, registry: Registry) -> None:
        image = registry.add("test/tags:latest", [layer({"file": b"latest"})])
        registry.add("test/tags:other", [layer({"file": b"other"})])
        await self.make_engine().prepare(self.spec(image.removesuffix(":latest")), silent)
        assert not [line for line in registry.requests if "other" in line]

    async def test_an_image_that_was_pulled_runs(self, registry: Registry) -> None:
        image = registry.add("test/runs:1", [layer({"file": b"pulled"})], base=scripted_image())
        engine, spec = self.make_engine(), self.spec(image, command=("cat", "/file"))
        async with self.started(engine, spec, answers=False):
            await engine.wait_exit("r1")
            assert await engine.logs("r1", 1) == "pulled"

    async def test_an_image_that_is_here_is_not_asked_for_again(self, registry: Registry) -> None:
        image = registry.add("test/here:1", [layer({"file": b"text"})])
        engine = self.make_engine()
        await engine.prepare(self.spec(image), silent)
        registry.requests.clear()
        watcher = Watcher()
        await engine.prepare(self.spec(image), watcher)
        assert registry.requests == []
        assert watcher.shares == [1]

    # -- Several wait for one pull ----------------------------------------------------------------------------

    async def test_two_starts_at_once_share_one_pull(self, registry: Registry) -> None:
        image = registry.add("test/shared:1", [random_layer(4 * MEGABYTE)])
        registry.hold()
        engine, watchers = self.make_engine(), (Watcher(), Watcher())
        async with trio.open_nursery() as nursery:
            for number, watcher in enumerate(watchers):
                nursery.start_soon(engine.prepare, self.spec(image, f"r{number}"), watcher)
            await until(lambda: all(any("MiB" in d for d in w.details) for w in watchers))
            registry.release()
        assert watchers[0].shares[-1] == watchers[1].shares[-1] == 1
        assert len([line for line in registry.requests if line.endswith("/manifests/1")]) == 1
        assert len(fetched_layers(registry)) == len(set(fetched_layers(registry))) == 2

    async def test_who_stops_waiting_takes_the_pull_from_nobody(self, registry: Registry) -> None:
        image = registry.add("test/given-up:1", [random_layer(4 * MEGABYTE)])
        registry.hold()
        engine, hasty, patient = self.make_engine(), Watcher(), Watcher()
        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()

            async def give_up() -> None:
                with scope:
                    await engine.prepare(self.spec(image, "hasty"), hasty)

            nursery.start_soon(give_up)
            await until(registry.held.is_set)
            nursery.start_soon(engine.prepare, self.spec(image, "patient"), patient)
            await until(lambda: bool(patient.shares))
            scope.cancel()
            await until(lambda: scope.cancelled_caught)
            registry.release()
        assert patient.shares[-1] == 1
        assert hasty.shares[-1] < 1
        assert len(fetched_layers(registry)) == 2

    async def test_a_pull_for_which_nobody_waits_any_more_is_finished(self, registry: Registry) -> None:
        image = registry.add("test/alone:1", [random_layer(4 * MEGABYTE)])
        registry.hold()
        engine = self.make_engine()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(engine.prepare, self.spec(image), silent)
            await until(registry.held.is_set)
            nursery.cancel_scope.cancel()
        registry.release()
        await engine.prepare(self.spec(image), silent)
        assert len(fetched_layers(registry)) == 2

    async def test_several_who_wait_for_a_pull_that_fails_are_all_told(self, registry: Registry) -> None:
        image = registry.add("test/all-told:1", [random_layer(4 * MEGABYTE)])
        registry.hold()
        registry.corrupts = True
        engine, errors, watchers = self.make_engine(), list[str](), [Watcher() for _ in range(3)]

        async def wait(number: int) -> None:
            spec = self.spec(image, f"r{number}")
            await collected(errors, lambda: engine.prepare(spec, watchers[number]))

        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(wait, number)
            await until(lambda: all(w.shares for w in watchers) and registry.held.is_set())
            registry.release()
        assert len(errors) == 3
        assert len(set(errors)) == 1
        assert "verification failed" in errors[0]

    # -- It fails ---------------------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        ("status", "reason"),
        [(401, "unauthorized"), (403, "denied"), (404, "not found"), (500, "500 Internal Server Error")],
    )
    async def test_a_refusal_of_the_registry_is_told_and_forgotten_at_the_next_try(
        self, registry: Registry, status: int, reason: str
    ) -> None:
        image = registry.add("test/refused:1", [layer({"file": b"text"})])
        registry.refusal = status
        engine = self.make_engine()
        words = await self.refusal(engine, image)
        assert "could not be pulled" in words
        assert reason in words
        assert "Check its name in backends.json" in words
        assert "`docker login` if it is private" in words
        registry.refusal = 0
        await engine.prepare(self.spec(image), silent)

    async def test_a_damaged_layer_is_told_of_and_a_later_pull_works(self, registry: Registry) -> None:
        image = registry.add("test/damaged:1", [random_layer(MEGABYTE)])
        registry.corrupts = True
        engine = self.make_engine()
        words = await self.refusal(engine, image)
        assert "could not be pulled" in words
        assert "verification failed" in words
        registry.corrupts = False
        await engine.prepare(self.spec(image), silent)

    async def test_a_pull_that_takes_too_long_is_told_of_with_the_setting_to_raise(
        self, registry: Registry
    ) -> None:
        image = registry.add("test/slow:1", [random_layer(4 * MEGABYTE)])
        registry.hold()
        words = await self.refusal(self.make_engine(pull_seconds=0.5), image)
        assert "was not pulled within 0 s" in words or "was not pulled within 1 s" in words
        assert "BACKEND_PULL_TIMEOUT" in words
        assert "agentstack images pull" in words

    async def test_a_pull_that_took_too_long_is_ended_at_the_daemon_too(self, registry: Registry) -> None:
        image = registry.add("test/ended:1", [random_layer(4 * MEGABYTE)])
        registry.hold()
        await self.refusal(self.make_engine(pull_seconds=0.5), image)
        with trio.fail_after(PATIENCE_SECONDS / 12):
            while not registry.gone.is_set():
                await trio.sleep(0.02)

    async def test_after_a_pull_that_took_too_long_the_next_one_can_work(self, registry: Registry) -> None:
        image = registry.add("test/late:1", [random_layer(4 * MEGABYTE)])
        registry.hold()
        engine = self.make_engine(pull_seconds=1)
        await self.refusal(engine, image)
        registry.release()
        with trio.fail_after(PATIENCE_SECONDS):
            errors = [""]
            while errors:
                errors.clear()
                await collected(errors, lambda: engine.prepare(self.spec(image), silent))

    # -- Beforehand -------------------------------------------------------------------------------------------

    def backend(self, image: str) -> Backend:
        return self.spec(image).backend

    async def test_fetching_beforehand_tells_what_came_of_each_image(self, registry: Registry) -> None:
        image = registry.add("test/beforehand:1", [random_layer(4 * MEGABYTE)])
        prepull = Prepull(self.make_engine().images)
        registry.hold()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(prepull.fetch, self.backend(image))
            await until(registry.held.is_set)
            assert prepull.status == {image: "pulling"}
            registry.release()
        assert prepull.status == {image: "ok"}
        await prepull.fetch(self.backend(image))
        assert prepull.status == {image: "present"}

    async def test_fetching_beforehand_notes_a_failure_and_the_first_start_tries_again(
        self, registry: Registry
    ) -> None:
        image = registry.add("test/beforehand-failed:1", [layer({"file": b"text"})])
        registry.refusal = 500
        engine = self.make_engine()
        prepull = Prepull(engine.images)
        await prepull.fetch(self.backend(image))
        assert prepull.status[image].startswith("failed: ")
        assert "500 Internal Server Error" in prepull.status[image]
        registry.refusal = 0
        await engine.prepare(self.spec(image), silent)

    async def test_a_start_waits_for_what_is_being_fetched_beforehand(self, registry: Registry) -> None:
        image = registry.add("test/beforehand-shared:1", [random_layer(4 * MEGABYTE)])
        engine, watcher = self.make_engine(), Watcher()
        prepull = Prepull(engine.images)
        registry.hold()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(prepull.fetch, self.backend(image))
            await until(registry.held.is_set)
            nursery.start_soon(engine.prepare, self.spec(image), watcher)
            await until(lambda: bool(watcher.shares))
            registry.release()
        assert len(fetched_layers(registry)) == 2
