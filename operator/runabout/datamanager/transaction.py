"""What a caller asks for: a few documents written together."""

from dataclasses import dataclass
from typing import NewType, TypeAlias

Sequence = NewType("Sequence", int)
"""The number of a batch in the log; 0 is the empty store."""


@dataclass(frozen=True, slots=True)
class Put:
    """Writes a document."""

    type: str
    key: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Delete:
    """Removes a document; one that is not there is no error."""

    type: str
    key: str


@dataclass(frozen=True, slots=True)
class Append:
    """Writes a document under its type's next number (from 1, without gaps), as 16 hexadecimal digits."""

    type: str
    body: bytes


Action: TypeAlias = Put | Delete | Append


@dataclass(frozen=True, slots=True)
class Transaction:
    """Actions that happen together or not at all.

    It conflicts only with transactions that name one of the same `groups` and were committed after `read_at`; without
    `read_at` it conflicts with none.
    """

    actions: tuple[Action, ...]
    groups: frozenset[str] = frozenset()
    read_at: Sequence | None = None


@dataclass(frozen=True, slots=True)
class Committed:
    """Where a transaction stands in the log, and the numbers its appends were given, in their order."""

    sequence: Sequence
    appended: tuple[int, ...] = ()
