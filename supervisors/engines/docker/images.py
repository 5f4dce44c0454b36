"""Images: which one a backend runs, and fetching it. Each is pulled once, however many starts wait for it."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import trio

from domain.backends.definition import Backend
from supervisors.engines.docker.daemon import Daemon, MissingError, RefusedError, translated
from supervisors.engines.docker.pull_progress import PullProgress
from supervisors.engines.protocol import EngineError, Report

_PULL_READ_SECONDS = 300


@dataclass(frozen=True, slots=True)
class LocalImage:
    """An image that the daemon has. `identity` is its digest in a registry, or else its own id."""

    name: str
    identity: str
    size: int


@dataclass(slots=True, eq=False)
class _Pull:
    progress: PullProgress = field(default_factory=PullProgress)
    changed: trio.Event = field(default_factory=trio.Event)
    over: bool = False
    error: EngineError | None = None

    def tell(self) -> None:
        self.changed.set()
        self.changed = trio.Event()


class Images:
    """The daemon's images. `run` must be running for pulls; `pull_seconds` is how long one may take."""

    def __init__(self, daemon: Daemon, pull_seconds: float) -> None:
        self._daemon = daemon
        self._pull_seconds = pull_seconds
        self._pulls: dict[str, _Pull] = {}
        self._send, self._receive = trio.open_memory_channel[tuple[str, _Pull]](1000)

    async def run(self) -> None:
        """Pull what is asked for. A start that is given up does not give up the pull: others may wait for it."""
        async with trio.open_nursery() as nursery:
            while True:
                nursery.start_soon(self._pull, *await self._receive.receive())

    async def find(self, names: Iterable[str]) -> LocalImage | None:
        """Return the first of these images that the daemon has."""
        for name in names:
            try:
                found = await self._daemon.call(lambda client, wanted=name: client.inspect_image(wanted))
            except MissingError:
                continue
            except RefusedError as error:
                if "invalid reference" in error.words:
                    raise EngineError(f"{name!r} is not the name of an image. Mend it in backends.json.") from None
                raise
            digests = found.get("RepoDigests") or [found["Id"]]
            return LocalImage(name, digests[0], found["Size"])
        return None

    async def ensure(self, backend: Backend, report: Report) -> LocalImage:
        """Return a backend's image, pulled if it is missing. Raises EngineError that says what to do."""
        found = await self.find(names_of(backend))
        if found is None:
            if backend.image is None:
                raise EngineError(_not_built(backend))
            await self._wait_for_pull(backend, backend.image, report)
            found = await self.find([backend.image])
        if found is None:
            raise EngineError(
                f"The image {backend.image} was pulled, but Docker does not have it. Is the disk full?"
            )
        report(1.0, found.name)
        return found

    async def _wait_for_pull(self, backend: Backend, image: str, report: Report) -> None:
        pull = self._pulls.get(image)
        if pull is None:
            pull = self._pulls[image] = _Pull()
            self._send.send_nowait((image, pull))
        while not pull.over:
            report(min(0.99, pull.progress.fraction), pull.progress.detail)
            await pull.changed.wait()
        if pull.error:
            hint = f" Or build it here: agentstack images build {backend.name}." if backend.build else ""
            raise type(pull.error)(f"{pull.error}{hint}")

    async def _pull(self, image: str, pull: _Pull) -> None:
        def heard(line: dict[str, Any]) -> None:
            pull.progress.feed(line)
            pull.tell()

        def read() -> None:
            import docker.utils  # noqa: PLC0415

            repository, tag = docker.utils.parse_repository_tag(image)
            client = self._daemon.new_client(read_seconds=_PULL_READ_SECONDS)
            client.hooks["response"].append(lambda response, **_: answers.append(response))
            try:
                for line in client.pull(repository, tag or "latest", stream=True, decode=True):
                    if "error" in line:
                        raise EngineError(str(line["error"]))
                    trio.from_thread.run_sync(heard, line)
            finally:
                for answer in answers:
                    answer.close()
                client.close()

        answers: list[Any] = []
        try:
            with trio.move_on_after(self._pull_seconds) as deadline:
                await trio.to_thread.run_sync(
                    partial(translated, self._daemon.host, read),
                    abandon_on_cancel=True,
                    limiter=trio.CapacityLimiter(1),
                )
            if deadline.cancelled_caught:
                for answer in answers:  # The reader wakes up and hangs up, and the daemon stops pulling.
                    with suppress(Exception):  # It has just ended by itself.
                        answer.raw.shutdown()
                pull.error = EngineError(
                    f"The image {image} was not pulled within {self._pull_seconds:.0f} s. Is the connection slow? "
                    "Raise BACKEND_PULL_TIMEOUT, or pull it beforehand: agentstack images pull."
                )
        except RefusedError as error:
            pull.error = EngineError(_not_pulled(image, error.words))
        except EngineError as error:
            away = type(error) is not EngineError
            pull.error = error if away else EngineError(_not_pulled(image, str(error)))
        finally:
            pull.over = True
            del self._pulls[image]
            pull.tell()


def names_of(backend: Backend) -> tuple[str, ...]:
    """Return the images that a backend may run, the preferred one first."""
    built = (backend.build.image,) if backend.build else ()
    return tuple(dict.fromkeys((*built, backend.image))) if backend.image else built


def _not_built(backend: Backend) -> str:
    image = backend.build.image if backend.build else ""
    return (
        f"The image {image} of backend {backend.name!r} has not been built on this machine. "
        f"Build it: agentstack images build {backend.name}."
    )


def _not_pulled(image: str, words: str) -> str:
    return (
        f"The image {image} could not be pulled: {words.rstrip('.')}. Check its name in backends.json, that this "
        "machine reaches the registry, and `docker login` if it is private."
    )
