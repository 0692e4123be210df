"""What a caller asks for: a few documents written together."""

from dataclasses import dataclass, field
from typing import NewType, TypeAlias

Sequence = NewType("Sequence", int)
"""The number of a batch in the log; 0 is the empty store."""
BatchId = NewType("BatchId", str)
"""Which batch, written or not: its place in the log and its random id, as hexadecimal text; see `Store.outcome`."""


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


OVERHEAD = 32
"""Bytes that an action costs beside its texts, about; a number given to an append is among them."""
MAX_TYPE = 255
"""Bytes of a type's name."""
MAX_KEY = 65_535
"""Bytes of a document's key."""

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


def measure(transaction: Transaction) -> int:
    """Return about how many bytes a transaction takes in a batch.

    Raises:
        ValueError: a type or key is too long, or no text that UTF-8 can hold.
    """
    return sum(_measure(action) for action in transaction.actions)


def _measure(action: Action) -> int:
    key = b"" if isinstance(action, Append) else action.key.encode()
    if len(key) > MAX_KEY:
        raise ValueError(
            f"the key {key[:40]!r}… of a {action.type} has {len(key)} bytes; at most {MAX_KEY} are possible"
        )
    kind = action.type.encode()
    if not 0 < len(kind) <= MAX_TYPE:
        raise ValueError(f"the type {action.type[:40]!r} has {len(kind)} bytes; 1 to {MAX_TYPE} are possible")
    return OVERHEAD + len(kind) + len(key) + (0 if isinstance(action, Delete) else len(action.body))


@dataclass(frozen=True, slots=True)
class Committed:
    """Where a transaction stands in the log, and the numbers its appends were given, in their order."""

    sequence: Sequence
    appended: tuple[int, ...] = ()
    batch: BatchId = field(default=BatchId(""), compare=False)
