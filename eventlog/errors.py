"""What the log can refuse."""

from pathlib import Path


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


class NewerShapeError(EventLogError):
    """An event has a shape that only a newer version of the program knows."""


class NewerLogError(EventLogError):
    """The log holds types of events that only a newer version of the program knows."""

    def __init__(self, path: Path, types: list[str]) -> None:
        super().__init__(
            f"{path} holds events that this version of agent-stack does not know ({', '.join(types)}): a newer "
            "version wrote them. Start that version again, or restore a backup from before the upgrade."
        )


class UnkeepableError(EventLogError):
    """Something was to be kept that could not be read back. The message tells its sender what is wrong with it."""


class WrongMasterKeyError(EventLogError):
    """The vault was made with another master key."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"The master key is not the one with which {path} was made, so nothing can be decrypted. Set "
            "AGENT_STACK_MASTER_KEY or AGENT_STACK_MASTER_KEY_FILE as they were, or restore secrets/master in the "
            "data folder from a backup."
        )


class VaultMissingError(EventLogError):
    """The log holds encrypted events, and the vault with their keys is not there."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} is missing, and without the keys in it nothing that users wrote can be read, their addresses "
            "and passwords included. Restore it from a backup."
        )


class VaultIncompleteError(EventLogError):
    """The vault lacks the key of an owner who was not deleted: it is older than the log."""

    def __init__(self, owner: str) -> None:
        super().__init__(
            f"The vault has no key for {owner!r}, though the log holds what was encrypted with it. vault.db is "
            "older than the log: restore both from the same backup."
        )


class KeyDestroyedError(EventLogError):
    """Something was to be kept for an owner who has no key: the user was deleted."""

    def __init__(self, owner: str) -> None:
        super().__init__(f"the key of {owner!r} was destroyed: this user was deleted")
        self.owner = owner


class BrokenSealError(EventLogError):
    """Encrypted bytes are not what was written: they were changed or moved, or the key is another one."""


class ReadOnlyError(EventLogError):
    """Something was to be appended to a log that is only for looking at."""

    def __init__(self) -> None:
        super().__init__("this is a read-only view of how things were: nothing can be changed or started in it")
