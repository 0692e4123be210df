"""Which typed columns a type of document has in the data files, for people who query them with other programs.

The datamanager does not know what documents mean. Whoever does registers a :class:`Table` for a type; a type without
one has its key and bytes alone. Columns are a copy for reading: the bytes are the document, whatever the columns say.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

OWN_COLUMNS = ("key", "body")
"""What every data file has."""

Value = str | int | float | bool | None
Reader = Callable[[str, bytes], Mapping[str, Value]]
"""Returns the values of a document, from its key and bytes, by column; what is left out is null.

Raises:
    ValueError: the document cannot be read; all of its columns are null then.
"""


class Kind(Enum):
    """What a column holds."""

    TEXT = "text"
    INTEGER = "integer"
    """64 bits, signed."""
    NUMBER = "number"
    """A 64 bit float."""
    FLAG = "flag"
    TIME = "time"
    """From an integer: milliseconds since 1970, UTC."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column; its values may all be null."""

    name: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Table:
    """The columns of a type, and how they are found in a document."""

    columns: tuple[Column, ...]
    read: Reader

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        if len(set(names)) < len(names) or any(not name or name in OWN_COLUMNS for name in names):
            raise ValueError(f"columns need different names, and other ones than {', '.join(OWN_COLUMNS)}: {names}")

    def values(self, key: str, body: bytes) -> Mapping[str, Value]:
        """Return the values of a document; none if it cannot be read."""
        try:
            return self.read(key, body)
        except ValueError:
            return {}


Tables = Mapping[str, Table]
"""By type."""
NO_TABLES: Tables = MappingProxyType({})
PLAIN = Table((), lambda _key, _body: {})
"""For a type without columns."""
