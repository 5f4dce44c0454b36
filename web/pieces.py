"""JSON that may be long, written piece by piece: no answer holds up the others, or is in memory as a whole."""

from collections.abc import Iterable, Iterator
from typing import Any, Self

import orjson

PIECE_BYTES = 256 * 1024
_PIECE_PARTS = 200


def json_object(about: dict[str, Any], name: str, items: Iterable[Any]) -> Iterator[bytes]:
    """Yield a JSON object in pieces: the members of `about`, and under `name` the list of `items`."""
    return gathered(_json_object(about, name, items))


def _json_object(about: dict[str, Any], name: str, items: Iterable[Any]) -> Iterator[bytes]:
    yield orjson.dumps(about)[:-1] + (b"," if about else b"") + orjson.dumps(name) + b":["
    joint = b""
    for item in items:
        yield joint + orjson.dumps(item)
        joint = b","
    yield b"]}"


def gathered(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Yield parts in pieces that are worth sending, none made of so many that it would take long."""
    piece: list[bytes] = []
    size = 0
    for part in parts:
        piece.append(part)
        size += len(part)
        if size >= PIECE_BYTES or len(piece) >= _PIECE_PARTS:
            yield b"".join(piece)
            piece, size = [], 0
    if piece:
        yield b"".join(piece)


class Pieces:
    """The body of a response. A class, not a generator: dropped half way, it leaves no frame to clean up."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            return next(self._pieces)
        except StopIteration:
            raise StopAsyncIteration from None
