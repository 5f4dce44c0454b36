"""JSON bodies, as every route under /api and /auth reads them."""

from typing import Any

from quart.json.provider import DefaultJSONProvider

from eventlog import bounds


class BoundedJSON(DefaultJSONProvider):
    """The library's JSON, within the bounds of what can be kept."""

    sort_keys = False

    def loads(self, s: str | bytes, **_: Any) -> Any:
        """Return the value of a document. Raises ValueError, or UnkeepableError beyond the bounds."""
        return bounds.read(s.encode() if isinstance(s, str) else s)
