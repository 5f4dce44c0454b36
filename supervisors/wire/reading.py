"""Reading what an agent sends: never more than asked for, and never for long without letting others go on."""

from collections.abc import Callable

import httpx
import trio

from supervisors.wire.coding import Decoder

IDENTITY = {"accept-encoding": "identity"}
"""Sent with every request to an agent: what is encoded would come late, and hide how much it is."""


async def each_piece(response: httpx.Response, take: Callable[[bytes], bool]) -> None:
    """Call `take` with the body of a response, piece by piece as it comes, until it returns True: it has enough.

    Content codings are taken off. Raises CodingError, what `take` raises, and what the client raises.
    """
    decoder = Decoder(response.headers.get("content-encoding", ""))
    failure: Exception | None = None
    with trio.CancelScope() as enough:
        async for data in response.aiter_raw():
            # Never left in the middle, but cancelled where it waits: only so are the library's generators closed.
            if enough.cancel_called:
                continue
            try:
                for piece in decoder.pieces(data):
                    if take(piece):
                        enough.cancel()
                        break
                    await decoder.pace.step()
            except Exception as error:
                failure = error
                enough.cancel()
    if failure:
        raise failure
    if not enough.cancel_called:
        decoder.end()


async def read_at_most(response: httpx.Response, most: int) -> tuple[bytes, bool]:
    """Return up to `most` bytes of a response's body, and whether that is all of it. Raises as `each_piece`."""
    found = bytearray()

    def take(piece: bytes) -> bool:
        found.extend(piece)
        return len(found) > most

    await each_piece(response, take)
    return bytes(found[:most]), len(found) <= most
