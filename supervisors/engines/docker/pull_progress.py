"""How much of an image has arrived, from the daemon's lines about its layers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

DOWNLOAD_SHARE = 0.8
"""The rest of a layer's work is unpacking it."""
_WHOLE = "Pull complete"
_HERE = "Already exists"
_MIB = 1 << 20


@dataclass(slots=True)
class PullProgress:
    """Feed it the daemon's lines. `fraction` (0..1) never falls, though layers may be announced late.

    A layer counts by its size. Until a layer's size is known it counts as the average of those that are, so the bar
    does not jump ahead while large layers wait for their turn.
    """

    fraction: float = 0.0
    _sizes: dict[str, int] = field(default_factory=dict)
    _done: dict[str, float] = field(default_factory=dict)

    def feed(self, line: Mapping[str, Any]) -> None:
        """Take one line: `{"id", "status", "progressDetail": {"current", "total"}}`."""
        layer, status = line.get("id"), str(line.get("status", ""))
        if not layer or status.startswith("Pulling from") or status == _HERE:
            return  # What was here before is no work, and tells nothing of what is to come.
        detail = line.get("progressDetail") or {}
        current, total = detail.get("current", 0), detail.get("total", 0)
        if total > 0:
            self._sizes[layer] = max(self._sizes.get(layer, 0), total)
        done = self._done.get(layer, 0.0)
        if status == _WHOLE:
            done = 1.0
        elif status == "Downloading" and total > 0:
            done = DOWNLOAD_SHARE * current / total
        elif status in {"Download complete", "Verifying Checksum"}:
            done = DOWNLOAD_SHARE
        elif status == "Extracting" and total > 0:
            done = DOWNLOAD_SHARE + (1 - DOWNLOAD_SHARE) * current / total
        self._done[layer] = max(self._done.get(layer, 0.0), min(1.0, done))
        self.fraction = max(self.fraction, min(1.0, self._weighted()))

    @property
    def detail(self) -> str:
        """How much has arrived, for a person: `12 of 340 MiB, 2 of 5 layers`."""
        if not self._done:
            return "asking the registry"
        whole = sum(done == 1.0 for done in self._done.values())
        layers = f"{whole} of {len(self._done)} layers"
        size = sum(self._sizes.values())
        if not size:
            return layers
        arrived = sum(min(1.0, self._done[k] / DOWNLOAD_SHARE) * v for k, v in self._sizes.items())
        return f"{arrived / _MIB:.0f} of {size / _MIB:.0f} MiB, {layers}"

    def _weighted(self) -> float:
        usual = sum(self._sizes.values()) / len(self._sizes) if self._sizes else 1.0
        weights = {layer: self._sizes.get(layer, usual) for layer in self._done}
        return sum(self._done[k] * w for k, w in weights.items()) / (sum(weights.values()) or 1.0)
