"""Everything that can go wrong in a way a person can act on: one small tree, mapped once at each boundary."""

from typing import Any, ClassVar

OUR_FAULT = "Something went wrong inside agent-stack; its log has the details."
"""What a person is told of a bug."""


class DomainError(Exception):
    """A refusal. ``message`` says what to do; ``code`` is stable; ``fields`` let a client translate it.

    A message may quote an engine or an agent. What is no character in it becomes a question mark, since messages
    are kept and sent.
    """

    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, code: str | None = None, **fields: Any) -> None:
        self.message = message.encode(errors="replace").decode()
        super().__init__(self.message)
        self.reason = code or self.code
        self.fields = fields


class Invalid(DomainError):
    """The request is understood but its values are not acceptable."""

    code = "invalid"


class Misdirected(DomainError):
    """The request asks for a server of a name that is not one of ours."""

    code = "misdirected"


class Unprocessable(DomainError):
    """The request has the wrong shape, or something it needs has no value."""

    code = "unprocessable"


class Unauthenticated(DomainError):
    """Nobody is signed in, or the credentials are wrong."""

    code = "unauthenticated"


class Forbidden(DomainError):
    """Somebody is signed in who may not do this."""

    code = "forbidden"


class NotFound(DomainError):
    """No such thing, or it is somebody else's (which must look the same)."""

    code = "not_found"


class Conflict(DomainError):
    """The thing exists already, or is in a state that excludes the request."""

    code = "conflict"


class TooLarge(DomainError):
    """The body is over the limit."""

    code = "too_large"


class Unsupported(DomainError):
    """The body is encoded in a way that is not known here."""

    code = "unsupported"


class TooMany(DomainError):
    """Somebody asks for more than they may have, or too often. The field `retry_after` tells when to come again."""

    code = "too_many"


class Full(DomainError):
    """Somebody has as much of something as they may keep: to wait is of no use."""

    code = "full"


class Unavailable(DomainError):
    """It cannot be done now: disabled, shutting down, or the engine is away."""

    code = "unavailable"


class EngineFailed(DomainError):
    """The engine or the agent refused; the message carries its words."""

    code = "engine_failed"


class StartTimedOut(DomainError):
    """The agent was not ready in time; the message carries its last log lines."""

    code = "start_timed_out"
