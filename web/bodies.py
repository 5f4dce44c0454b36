"""JSON bodies, as every route under /api and /auth reads them."""

from json import JSONDecodeError
from typing import Any

from quart.json.provider import DefaultJSONProvider

from domain.errors import Unprocessable
from eventlog import bounds


class BoundedJSON(DefaultJSONProvider):
    """The library's JSON, within the bounds of what can be kept."""

    sort_keys = False

    def loads(self, s: str | bytes, **_: Any) -> Any:
        """Return the value of a document. Raises Unprocessable, or UnkeepableError beyond the bounds."""
        try:
            return bounds.read(s.encode() if isinstance(s, str) else s)
        except UnicodeError:
            raise Unprocessable("The body is not text in UTF-8.", code="malformed") from None
        except JSONDecodeError as error:
            where = f"{error.msg} at line {error.lineno}, column {error.colno}"
            raise Unprocessable(f"The body is not valid JSON: {where}.", code="malformed") from None
        except ValueError as error:
            raise Unprocessable(f"The body is not valid JSON: {error}.", code="malformed") from None
