"""Talking to the Docker daemon: blocking calls in worker threads, errors in words for a person."""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import trio

from supervisors.engines.protocol import EngineAwayError, EngineError

OLDEST_API = (1, 41)
"""Docker 20.10: the oldest that the tests run against."""
_NOT_FOUND = 404
_TIMEOUT_SECONDS = 60
_CHECK_SECONDS = 5
_THREADS = 16


@dataclass(slots=True)
class RefusedError(EngineError):
    """The daemon answered with an error. `status` is its HTTP status."""

    status: int
    words: str

    def __str__(self) -> str:
        return f"Docker refused: {self.words}"


class MissingError(RefusedError):
    """What was asked for is not there."""


class Daemon:
    """One Docker daemon. It connects at the first call, so that nothing is imported or opened before."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.calls = 0
        self.cpus = 0
        """How many processors the daemon has; 0 before the first call."""
        self._client: Any = None
        self._connecting = trio.Lock()
        self._threads = trio.CapacityLimiter(_THREADS)

    def __repr__(self) -> str:
        return f"<Daemon {self.host}, {'connected' if self._client else 'not connected'}>"

    async def call(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Call `function(client, *args, **options)` in a worker thread; the client is docker's low-level one.

        Once it has begun it is not cancelled: whatever it makes can be found again. Raises EngineAwayError when the
        daemon does not answer, RefusedError with its words when it refuses.
        """
        self.calls += 1
        client = await self._connect()
        return await self._threaded(partial(function, client, *args, **options))

    async def check(self) -> None:
        """Raise EngineError unless the daemon answers, soon, and is new enough."""
        with trio.move_on_after(_CHECK_SECONDS):
            self.calls += 1
            client = await self._connect()
            await self._threaded(client.ping, abandon=True)
            return
        raise EngineAwayError(f"The Docker Engine at {self.host} does not answer. Is it overloaded?")

    def new_client(self, *, read_seconds: float | None = _TIMEOUT_SECONDS) -> Any:
        """Return a client of its own for a long answer. Blocking."""
        # Imported here: a machine without Docker pays nothing for it.
        import docker  # noqa: PLC0415

        socket = self.host.removeprefix("unix://")
        if socket != self.host and not Path(socket).exists():
            # The library would leave a socket of its own open for every attempt.
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), socket)
        return docker.APIClient(base_url=self.host, version=_text(OLDEST_API), timeout=read_seconds)

    def close(self) -> None:
        """Drop the connection; the next call makes a new one."""
        client, self._client = self._client, None
        if client:
            client.close()

    async def _connect(self) -> Any:
        async with self._connecting:
            if self._client is None:
                client, self.cpus = await self._threaded(self._open, abandon=True)
                self._client = client
        return self._client

    def _open(self) -> tuple[Any, int]:
        client = self.new_client()
        try:
            # Asked for by an address without a version, which every daemon understands.
            spoken = tuple(map(int, client.version(api_version=False)["ApiVersion"].split(".")))
        except (KeyError, TypeError, ValueError):
            raise EngineAwayError(
                f"What answers at {self.host} is not a Docker Engine. Is DOCKER_HOST right?"
            ) from None
        if spoken < OLDEST_API:
            raise EngineError(
                f"The Docker Engine at {self.host} is too old: it speaks API {_text(spoken)}, and "
                f"{_text(OLDEST_API)} (Docker 20.10) is the oldest that works. Update Docker."
            )
        return client, int(client.info().get("NCPU", 0))

    async def _threaded(self, work: Callable[[], Any], *, abandon: bool = False) -> Any:
        asked = partial(translated, self.host, work)
        return await trio.to_thread.run_sync(asked, limiter=self._threads, abandon_on_cancel=abandon)


def translated(host: str, work: Callable[[], Any]) -> Any:
    """Call `work` and turn docker's errors into ours. Blocking."""
    import docker.errors  # noqa: PLC0415
    import requests  # noqa: PLC0415
    import urllib3  # noqa: PLC0415

    try:
        return work()
    except docker.errors.APIError as error:
        refusal = MissingError if error.status_code == _NOT_FOUND else RefusedError
        raise refusal(error.status_code or 500, str(error.explanation or error).strip()) from None
    except (
        docker.errors.DockerException,
        requests.exceptions.RequestException,
        urllib3.exceptions.HTTPError,
        OSError,
    ) as error:
        raise EngineAwayError(
            f"The Docker Engine does not answer at {host} ({_cause(error)}). "
            "Is it running, may agent-stack use its socket, and is DOCKER_HOST right?"
        ) from None


def _text(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _cause(error: BaseException) -> str:
    """Return the innermost words of a chain of network errors."""
    while inner := (error.__cause__ or error.__context__):
        error = inner
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
