"""A figure and its limit, for people and for programs."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One measured value; `target` is what we want (`at_least` or at most), `beside` what it has to be seen with."""

    name: str
    value: float
    unit: str
    target: float | None = None
    at_least: bool = False
    beside: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is met, None without one."""
        if self.target is None:
            return None
        return self.value >= self.target if self.at_least else self.value <= self.target

    def document(self) -> dict[str, object]:
        """Return the figure for JSON."""
        return {
            "name": self.name,
            "value": round(self.value, 4),
            "unit": self.unit,
            "target": self.target,
            "targetIs": None if self.target is None else ("at least" if self.at_least else "at most"),
            "met": self.met,
            "beside": self.beside,
        }


def table(figures: Iterable[Figure]) -> str:
    """Return the figures as a table of text."""
    rows = [("figure", "value", "unit", "target", "", "beside")]
    for figure in figures:
        sign = "≥" if figure.at_least else "≤"
        target = "" if figure.target is None else f"{sign} {figure.target:g}"
        met = {None: "", True: "met", False: "MISSED"}[figure.met]
        rows.append((figure.name, f"{figure.value:,.2f}", figure.unit, target, met, figure.beside))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n" for row in rows
    )
