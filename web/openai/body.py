"""Reading a request's body, and the model that it names."""

from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import trio
from werkzeug.http import parse_options_header

from domain.errors import Invalid, TooLarge

Receive = Callable[[], Awaitable[dict[str, Any]]]
BODY_SECONDS = 60.0
MOST_PARTS = 100
"""Of a multipart body: a form of OpenAI's API has a dozen."""
_MOST_HEADERS = 16 * 1024
_BAD_MULTIPART = "invalid_multipart"


class ClientGoneError(Exception):
    """The client closed the connection."""


async def read_body(receive: Receive, headers: dict[str, str], most: int) -> bytes:
    """Return the whole body. Raises TooLarge over `most` bytes, Invalid when it takes over a minute."""
    too_large = TooLarge(f"The body is larger than {most // 1_048_576} MiB, which is the limit here.")
    if int(headers.get("content-length") or 0) > most:
        raise too_large
    parts: list[bytes] = []
    size, more = 0, True
    with trio.move_on_after(BODY_SECONDS) as deadline:
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            more = message.get("more_body", False)
            if size > most:
                raise too_large
    if deadline.cancelled_caught:
        raise Invalid(f"The body did not arrive within {BODY_SECONDS:.0f} seconds.", code="slow_body")
    return b"".join(parts)


def parse_json(body: bytes) -> dict[str, Any]:
    """Return the JSON object in a body. Raises Invalid."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Invalid(f"The body is not valid JSON: {error}.", code="invalid_json") from None
    if not isinstance(found, dict):
        raise Invalid("The body must be a JSON object.", code="invalid_json")
    return found


def written(body: dict[str, Any]) -> bytes:
    """Return the JSON of a body that was changed. Raises Invalid when it could be read and cannot be written."""
    try:
        return orjson.dumps(body)
    except TypeError:
        raise Invalid("The body is nested too deeply.", code="invalid_json") from None


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
            name, _, value = line.decode("latin-1").partition(":")
            if name.lower() == "content-disposition" and parse_options_header(value)[1].get("name") == "model":
                return data[content + 4 : start].decode(errors="replace").strip()
    raise Invalid("The multipart body is malformed: it does not end where it says.", code=_BAD_MULTIPART)
