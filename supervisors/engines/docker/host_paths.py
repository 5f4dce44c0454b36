"""Paths as the daemon sees them.

The daemon mounts folders of its own machine. When the router itself runs in a container, the data folder has
another path there.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supervisors.engines.docker.daemon import Daemon, RefusedError
from supervisors.engines.protocol import EngineError

_MOUNTABLE = ("users", "shared")
"""What of the data folder a backend may mount: the rest is the log and the secrets of the installation."""
_OWN_ID = re.compile(r"/containers/([0-9a-f]{64})/hostname /etc/hostname ")
"""In a container, Docker mounts its host name file from a folder that is named after the container."""


@dataclass(frozen=True, slots=True)
class HostPaths:
    """`data_root` is the data folder here, `host_root` the same folder on the daemon's machine."""

    data_root: Path
    host_root: Path

    def on_host(self, path: Path) -> Path:
        """Return a path below the data folder as the daemon sees it; others are the daemon's already."""
        return self.host_root / path.relative_to(self.data_root) if path.is_relative_to(self.data_root) else path

    def source(self, source: str, home: Path) -> Path:
        """Return what a mount's `source` means. Raises EngineError for what must not be mounted."""
        path = Path(source.replace("{home}", str(home)))
        for root in (self.data_root, self.host_root):
            below = path.relative_to(root).parts[:1] if path.is_relative_to(root) else None
            if root.is_relative_to(path) or (below is not None and below[0] not in _MOUNTABLE):
                raise EngineError(
                    f"The folder {path} cannot be mounted: it holds the log and the secrets of agent-stack. "
                    f"Mount something else, or put it into {root / 'shared'}."
                )
        return self.on_host(path)


async def find_host_paths(daemon: Daemon, data_root: Path, host_root: Path | None) -> HostPaths:
    """Return the translation: as it was set, else by looking at the mounts of the container that this runs in."""
    if host_root:
        return HostPaths(data_root, host_root)
    own_id = _own_container()
    if own_id:
        try:
            mounts = (await daemon.call(lambda client: client.inspect_container(own_id)))["Mounts"]
        except RefusedError:
            mounts = []  # Another daemon's container, as in a build farm.
        found = _translated(data_root, mounts)
        if found is None:
            raise EngineError(
                f"agent-stack runs in a container, and the data folder {data_root} is not on a volume of it. "
                "Mount a folder of the host there, or set HOST_STACK_ROOT to where the host has it."
            )
        return HostPaths(data_root, found)
    return HostPaths(data_root, data_root)


def _own_container() -> str:
    try:
        found = _OWN_ID.search(Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return ""
    return found[1] if found else ""


def _translated(data_root: Path, mounts: list[dict[str, Any]]) -> Path | None:
    """Return where the host has the data folder, by the innermost mount that holds it."""
    holding = [m for m in mounts if data_root.is_relative_to(m["Destination"])]
    if not holding:
        return None
    mount = max(holding, key=lambda m: len(m["Destination"]))
    return Path(mount["Source"]) / data_root.relative_to(mount["Destination"])
