"""How long a runner may idle."""

NEVER = 0


def clamp_idle(seconds: int, *, least: int, most: int) -> int:
    """Return the idle time to store: 0 (never) for 0 or less, else clamped to `least..most` seconds."""
    return NEVER if seconds <= 0 else max(least, min(most, seconds))
