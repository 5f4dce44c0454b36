"""The scripted agent, writing `planted-diary` into its home all the time, which it makes anew when it is gone."""

import os
import threading
import time
from contextlib import suppress
from pathlib import Path

import trio

from tests.agents.scripted import main


def write() -> None:
    """Write for ever."""
    home = Path(os.environ["HOME"])
    while True:
        with suppress(OSError):  # It is being removed.
            home.mkdir(parents=True, exist_ok=True)
            (home / "diary").write_text("planted-diary")
        time.sleep(0.002)


if __name__ == "__main__":
    threading.Thread(target=write, daemon=True).start()
    trio.run(main)
