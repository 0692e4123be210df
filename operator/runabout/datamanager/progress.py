"""How far a long piece of work is, for whoever wants to say so."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Unit = Literal["bytes", "batches", "documents"]


@dataclass(frozen=True, slots=True)
class Step:
    """`done` of `total` units; a total of 0: nobody knows."""

    what: str
    done: int
    total: int
    unit: Unit


Progress = Callable[[Step], None]


def silent(_step: Step) -> None:
    """Tell nobody."""
