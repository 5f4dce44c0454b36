"""Reading a request's body, within bounds of size, memory and time, and the model that it names."""

from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import trio
from werkzeug.http import parse_options_header

from domain.errors import Invalid, TooLarge, Unsupported
from supervisors.wire.coding import CodingError, Decoder
from supervisors.wire.documents import DocumentError, read_document
from supervisors.wire.transit import Hold

Receive = Callable[[], Awaitable[dict[str, Any]]]
BODY_SECONDS = 60.0
MAX_JSON_BYTES = 12 * 1024 * 1024
"""Bytes of a body that is parsed, and perhaps written anew. A form is not looked into, and may be larger."""
_LARGE, _ITEMS_AT_ONCE = 256 * 1024, 1000
MOST_PARTS = 100
"""Of a multipart body: a form of OpenAI's API has a dozen."""
_MOST_HEADERS = 2048
"""Bytes of the headers of one part."""
_LONGEST_NAMING = 256
"""Bytes of the header that names a field. A longer one names a file, and takes a while to take apart."""
_LONGEST_MODEL = 1000
_BAD_MULTIPART = "invalid_multipart"


class ClientGoneError(Exception):
    """The client closed the connection."""


async def read_body(receive: Receive, headers: dict[str, str], most: int, hold: Hold) -> bytes:
    """Return the whole body, a gzip or deflate coding taken off; `hold` grows with it.

    Raises TooLarge over `most` bytes, and over MAX_JSON_BYTES unless it is a form; Unsupported for another coding;
    CodingError when it is not encoded as it says; Invalid when it takes over a minute; TooMany or Unavailable when
    there is no memory left for it.
    """
    most = most if is_form(headers) else min(most, MAX_JSON_BYTES)
    limit = f"{most // 1_048_576} MiB"
    too_large = TooLarge(f"The body is larger than {limit}, which is the limit here. Send less at once.")
    if int(headers.get("content-length") or 0) > most:
        raise too_large
    decoder = _decoder(headers)
    body: list[bytes] = []
    size, received, more = 0, 0, True
    with trio.move_on_after(BODY_SECONDS) as deadline:
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            more = message.get("more_body", False)
            chunk = message.get("body", b"")
            received += len(chunk)
            if received > most:  # Also of what stands for nothing.
                raise too_large
            for piece in decoder.pieces(chunk):
                body.append(piece)
                size += len(piece)
                hold.grow(len(piece))
                if size > most:
                    raise too_large
                await decoder.pace.step()
    if deadline.cancelled_caught:
        raise Invalid(f"The body did not arrive within {BODY_SECONDS:.0f} seconds.", code="slow_body")
    decoder.end()
    return b"".join(body)


def is_form(headers: dict[str, str]) -> bool:
    """Tell whether a body is one whose parts are not looked into."""
    return headers.get("content-type", "").startswith("multipart/form-data")


def _decoder(headers: dict[str, str]) -> Decoder:
    try:
        return Decoder(headers.get("content-encoding", ""))
    except CodingError as error:
        raise Unsupported(str(error), code="unsupported_encoding") from None


async def parse_json(body: bytes) -> dict[str, Any]:
    """Return the JSON object in a body. Raises Invalid."""
    try:
        found = await read_document(body)
    except DocumentError as error:
        raise Invalid(f"The body cannot be read. {error}", code="invalid_json") from None
    if not isinstance(found, dict):
        raise Invalid("The body must be a JSON object.", code="invalid_json")
    return found


async def written(body: dict[str, Any], size: int) -> bytes:
    """Return the JSON of a body of some `size` that was changed; a large one in pieces, between which others go on.

    Raises Invalid when it could be read and cannot be written.
    """
    try:
        if size < _LARGE:
            return orjson.dumps(body)
        members = []
        for name, value in body.items():
            members.append(
                orjson.dumps(name) + b":" + (await _list(value) if isinstance(value, list) else orjson.dumps(value))
            )
            await trio.lowlevel.checkpoint()
        return b"{" + b",".join(members) + b"}"
    except TypeError:
        raise Invalid("The body is nested too deeply.", code="invalid_json") from None


async def _list(items: list[Any]) -> bytes:
    written_items = []
    for start in range(0, len(items), _ITEMS_AT_ONCE):
        written_items += [orjson.dumps(item) for item in items[start : start + _ITEMS_AT_ONCE]]
        await trio.lowlevel.checkpoint()
    return b"[" + b",".join(written_items) + b"]"


def multipart_model(body: bytes, content_type: str) -> str:
    """Return the form field `model` of a multipart body, "" when there is none. Raises Invalid.

    Parts are found by their boundary alone and never looked into: the libraries' parsers take a second for each
    10 MB, during which nobody else is served.
    """
    boundary = parse_options_header(content_type)[1].get("boundary", "")
    delimiter = f"\r\n--{boundary}".encode("latin-1", "replace")
    data = b"\r\n" + body
    start = data.find(delimiter) if boundary else -1
    parts = 0
    while start >= 0:
        head = start + len(delimiter)
        if data[head : head + 2] == b"--":
            return ""
        if parts == MOST_PARTS:
            raise Invalid(f"The multipart body has more than {MOST_PARTS} parts.", code=_BAD_MULTIPART)
        parts += 1
        start = data.find(delimiter, head)
        content = data.find(b"\r\n\r\n", head, min(start, head + _MOST_HEADERS))
        if start < 0 or content < 0:
            break
        for line in data[head:content].split(b"\r\n"):
            if len(line) > _LONGEST_NAMING:
                continue
            name, _, value = line.decode("latin-1").partition(":")
            if name.lower() == "content-disposition" and parse_options_header(value)[1].get("name") == "model":
                return data[content + 4 : min(start, content + 4 + _LONGEST_MODEL)].decode(errors="replace").strip()
    raise Invalid("The multipart body is malformed: it does not end where it says.", code=_BAD_MULTIPART)
