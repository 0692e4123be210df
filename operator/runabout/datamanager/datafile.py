"""Data files: documents of one type, sorted by key, as Parquet that any query engine reads.

Columns: `key`, the columns of the type's table, and `body`, the document's bytes. Row groups and files are bounded in
bytes, so that writing and reading take a bounded memory, however many documents there are; `rowgroups.py` reads one of
them alone. pyarrow must not use its threads here: a process that let it do so was seen to abort at its end.
"""

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import google_crc32c
import pyarrow as pa
import pyarrow.parquet as pq

from runabout.datamanager.errors import BrokenLog
from runabout.datamanager.manifest import DataFile
from runabout.datamanager.rowgroups import GROUPS, Group, described_footer, encode_groups
from runabout.datamanager.tables import OWN_COLUMNS, Column, Kind, Table, Value

MAX_FILE = 16 * 1024 * 1024
"""Bytes of a data file."""
ROW_GROUP = 1024 * 1024
"""Bytes of documents after which a row group ends at the latest; the last document may go beyond."""
_GROUP_OF_COLUMN = 128 * 1024
"""The same, for each column: one read takes a footer, which has all columns of all row groups, and a row group."""
MAX_ROWS = 16_384
"""Documents in a row group."""
_FOOTER = 16 * 1024
"""Bytes that are left free in a file for its footer, beside those for its row groups."""
_COLUMN = 256
"""Bytes that a column of a row group takes in the footer, without its texts, about."""
_ROW = 16
"""Bytes that a document costs beside its texts, about."""
_TYPES = {
    Kind.TEXT: pa.string(),
    Kind.INTEGER: pa.int64(),
    Kind.NUMBER: pa.float64(),
    Kind.FLAG: pa.bool_(),
    Kind.TIME: pa.timestamp("ms", tz="UTC"),
}
_MOST_INTEGER = 2**63


@dataclass(frozen=True, slots=True)
class Written:
    """The bytes of a data file, and what is in it."""

    data: bytes
    first: str
    last: str
    count: int

    def described(self, key: str, kind: str) -> DataFile:
        """Return how a manifest names it, stored as the object `key`."""
        digest = hashlib.sha256(self.data).digest()
        footer = described_footer(self.data)
        return DataFile(key, kind, len(self.data), digest, self.first, self.last, self.count, footer)


class DataWriter:
    """Makes data files of documents that come in the order of their keys; holds one file and one row group."""

    def __init__(self, table: Table, *, most: int = MAX_FILE, group: int = ROW_GROUP) -> None:
        self._table = table
        self._group = group_bytes(table, group)
        self._file = GroupWriter(table, most=most)
        self._columns: list[list[Value | bytes]] = [[] for _ in self._file.schema.names]
        self._bytes = 0

    def add(self, key: str, body: bytes) -> Written | None:
        """Take a document; return a file if one is full."""
        values = self._table.values(key, body)
        row = [_checked(column, values.get(column.name)) for column in self._table.columns]
        for column, value in zip(self._columns, [key, *row, body], strict=True):
            column.append(value)
        texts = sum(len(value.encode()) for value in row if isinstance(value, str))
        self._bytes += len(key.encode()) + len(body) + texts + _ROW * (len(row) + 1)
        if self._bytes >= self._group or len(self._columns[0]) >= MAX_ROWS:
            return self._write_group()
        return None

    def close(self) -> list[Written]:
        """Return the files that are left."""
        found = [self._write_group()] if self._columns[0] else []
        return [each for each in (*found, self._file.close()) if each is not None]

    def _write_group(self) -> Written | None:
        schema = self._file.schema
        arrays = [pa.array(values, field.type) for values, field in zip(self._columns, schema, strict=True)]
        full = self._file.add(pa.Table.from_arrays(arrays, schema=schema), self._bytes)
        for column in self._columns:
            column.clear()
        self._bytes = 0
        return full


def group_bytes(table: Table, most: int = ROW_GROUP) -> int:
    """Return after how many bytes of documents and texts a row group of a type ends."""
    return min(most, _GROUP_OF_COLUMN * (len(table.columns) + len(OWN_COLUMNS)))


class GroupWriter:
    """Makes data files of row groups that come in the order of their keys, as columns; holds one file."""

    def __init__(self, table: Table, *, most: int = MAX_FILE) -> None:
        self._table = table
        self._most = most
        self.schema: Any = pa.schema(
            [
                pa.field("key", pa.string(), nullable=False),
                *(pa.field(column.name, _TYPES[column.kind]) for column in table.columns),
                pa.field("body", pa.binary(), nullable=False),
            ]
        )
        self._sink = io.BytesIO()
        self._writer: Any = None
        self._first = self._last = ""
        self._count = 0
        self._groups: list[Group] = []
        self._footer = 0

    def add(self, rows: Any, size: int) -> Written | None:  # noqa: ANN401  # pyarrow has no types
        """Take the rows of one group, at least one, of about `size` bytes; return the file before if it is full."""
        full = None
        first, last = rows["key"][0].as_py(), rows["key"][-1].as_py()
        footer = len(self.schema) * _COLUMN + 3 * (len(first.encode()) + len(last.encode()))
        if self._writer is not None and self._sink.tell() + size + self._footer + footer > self._most:
            full = self.close()
        if self._writer is None:
            self._sink = io.BytesIO()
            self._writer = pq.ParquetWriter(
                self._sink,
                self.schema,
                compression="zstd",
                compression_level=3,
                use_dictionary=[column.name for column in self._table.columns if column.kind is Kind.TEXT],
                write_statistics=[name for name in self.schema.names if name != "body"],
                sorting_columns=[pq.SortingColumn(0)],
            )
            self._first, self._count = first, 0
            self._groups, self._footer = [], _FOOTER
        self._footer += footer
        start = self._sink.tell()
        self._writer.write_table(rows, row_group_size=len(rows))
        written = self._sink.tell() - start
        crc = google_crc32c.value(bytes(self._sink.getbuffer()[start:]))
        self._groups.append(Group(first, start, written, len(rows), crc))
        self._last, self._count = last, self._count + len(rows)
        return full

    def close(self) -> Written | None:
        """Return the file that is left, None if there is none."""
        if self._writer is None:
            return None
        self._writer.add_key_value_metadata({GROUPS: encode_groups(self._groups)})
        self._writer.close()
        self._writer = None
        return Written(self._sink.getvalue(), self._first, self._last, self._count)


def _checked(column: Column, value: Value) -> Value:
    """Return a value if the column can have it, null if not: a column is never a reason to fail."""
    if isinstance(value, bool):
        return value if column.kind is Kind.FLAG else None
    if isinstance(value, str):
        return value.encode(errors="replace").decode() if column.kind is Kind.TEXT else None
    if isinstance(value, float):
        return value if column.kind is Kind.NUMBER else None
    if value is None or column.kind in {Kind.FLAG, Kind.TEXT} or not -_MOST_INTEGER <= value < _MOST_INTEGER:
        return None
    return float(value) if column.kind is Kind.NUMBER else value


def read_rows(data: bytes, file: DataFile) -> Iterator[list[tuple[str, bytes]]]:
    """Return the documents in the bytes of a data file, which are as described, one row group at a time.

    Raises:
        BrokenLog: the documents are not what the manifest says.
    """
    where = f"the object {file.object}"
    last, count = None, 0
    for rows in _groups(data, where):
        for key, _ in rows:
            if last is None and key != file.first:
                raise BrokenLog(f"{where} begins with {key!r}, its manifest says {file.first!r}")
            if last is not None and key <= last:
                raise BrokenLog(f"{where} is not in the order of its keys: {key!r} comes after {last!r}")
            last = key
        count += len(rows)
        yield rows
    if (last, count) != (file.last, file.count):
        raise BrokenLog(f"{where} has {count} documents up to {last!r}: its manifest says something else")


def _groups(data: bytes, where: str) -> Iterator[list[tuple[str, bytes]]]:
    try:
        with pq.ParquetFile(pa.BufferReader(data), pre_buffer=False) as parquet:
            for group in range(parquet.num_row_groups):
                table = parquet.read_row_group(group, columns=["key", "body"], use_threads=False)
                yield list(zip(table["key"].to_pylist(), table["body"].to_pylist(), strict=True))
    except (pa.ArrowException, OSError, KeyError) as error:
        raise BrokenLog(f"{where} cannot be read: {error}") from error
