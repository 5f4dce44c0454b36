"""How containers end, told by the daemon's stream of events rather than by asking."""

from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog
import trio

from supervisors.engines.docker.container import LABEL
from supervisors.engines.docker.daemon import Daemon, MissingError, translated
from supervisors.engines.protocol import EngineAwayError, EngineError, Exit

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 3.0

_logger = structlog.get_logger("docker")


@dataclass(slots=True)
class _Ending:
    happened: trio.Event = field(default_factory=trio.Event)
    exit: Exit = field(default_factory=partial(Exit, None))


class Exits:
    """Tells who waits for a container that it has ended. `run` must be running."""

    def __init__(self, daemon: Daemon, instance: str) -> None:
        self._daemon = daemon
        self._instance = instance
        self._endings: dict[str, _Ending] = {}

    async def wait(self, container: str) -> Exit:
        """Return once a container has ended, however long ago."""
        ending = self._endings.setdefault(container, _Ending())
        with suppress(EngineError):  # Then it is looked at when the daemon is back, or tells of its end.
            await self._look(container)
        await ending.happened.wait()
        return ending.exit

    def forget(self, container: str) -> None:
        """Drop what is known of a container that was removed; who still waits is told that it has ended."""
        ending = self._endings.pop(container, None)
        if ending:
            ending.happened.set()

    async def run(self, on_return: Callable[[], Awaitable[None]]) -> None:
        """Follow the events, over losses of the connection; call `on_return` after each loss."""
        pause, was_away = _FIRST_PAUSE, False
        while True:
            try:
                async with trio.open_nursery() as nursery:
                    connected = await nursery.start(self._follow, nursery)
                    if was_away:
                        _logger.info("engine_back", host=self._daemon.host)
                        await on_return()
                    pause, was_away = _FIRST_PAUSE, False
                    # What has ended while nobody was listening:
                    for container in list(self._endings):
                        nursery.start_soon(self._look, container)
                    await connected.wait()
            except* EngineError as group:
                if not was_away:
                    _logger.warning("engine_away", host=self._daemon.host, error=str(group.exceptions[0]))
            was_away = True
            self._daemon.close()
            await trio.sleep(pause)
            pause = min(_LONGEST_PAUSE, pause * 2)

    async def _follow(self, nursery: trio.Nursery, *, task_status: trio.TaskStatus[trio.Event]) -> None:
        """Read events until the stream ends. Its start is told with an event that is set at its end."""
        await self._daemon.check()
        ended = trio.Event()
        filters = {"type": "container", "event": "die", "label": f"{LABEL}instance={self._instance}"}

        def died(event: dict[str, Any]) -> None:
            if event["id"] in self._endings:
                nursery.start_soon(self._look, event["id"], event["Actor"]["Attributes"].get("exitCode"))

        def read() -> None:
            with closing(self._daemon.new_client(read_seconds=None)) as client:
                streams.append(client)
                events = client.events(filters=filters, decode=True)
                streams.append(events)
                try:
                    trio.from_thread.run_sync(task_status.started, ended)
                    for event in events:
                        trio.from_thread.run_sync(died, event)
                finally:
                    # Who gave this up may have come before there was a stream to close. Only read to its end does
                    # it free its socket.
                    events.close()
                    deque(events, maxlen=0)

        streams: list[Any] = []
        try:
            with suppress(trio.RunFinishedError):
                await trio.to_thread.run_sync(
                    partial(translated, self._daemon.host, read),
                    abandon_on_cancel=True,
                    limiter=trio.CapacityLimiter(1),
                )
        finally:
            ended.set()
            for stream in reversed(streams):
                with suppress(Exception):  # Whatever state a broken connection is in, it is not needed any more.
                    stream.close()
        raise EngineAwayError(f"The Docker Engine at {self._daemon.host} has ended its stream of events.")

    async def _look(self, container: str, code_told: str | None = None) -> None:
        """Note a container's end if it has ended."""
        ending = self._endings.get(container)
        if ending is None or ending.happened.is_set():
            return
        try:
            state = (await self._daemon.call(lambda client: client.inspect_container(container)))["State"]
        except MissingError:
            ended: Exit | None = Exit(int(code_told) if code_told else None)
        else:
            over = code_told is not None or state["Status"] in {"exited", "dead", "removing"}
            ended = Exit(state["ExitCode"], bool(state.get("OOMKilled"))) if over else None
        if ended and not ending.happened.is_set():
            ending.exit = ended
            ending.happened.set()
