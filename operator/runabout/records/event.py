"""A change of a run's phase or result, numbered without gaps in its store."""

from dataclasses import dataclass

from runabout.records.ids import RunId
from runabout.records.words import Phase, Result


@dataclass(frozen=True, slots=True)
class Event:
    """One change, in the same commit as the change; its sequence is its key in the store."""

    run: RunId
    phase: Phase
    result: Result
    time: int
