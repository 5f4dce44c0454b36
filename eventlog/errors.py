"""What the log can refuse."""


class EventLogError(Exception):
    """Base of all errors of the log."""


class StreamConflictError(EventLogError):
    """Somebody else appended to `stream` first: it is not at `expected` any more. Load it again and retry."""

    def __init__(self, stream: str, expected: int) -> None:
        super().__init__(f"stream {stream!r} is no longer at version {expected}")
        self.stream = stream
        self.expected = expected


class AppendFailedError(EventLogError):
    """The disk or the database refused the commit; nothing of it was kept."""


class LogClosedError(EventLogError):
    """The log is shutting down and takes no more events."""


class DataFolderInUseError(EventLogError):
    """Another process has this data folder open."""


class UnsafeFileSystemError(EventLogError):
    """The data folder is on a network file system, where the log could be damaged."""


class BrokenChainError(EventLogError):
    """The stored events do not match their hash chain: the log was changed or damaged."""

    def __init__(self, position: int, problem: str) -> None:
        super().__init__(f"the event log does not verify at position {position}: {problem}")
        self.position = position


class UnknownEventError(EventLogError):
    """The log holds an event that this version of the program cannot read."""
