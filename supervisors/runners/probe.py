"""Asking a starting agent whether it is ready."""

from collections.abc import Callable

import httpx
import trio

from domain.backends.definition import Backend
from supervisors.engines.protocol import AGENT_NAME, Endpoint

_FIRST_PAUSE = 0.02
_LONGEST_PAUSE = 0.25
_REQUEST_SECONDS = 5.0


def auth_headers(backend: Backend, runner_key: str) -> dict[str, str]:
    """Return the header that presents the runner's own key to it."""
    return {backend.api_key_header: f"{backend.api_key_scheme} {runner_key}".strip()}


async def wait_until_ready(
    client: httpx.AsyncClient,
    backend: Backend,
    endpoint: Endpoint,
    runner_key: str,
    on_attempt: Callable[[float], None],
) -> None:
    """Return once the health path answers with 2xx and the ready path, if declared, with less than 500.

    A refused or reset connection means "not yet": a port may be forwarded before the agent listens. There is no
    deadline here: the caller sets one. `on_attempt` is told the seconds that have passed.
    """
    started = trio.current_time()
    pause = _FIRST_PAUSE
    while not await answers_ready(client, backend, endpoint, runner_key):
        on_attempt(trio.current_time() - started)
        await trio.sleep(pause)
        pause = min(_LONGEST_PAUSE, pause * 1.5)


async def answers_ready(client: httpx.AsyncClient, backend: Backend, endpoint: Endpoint, runner_key: str) -> bool:
    """Ask once. Of the answers only the status is looked at: what is in them is never read."""
    try:
        health = await _status(client, endpoint.url + backend.health_path, {})
        if not 200 <= health < 300:
            return False
        if backend.ready_path:
            return await _status(client, endpoint.url + backend.ready_path, auth_headers(backend, runner_key)) < 500
    except httpx.HTTPError:
        return False
    return True


async def _status(client: httpx.AsyncClient, url: str, headers: dict[str, str]) -> int:
    async with client.stream(
        "GET", url, headers={"host": AGENT_NAME, **headers}, timeout=_REQUEST_SECONDS
    ) as response:
        return response.status_code
