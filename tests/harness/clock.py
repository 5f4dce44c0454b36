"""A clock that stands until a test moves it."""


class Clock:
    """Stands for the module `time` in a module under test. `now` is in seconds."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now
