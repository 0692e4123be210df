"""A row of the index: what people look for in a run, and nothing else.

Inside the index an id is its number (64 bits); :func:`number_of` and :func:`id_of` go between number and text.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from runabout.records import Phase, Result, Run, RunId, parse_run_id

PHASES = tuple(Phase)
RESULTS = tuple(Result)
MAX_ID = (1 << 64) - 1
MAX_COUNTER = (1 << 32) - 1
MAX_TIME = 1 << 53
"""Milliseconds; far beyond any date, and the difference of two still fits 64 bits."""

_DIGITS = "0123456789abcdefghijklmnopqrstuv"
_PAIRS = tuple(high + low for high in _DIGITS for low in _DIGITS)
_NO_LABELS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class IndexRow:
    """One run. `group` is the effective one; `start` and `end` are milliseconds since 1970, None before they are.

    `labels` are the indexed ones among the run's labels.
    """

    id: RunId
    group: str
    namespace: str
    phase: Phase
    result: Result
    counter: int
    start: int | None = None
    end: int | None = None
    labels: Mapping[str, str] = field(default_factory=lambda: _NO_LABELS)


def row_of(run: Run, labels: Mapping[str, str] = _NO_LABELS) -> IndexRow:
    """Return the row of a run as it is recorded; its labels stand in its configuration."""
    return IndexRow(
        id=run.id,
        group=run.group,
        namespace=run.namespace,
        phase=run.phase,
        result=run.result,
        counter=run.counter,
        start=run.started,
        end=run.ended,
        labels=labels,
    )


def checked(row: IndexRow) -> IndexRow:
    """Return the row, which an index can hold.

    Raises:
        ValueError: the id is none, `group` does not begin with a slash or has a NUL, a number is out of range.
    """
    parse_run_id(row.id)
    if not row.group.startswith("/") or "\0" in row.group:
        raise ValueError(f"run {row.id}: the group {row.group!r} is no path; it begins with a slash")
    if not 0 <= row.counter <= MAX_COUNTER:
        raise ValueError(f"run {row.id}: the number {row.counter} is not between 0 and {MAX_COUNTER}")
    for name, time in (("start", row.start), ("end", row.end)):
        if time is not None and not 0 <= time <= MAX_TIME:
            raise ValueError(f"run {row.id}: {name} {time} is no time in milliseconds since 1970")
    return row


def number_of(run: RunId) -> int:
    """Return a run id's number; ids sort as their numbers do."""
    return int(run, 32)


def id_of(number: int) -> RunId:
    """Return the run id that has this number."""
    tail = [_PAIRS[(number >> shift) & 1023] for shift in (50, 40, 30, 20, 10, 0)]
    return RunId(_DIGITS[number >> 60] + "".join(tail))
