"""Errors as `application/problem+json` (RFC 9457), in one shape on every route."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
import structlog
from pydantic import BaseModel, ConfigDict, ValidationError
from quart import Quart, Response
from quart_schema import RequestSchemaValidationError
from werkzeug.exceptions import HTTPException

from domain.errors import (
    OUR_FAULT,
    Conflict,
    DomainError,
    EngineFailed,
    Forbidden,
    Full,
    Invalid,
    Misdirected,
    NotFound,
    StartTimedOut,
    TooLarge,
    TooMany,
    Unauthenticated,
    Unavailable,
    Unprocessable,
    Unsupported,
)
from eventlog.errors import (
    AppendFailedError,
    KeyDestroyedError,
    LogClosedError,
    ReadOnlyError,
    StreamConflictError,
    UnkeepableError,
)

STATUS: Mapping[type[DomainError], int] = {
    Invalid: 400,
    Unauthenticated: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    TooLarge: 413,
    Unsupported: 415,
    Misdirected: 421,
    Unprocessable: 422,
    TooMany: 429,
    EngineFailed: 502,
    Unavailable: 503,
    StartTimedOut: 504,
    Full: 507,
}
LOG_REFUSED = "The event log could not be written, so nothing was changed. Is the disk full? Try again."
_NO_OBJECT = "The body must be a JSON object, sent with `Content-Type: application/json`."
_MOST_COMPLAINTS = 10
_HIDDEN_FIELDS = frozenset({"log_tail"})

_logger = structlog.get_logger("web")


class Problem(BaseModel):
    """What went wrong. `detail` is a sentence that says what to do; `code` is stable."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    code: str


def problem(status: int, detail: str, code: str, **fields: Any) -> Response:
    """Return an error response."""
    return Response(problem_body(status, detail, code, **fields), status, content_type="application/problem+json")


def problem_body(status: int, detail: str, code: str, **fields: Any) -> bytes:
    """Return the JSON of an error."""
    title = HTTPStatus(status).phrase
    body = {**fields, "type": f"urn:agentstack:{code}", "title": title, "status": status, "detail": detail}
    return orjson.dumps({**body, "code": code}, default=str)


def listed(error: ValidationError) -> str:
    """Return pydantic's complaints as one sentence."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    told = [f"{'.'.join(map(str, e['loc'])) or 'body'}: {e['msg']}" for e in found[:_MOST_COMPLAINTS]]
    more = len(found) - len(told)
    return "; ".join(told) + (f"; and {more} more" if more else "")


def status_of(error: DomainError) -> int:
    """Return the HTTP status for an error."""
    return next(status for kind, status in STATUS.items() if isinstance(error, kind))


def handle_errors(app: Quart) -> None:
    """Make every error of `app` a problem."""

    @app.errorhandler(DomainError)
    async def refused(error: DomainError) -> Response:
        fields = {k: v for k, v in error.fields.items() if k not in _HIDDEN_FIELDS}
        answer = problem(status_of(error), error.message, error.reason, **fields)
        if "retry_after" in fields:
            answer.headers["Retry-After"] = str(fields["retry_after"])
        return answer

    @app.errorhandler(RequestSchemaValidationError)
    async def malformed(error: RequestSchemaValidationError) -> Response:
        cause = error.validation_error
        if isinstance(cause, ValidationError) and all(e["loc"] for e in cause.errors()):
            return problem(422, listed(cause), "malformed")
        return problem(422, _NO_OBJECT, "malformed")

    @app.errorhandler(HTTPException)
    async def http(error: HTTPException) -> Response:
        status = error.code or 500
        if status == 400:  # Quart could not read the body.
            return problem(422, "The body is not valid JSON.", "malformed")
        answer = problem(status, error.description or "", HTTPStatus(status).name.lower())
        if status == 405:
            answer.headers["Allow"] = dict(error.get_headers()).get("Allow", "")
        return answer

    @app.errorhandler(UnicodeDecodeError)
    async def unreadable(_: UnicodeDecodeError) -> Response:
        return problem(422, "The body is not text in UTF-8.", "malformed")

    @app.errorhandler(UnkeepableError)
    async def unkeepable(error: UnkeepableError) -> Response:
        return problem(422, str(error), "unkeepable")

    @app.errorhandler(StreamConflictError)
    async def conflict(_: StreamConflictError) -> Response:
        return problem(409, "Somebody else changed this at the same moment. Load it again and retry.", "conflict")

    @app.errorhandler(KeyDestroyedError)
    async def deleted(_: KeyDestroyedError) -> Response:
        return problem(404, "This account was deleted a moment ago.", "not_found")

    @app.errorhandler(ReadOnlyError)
    async def read_only(error: ReadOnlyError) -> Response:
        return problem(403, f"{str(error).capitalize()}.", "read_only")

    @app.errorhandler(AppendFailedError)
    @app.errorhandler(LogClosedError)
    async def not_written(_: Exception) -> Response:
        return problem(503, LOG_REFUSED, "log_refused")

    @app.errorhandler(Exception)
    async def unexpected(error: Exception) -> Response:
        _logger.error("request_failed", exc_info=error)
        return problem(500, OUR_FAULT, "internal")
