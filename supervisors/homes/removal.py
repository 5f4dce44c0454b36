"""Removing what agents have written, however deep it is: `rm` follows no links and has no limit there."""

import os
from pathlib import Path

import trio


async def remove(folder: Path) -> str:
    """Remove a folder and all in it; return what was in the way, "" when nothing was. It cannot be cancelled."""
    if not os.path.lexists(folder):
        return ""
    try:
        with trio.CancelScope(shield=True):
            done = await trio.run_process(["rm", "-rf", "--", str(folder)], capture_stderr=True, check=False)
    except OSError as error:
        return str(error)
    if not os.path.lexists(folder):
        return ""
    said = done.stderr.decode(errors="replace").strip().splitlines()
    return said[-1].rpartition(": ")[2] if said else "it is still there"
