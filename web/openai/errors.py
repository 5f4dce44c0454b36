"""Errors in OpenAI's shape, with the status codes that its SDKs map to their exception classes."""

from typing import Any

import orjson

from domain.errors import DomainError
from web.openai.headers import HeaderList
from web.problems import status_of

_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "invalid_request_error",
    413: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
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
    after = error.fields.get("retry_after")  # Which the SDKs heed.
    headers = [(b"retry-after", str(after).encode())] if after else []
    return status, error_body(error.message, status=status, code=error.reason, param=param), headers
