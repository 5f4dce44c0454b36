"""Backends that do not come up, each in its own way, and one that takes its time."""

from typing import Any

from tests.conftest import FAST_DEMO

Entry = dict[str, Any]


def backend(name: str, *command: str, **more: Any) -> Entry:
    """Return an entry of backends.json for a program."""
    return {
        "name": name,
        "display_name": name.title(),
        "engine": "process",
        "command": list(command),
        "stop_grace_seconds": 0,
        **more,
    }


MISSING = backend("missing", "no-such-program-anywhere")
"""Its program is not installed."""

DYING = backend("dying", "{python}", "-c", "import sys; print('my last words'); sys.exit(3)")
"""It ends at once."""

MUTE = backend(
    "mute",
    "{python}",
    "-c",
    "import time\nfor n in range(30): print('line', n)\nprint('key {key}', flush=True)\ntime.sleep(600)",
    startup_timeout_seconds=2,
)
"""It runs but never listens; among what it prints is its own key."""

OFF = {**FAST_DEMO, "name": "off", "disabled": True}
"""It is switched off."""

MANY_MODELS = {
    **FAST_DEMO,
    "name": "many",
    "extra_models": ["many-large", "other/model"],
    "default_idle_seconds": 120,
}
"""It answers under several names, and has an idle time of its own."""

SLOW = {**FAST_DEMO, "name": "slow", "extra_env": {"DEMO_PORT": "{port}", "DEMO_WORDS_PER_SECOND": "20"}}
"""It writes slowly."""

ALL = [FAST_DEMO, MISSING, DYING, MUTE, OFF, MANY_MODELS, SLOW]
