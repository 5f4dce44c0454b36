"""Run the demo agent: `python -m images.demo`.

Settings, by environment:
DEMO_PORT            port to listen on (default 8900)
DEMO_HOST            address to listen on (default 127.0.0.1; its image sets 0.0.0.0)
DEMO_API_KEY         key that requests must present as Bearer; none is asked for when it is empty
DEMO_BOOT_SECONDS    listen only so long after the start, as an agent that boots slowly (default 0)
DEMO_WORDS_PER_SECOND  speed of a streamed answer; 0 is as fast as it goes (default 40)
"""

import time

STARTED = time.monotonic()

# ruff: noqa: E402 - the time that the imports take is a part of the boot.
import os
import signal
from functools import partial
from typing import Any, cast

import trio
from hypercorn.config import Config
from hypercorn.trio import serve

from images.demo.app import DemoAgent


async def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    boot = float(os.environ.get("DEMO_BOOT_SECONDS", "0"))
    await trio.sleep(max(0.0, STARTED + boot - time.monotonic()))
    app = DemoAgent(
        api_key=os.environ.get("DEMO_API_KEY", ""),
        words_per_second=float(os.environ.get("DEMO_WORDS_PER_SECOND", "40")),
    )
    config = Config()
    config.bind = [f"{os.environ.get('DEMO_HOST', '127.0.0.1')}:{os.environ.get('DEMO_PORT', '8900')}"]
    config.graceful_timeout = 2
    config.keep_alive_timeout = 75
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            nursery.start_soon(partial(serve, cast(Any, app), config, shutdown_trigger=stop.wait))
            async for _ in signals:
                stop.set()
                break


if __name__ == "__main__":
    trio.run(main)
