"""What is asked of the index: a query, the pages that answer it, and the cursors between pages."""

import base64
import binascii
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from runabout.records import Phase, Result
from runabout.runindex.columns import LABEL
from runabout.runindex.errors import BadCursor, NotIndexed
from runabout.runindex.row import PHASES, RESULTS, IndexRow
from runabout.runindex.words import bucket, group_key

OUTCOMES = len(PHASES) * len(RESULTS)
"""An outcome is a phase and a result: phase's place x 4 + result's place."""

_CURSOR = struct.Struct(">BBQ")
_CURSOR_CHECK = struct.Struct(">I")
_CURSOR_VERSION = 1
_AFTER_ELEMENTS = b"\x01"


@dataclass(frozen=True, slots=True)
class Query:
    """Which runs: those for which everything that is given holds. The default is all of them.

    `group` is one effective group, `prefix` a group and all that is below it by whole elements ("/" is everything).
    `phases` and `results` name what is accepted; empty accepts any. `labels` are indexed labels and their values.
    `last_of_group` leaves the newest run of each group: then, of these, the ones for which the rest holds.
    """

    group: str | None = None
    prefix: str | None = None
    namespace: str | None = None
    phases: frozenset[Phase] = frozenset()
    results: frozenset[Result] = frozenset()
    labels: Mapping[str, str] = field(default_factory=dict)
    last_of_group: bool = False

    def __post_init__(self) -> None:
        for path in (self.group, self.prefix):
            if path is not None and path != "/" and (not path.startswith("/") or path.endswith("/")):
                raise ValueError(f"{path!r} is no group: it begins with a slash and does not end with one")


@dataclass(frozen=True, slots=True)
class Page:
    """Runs, the newest first. `older` and `newer` are cursors to what comes next, None if there is nothing."""

    rows: tuple[IndexRow, ...]
    older: str | None
    newer: str | None


class Direction(IntEnum):
    """Where a cursor leads."""

    OLDER = 0
    NEWER = 1


@dataclass(frozen=True, slots=True)
class Cursor:
    """Runs with ids below `number` (older), or above it (newer)."""

    direction: Direction
    number: int

    def text(self) -> str:
        """Return the cursor as callers see it."""
        body = _CURSOR.pack(_CURSOR_VERSION, self.direction, self.number)
        return base64.urlsafe_b64encode(body + _CURSOR_CHECK.pack(zlib.crc32(body))).decode().rstrip("=")


def parse_cursor(text: str) -> Cursor:
    """Return the cursor that was given as `text`.

    Raises:
        BadCursor: no page has given it.
    """
    try:
        body = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        version, direction, number = _CURSOR.unpack(body[: _CURSOR.size])
        (check,) = _CURSOR_CHECK.unpack(body[_CURSOR.size :])
    except (binascii.Error, struct.error, ValueError) as error:
        raise BadCursor(f"{text[:80]!r} is no cursor: pass on `older` or `newer` of a page as they are") from error
    if check != zlib.crc32(body[: _CURSOR.size]):
        raise BadCursor(f"{text[:80]!r} is no cursor: it was changed on its way")
    if version != _CURSOR_VERSION or direction not in tuple(Direction):
        raise BadCursor(f"this cursor is of version {version}, and this program knows {_CURSOR_VERSION}: begin again")
    return Cursor(Direction(direction), number)


@dataclass(frozen=True, slots=True)
class Term:
    """A word that a column must have: exactly `low`, or, with `high`, from `low` to below `high`."""

    field: str
    low: bytes
    high: bytes | None
    bit: int
    """of the filter"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A query as segments read it. `outcomes` are codes, None if all are accepted."""

    terms: tuple[Term, ...]
    bits: tuple[int, ...]
    outcomes: tuple[int, ...] | None
    outcome_table: np.ndarray[tuple[int], np.dtype[np.bool_]]


def wanted_of(query: Query, labels: Sequence[str]) -> Wanted:
    """Return a query as segments read it.

    Raises:
        NotIndexed: it names a label that is not among `labels`.
    """
    terms = []
    if query.group is not None:
        terms.append(_term("group", group_key(query.group)))
    if query.prefix is not None and query.prefix != "/":
        key = group_key(query.prefix)
        terms.append(Term("group", key, key + _AFTER_ELEMENTS, bucket("group", key)))
    if query.namespace is not None:
        terms.append(_term("namespace", query.namespace.encode()))
    for name, value in query.labels.items():
        if name not in labels:
            known = ", ".join(labels) or "none"
            raise NotIndexed(f"the label {name} is not indexed; those that are: {known}")
        terms.append(_term(LABEL + name, value.encode()))
    outcomes = None
    if query.phases or query.results:
        outcomes = tuple(_outcomes(query.phases or PHASES, query.results or RESULTS))
    table = np.zeros(OUTCOMES, np.bool_)
    table[list(outcomes or ())] = True
    return Wanted(tuple(terms), tuple(term.bit for term in terms), outcomes, table)


def _term(column: str, word: bytes) -> Term:
    return Term(column, word, None, bucket(column, word))


def _outcomes(phases: Iterable[Phase], results: Iterable[Result]) -> Iterable[int]:
    for phase in phases:
        for result in results:
            yield PHASES.index(phase) * len(RESULTS) + RESULTS.index(result)
