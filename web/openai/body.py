"""Reading a request's body, and the model that it names."""

from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import trio
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Field, MultipartDecoder, NeedData

from domain.errors import Invalid, TooLarge

Receive = Callable[[], Awaitable[dict[str, Any]]]
BODY_SECONDS = 60.0


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


def multipart_model(body: bytes, content_type: str) -> str:
    """Return the form field `model` of a multipart body, "" when there is none. Raises Invalid."""
    boundary = parse_options_header(content_type)[1].get("boundary", "")
    decoder = MultipartDecoder(boundary.encode("latin-1", "replace"))
    decoder.receive_data(body)
    decoder.receive_data(None)
    name, value = "", bytearray()
    try:
        while not isinstance(part := decoder.next_event(), Epilogue | NeedData):
            if isinstance(part, Field):
                name, value = part.name, bytearray()
            elif isinstance(part, Data) and name == "model":
                value += part.data
                if not part.more_data:
                    return value.decode(errors="replace").strip()
    except ValueError as error:
        raise Invalid(f"The multipart body is malformed: {error}.", code="invalid_multipart") from None
    return ""
