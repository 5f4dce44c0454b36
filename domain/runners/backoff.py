"""How long to wait before starting what keeps failing."""

FREE_FAILURES = 2
"""So many failures in a row cost no wait: a person may just be mending a setting."""
FIRST_PAUSE = 5.0
LONGEST_PAUSE = 300.0
STEADY_SECONDS = 60.0
"""A runner that was ready for so long was well: its end is the first failure of a new row."""


def pause_seconds(failures: int) -> float:
    """Return the seconds between the last of `failures` in a row and the next start."""
    if failures <= FREE_FAILURES:
        return 0.0
    return float(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(failures - FREE_FAILURES - 1, 16)))
