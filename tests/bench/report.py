"""How measurements are told."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value. `goal` is what it should reach, in words; `reached` is None for a value beside."""

    name: str
    value: str
    goal: str = ""
    reached: bool | None = None

    @classmethod
    def at_least(cls, name: str, value: float, least: float, unit: str) -> "Figure":
        """Return a figure that should not be below `least`."""
        return cls(name, f"{value:,.0f} {unit}", f">= {least:,.0f}", value >= least)

    @classmethod
    def ratio(cls, name: str, value: float, most: float, told: str) -> "Figure":
        """Return a figure that should not be above `most` times the one beside it."""
        return cls(name, f"{told}, ratio {value:.2f}", f"ratio <= {most:g}", value <= most)


def show(title: str, figures: Sequence[Figure]) -> None:
    """Print figures as a table."""
    table = Table("what", "measured", "goal", "", title=title, title_justify="left")
    for figure in figures:
        mark = "" if figure.reached is None else "[green]reached[/]" if figure.reached else "[red]missed[/]"
        table.add_row(figure.name, figure.value, figure.goal, mark)
    Console(width=120).print(table)


def percentile(values: Sequence[float], percent: float) -> float:
    """Return a percentile of values, in their unit."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def ms(seconds: float) -> str:
    """Return seconds as milliseconds."""
    return f"{seconds * 1000:.2f} ms"


median = statistics.median
