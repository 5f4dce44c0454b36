"""Letting others go on, in a loop over what somebody sends that may never have to wait."""

import trio

CHUNKS_IN_A_ROW = 64
"""How many chunks are taken before others get their turn: thousands may have come in one read."""


class Pace:
    """Counts the steps of a loop, and gives way to the other tasks after so many of them."""

    def __init__(self, in_a_row: int = CHUNKS_IN_A_ROW) -> None:
        self._in_a_row = in_a_row
        self._steps = 0

    async def step(self) -> None:
        """Note a step. It is never cancelled here, so that a generator above is not left in the middle."""
        self._steps += 1
        if self._steps % self._in_a_row == 0:
            await trio.lowlevel.cancel_shielded_checkpoint()
