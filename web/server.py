"""Hypercorn, with a connection that does not wait for ever for a client that has stopped reading."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

import h11
import hypercorn.protocol
import hypercorn.trio.run
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio import serve
from hypercorn.trio.tcp_server import TCPServer

from supervisors.wire.pace import Pace
from web.connections import Connections

STALL_SECONDS = 30.0
"""How long one write may wait for the client to read."""
SHUTDOWN_STALL_SECONDS = 1.0
"""The same once the server is shutting down."""
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\nretry-after: 5\r\nconnection: close\r\n\r\n"
    b"There are too many connections from your address, or altogether. Close some, or try again in a moment.\n"
)
_GOODBYE_SECONDS = 1.0


class PlainProtocol(H11Protocol):
    """HTTP/1.1 without upgrades: we serve no websockets, and a failed handshake would keep its socket for ever."""

    async def _check_protocol(self, event: h11.Request) -> None:
        """Ignore a wish for HTTP/2 in clear text."""

    async def _create_stream(self, request: h11.Request) -> None:
        """Take a wish for a websocket for the plain request that it also is."""
        if any(name == b"upgrade" for name, _ in request.headers):
            headers = [(name, value) for name, value in request.headers if name != b"upgrade"]
            request = h11.Request(
                method=request.method, target=request.target, headers=headers, http_version=request.http_version
            )
        await super()._create_stream(request)
        if self.stream is not None:
            self.stream.handle = _giving_way(self.stream.handle)  # type: ignore[assignment, method-assign]


def _giving_way(handle: Callable[[Any], Awaitable[None]]) -> Callable[[Any], Awaitable[None]]:
    """Return what handles the events of a stream and lets others have their turn now and then.

    One read may hold thousands of chunks, which nobody waits for when the answer is out already.
    """
    pace = Pace()

    async def handled(event: Any) -> None:
        await pace.step()
        await handle(event)

    return handled


class PatientServer(TCPServer):
    """A connection whose writes have a deadline.

    Hypercorn shields its writes from cancellation without one, so a client that stops reading would hold up a
    shutdown. Here such a connection is cut: after `STALL_SECONDS`, or soon after a shutdown has begun.
    """

    sending: ClassVar[set[trio.CancelScope]] = set()
    """The writes that are under way, for a shutdown to hurry them."""
    connections: ClassVar[Connections] = Connections()
    """Those that are open."""
    is_idle = True

    async def run(self) -> None:
        """Serve one connection. Whatever breaks on it, a client's malformed bytes for one, breaks nothing else."""
        self._scope = trio.CancelScope()
        site = None
        try:
            site = self.connections.enter(self, self._peer())
            with self._scope:
                await (self._turn_away() if site is None else super().run())
        except* Exception:
            logging.getLogger("web.connection").warning("a connection was given up", exc_info=True)
        finally:
            if site is not None:
                self.connections.leave(self, site)
            await trio.aclose_forcefully(self.stream)

    def give_up(self) -> None:
        """Close the connection: there is need for its room."""
        self._scope.cancel()

    def _peer(self) -> str:
        try:
            return str(self.stream.socket.getpeername()[0])
        except (OSError, IndexError, AttributeError):  # Gone already, or no connection over TCP.
            return ""

    async def _turn_away(self) -> None:
        with trio.move_on_after(_GOODBYE_SECONDS):
            await self.stream.send_all(_FULL)

    async def _read_data(self) -> None:
        await super()._read_data()
        # Else a client that has gone keeps its socket until its idle time is over.
        await self.idle_task.stop()

    async def protocol_send(self, event: Event) -> None:
        """Send to the client, or give it up."""
        if isinstance(event, Updated):
            self.is_idle = event.idle
        if not isinstance(event, RawData):
            await super().protocol_send(event)
            return
        patience = SHUTDOWN_STALL_SECONDS if self.context.terminated.is_set() else STALL_SECONDS
        async with self.send_lock:
            try:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + patience) as scope:
                    self.sending.add(scope)
                    await self.stream.send_all(event.data)
                if not scope.cancelled_caught:
                    return
                await trio.aclose_forcefully(self.stream)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
            finally:
                self.sending.discard(scope)
        await self.protocol.handle(Closed())


async def serve_http(
    app: Any,
    *,
    host: str,
    port: int,
    graceful_seconds: float,
    connections: Connections | None = None,
    shutdown: Callable[[], Awaitable[None]],
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until `shutdown` returns, then let open requests end for at most `graceful_seconds`.

    `connections` bounds how many there may be; any number without it. `task_status` gets the addresses once the
    socket is bound; a port that is taken raises OSError before that.
    """

    async def shutdown_and_hurry() -> None:
        await shutdown()
        for scope in PatientServer.sending:
            scope.deadline = min(scope.deadline, trio.current_time() + SHUTDOWN_STALL_SECONDS)

    # The pinned version of hypercorn looks its classes up here; there is no setting for them.
    PatientServer.connections = connections or Connections()
    hypercorn.trio.run.TCPServer = PatientServer  # type: ignore[attr-defined] # an import of that module
    hypercorn.protocol.H11Protocol = PlainProtocol  # type: ignore[attr-defined] # likewise
    config = Config()
    config.bind = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}"]
    config.accesslog = None
    config.errorlog = logging.getLogger("hypercorn.error")
    config.graceful_timeout = graceful_seconds
    config.keep_alive_timeout = 75
    config.h2_max_concurrent_streams = 1000  # Event streams count, and stay.
    config.include_server_header = False
    config.max_app_queue_size = 10
    await serve(app, config, shutdown_trigger=shutdown_and_hurry, task_status=task_status)
