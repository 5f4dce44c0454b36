"""JSON bodies, as every route under /api and /auth reads them."""

from json import JSONDecodeError
from typing import Any, cast

import trio
from quart import g, request
from quart.json.provider import DefaultJSONProvider

from domain.errors import Unprocessable
from eventlog import bounds

_LARGE = 256 * 1024


async def look_through_large_body() -> None:
    """Count what is in a large JSON body of this request, while others go on. Raises UnkeepableError."""
    length = request.content_length
    if request.is_json and (length is None or length > _LARGE):
        for _ in bounds.counted(cast(bytes, await request.get_data())):
            await trio.lowlevel.checkpoint()
        g.is_counted = True


class BoundedJSON(DefaultJSONProvider):
    """The library's JSON, within the bounds of what can be kept."""

    sort_keys = False

    def loads(self, s: str | bytes, **_: Any) -> Any:
        """Return the value of a document. Raises Unprocessable, or UnkeepableError beyond the bounds."""
        try:
            return bounds.read(s.encode() if isinstance(s, str) else s, is_counted=g.get("is_counted", False))
        except UnicodeError:
            raise Unprocessable("The body is not text in UTF-8.", code="malformed") from None
        except JSONDecodeError as error:
            where = f"{error.msg} at line {error.lineno}, column {error.colno}"
            raise Unprocessable(f"The body is not valid JSON: {where}.", code="malformed") from None
        except ValueError as error:
            raise Unprocessable(f"The body is not valid JSON: {error}.", code="malformed") from None
