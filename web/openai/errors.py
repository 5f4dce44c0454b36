"""Errors in OpenAI's shape, with the status codes that its SDKs map to their exception classes."""

from typing import Any

import orjson

from domain.errors import DomainError, Full, TooMany
from web.openai.headers import HeaderList
from web.problems import status_of

LONGEST_RETRY_SECONDS = 60
"""An SDK that is told to come again later than this is better told not to wait."""
_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "invalid_request_error",
    413: "invalid_request_error",
    414: "invalid_request_error",
    415: "invalid_request_error",
    421: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
    431: "invalid_request_error",
}


def error_body(message: str, *, status: int, code: str | None = None, param: str | None = None) -> bytes:
    """Return `{"error": {...}}` as JSON."""
    kind = _KINDS.get(status, "server_error")
    error: dict[str, Any] = {"message": message, "type": kind, "param": param, "code": code}
    return orjson.dumps({"error": error})


def described(error: DomainError) -> tuple[int, bytes, HeaderList]:
    """Return status, body and headers for an error of ours."""
    status = status_of(error)
    param = "model" if error.reason == "model_not_found" else None
    return status, error_body(error.message, status=status, code=error.reason, param=param), _limits(error)


def _limits(error: DomainError) -> HeaderList:
    """Return the headers that the SDKs heed: when to come again, or that it would be of no use soon."""
    after, limit = error.fields.get("retry_after"), error.fields.get("limit")
    headers: list[tuple[str, object]] = []
    if after:
        headers.append(("retry-after", after))
    if isinstance(error, TooMany | Full) and (not after or after > LONGEST_RETRY_SECONDS):
        headers.append(("x-should-retry", "false"))
    if limit:
        headers += [
            ("x-ratelimit-limit-requests", limit),
            ("x-ratelimit-remaining-requests", 0),
            ("x-ratelimit-reset-requests", f"{error.fields['reset']}s"),
        ]
    return [(name.encode(), str(value).encode()) for name, value in headers]
