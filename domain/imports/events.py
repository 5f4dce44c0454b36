"""Events of the stream `import:legacy`."""

from domain.event import Event


class LegacyImported(Event):
    """The database of the earlier agent-stack was brought in: how many of each thing, and what it was (SHA-256)."""

    TOPIC = "legacy.imported"

    digest: str
    counts: dict[str, int]
