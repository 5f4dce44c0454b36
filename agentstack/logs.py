"""Structured logs, on standard error: for people in a terminal, as JSON elsewhere."""

import logging
import sys
import time
from typing import Any

import orjson
import structlog

from domain.limits.bucket import Buckets, Rate

MOST_CHARACTERS = 4000
"""Of one text in a log line, a traceback aside: much of what is logged comes from elsewhere."""
_REPEATED_SECONDS = 60.0
_REPEATING = ("trio.serve_listeners", "web.connection")
"""Loggers that say the same again and again for as long as it lasts, or as a stranger likes."""
_QUIET = ("httpx", "httpcore", "httpcore2", "hypercorn.error", "urllib3")


def configure_logging(level: str, form: str) -> None:
    """Set up logging for the process. `level` is a level's name, `form` is auto, console or json."""
    as_json = form == "json" or (form == "auto" and not sys.stderr.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        _cut,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[Any]
    if as_json:
        last = [
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("message"),
            structlog.processors.JSONRenderer(serializer=_dumps),
        ]
    else:
        # Plain tracebacks: the colourful ones print local variables, and those may be secrets.
        plain = structlog.dev.plain_traceback
        last = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in _REPEATING:
        logging.getLogger(name).addFilter(_SELDOM)


class _Seldom(logging.Filter):
    """Lets one record of each logger pass a minute."""

    def __init__(self) -> None:
        super().__init__()
        self._records = Buckets(Rate(1, _REPEATED_SECONDS))

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether to log a record."""
        return not self._records.take(record.name, time.monotonic())


_SELDOM = _Seldom()


def _cut(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Cut texts that are too long for a log."""
    for name, value in event.items():
        if isinstance(value, str) and len(value) > MOST_CHARACTERS:
            event[name] = f"{value[:MOST_CHARACTERS]}… ({len(value)} characters)"
    return event


def _dumps(value: object, **_: Any) -> str:
    return orjson.dumps(value, default=str).decode()
