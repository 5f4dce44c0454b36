"""Content codings, taken off piece by piece: a few bytes of them may stand for any amount."""

import zlib
from collections.abc import Iterator

from supervisors.wire.pace import CHUNKS_IN_A_ROW, Pace

PIECE_BYTES = 64 * 1024
"""The most that is decoded in one go."""
_HEAD_BYTES = 2
_ZLIB, _RAW, _GZIP = zlib.MAX_WBITS, -zlib.MAX_WBITS, zlib.MAX_WBITS | 16


class CodingError(Exception):
    """What came is not encoded as it says, or in a way that is not known here. The message says which."""


class Decoder:
    """Takes encoded bytes as they come, and gives back what they stand for.

    `coding` is the value of Content-Encoding: "" or identity, gzip, x-gzip or deflate. Raises CodingError for any
    other, several on top of each other among them. Await `pace.step()` after each piece.
    """

    def __init__(self, coding: str) -> None:
        self.coding = coding.strip().lower()
        kinds = {"": None, "identity": None, "gzip": _GZIP, "x-gzip": _GZIP, "deflate": _ZLIB}
        if self.coding not in kinds:
            raise CodingError(f"Content-Encoding {coding[:40]!r} is not known here; gzip and deflate are.")
        self._kind = kinds[self.coding]
        self._inflater = zlib.decompressobj(self._kind) if self._kind is not None else None
        self._first = b""
        self.pace = Pace(CHUNKS_IN_A_ROW if self.is_identity else 1)

    @property
    def is_identity(self) -> bool:
        """Whether the bytes are as they are meant."""
        return self._inflater is None

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """Yield what `data` stands for, at most PIECE_BYTES at a time unless nothing is encoded, perhaps nothing.

        Raises CodingError when it is not encoded as it says.
        """
        if self._inflater is None:
            yield data
            return
        if len(self._first) < _HEAD_BYTES:
            data = self._first + data
            self._first = data[:_HEAD_BYTES]
            if len(data) < _HEAD_BYTES:
                return
            if self._kind == _ZLIB and not _is_zlib(data):  # Some leave out the wrapping that `deflate` stands for.
                self._kind, self._inflater = _RAW, zlib.decompressobj(_RAW)
        while data:
            if self._inflater.eof:  # Several gzip members after each other are one text.
                self._inflater = zlib.decompressobj(self._kind or _GZIP)
            try:
                found = self._inflater.decompress(data, PIECE_BYTES)
            except zlib.error:
                raise CodingError(f"What was sent as {self.coding} is not {self.coding}.") from None
            data = self._inflater.unconsumed_tail or self._inflater.unused_data
            yield found  # Also when it is nothing: many an empty member takes its time.

    def end(self) -> None:
        """Note that no more will come. Raises CodingError when it broke off in the middle."""
        if self._inflater is not None and self._first and not self._inflater.eof:
            raise CodingError(f"What was sent as {self.coding} broke off in the middle.")


def _is_zlib(data: bytes) -> bool:
    return data[0] & 0x0F == zlib.DEFLATED and (data[0] << 8 | data[1]) % 31 == 0
