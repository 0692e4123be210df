"""Row groups of data files: how one of them is found, read and checked without the rest of its file.

A file says of each of its row groups, in the metadata of its footer (`runabout.groups`): the first key, where its bytes
are, how many documents they have, and their CRC32C. The footer's SHA-256 stands in the manifest. So nothing that is
read is taken for true unchecked. A file of an older version has no such list: it is made of the whole file, once that
is verified.
"""

import hashlib
import io
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import google_crc32c
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from runabout.datamanager.errors import BrokenLog
from runabout.datamanager.manifest import DataFile, Footer
from runabout.ost import ByteRange

GROUPS = b"runabout.groups"
"""The key of the list in a file's metadata."""
COLUMNS = ["key", "body"]
_TAIL = 8
"""Bytes at the end of a file: the size of the metadata before them, and a magic."""
_PARSED = 8
"""A parsed footer takes about so many times its bytes: 0.85 MiB for 103 KiB, which has 84 row groups of 12 columns."""


@dataclass(frozen=True, slots=True)
class Group:
    """One row group: its first key, its place in the file, its documents, and the CRC32C of its bytes."""

    first: str
    start: int
    size: int
    rows: int
    crc: int

    @property
    def part(self) -> ByteRange:
        """Where its bytes are."""
        return ByteRange(self.start, self.size)


@dataclass(frozen=True, slots=True)
class Contents:
    """What a verified footer says: the row groups, in the order of their keys."""

    object: str
    groups: tuple[Group, ...]
    firsts: tuple[str, ...]
    metadata: Any
    size: int
    """Bytes of memory, about."""

    def at(self, key: str) -> int:
        """Return the number of the group in which a key is, if it is in the file; -1 if it comes before all."""
        return bisect_right(self.firsts, key) - 1


@dataclass(frozen=True, slots=True)
class Rows:
    """The documents of one row group, sorted by key; kept as columns, so that a point read makes one object."""

    keys: Any
    bodies: Any
    size: int
    """Bytes of memory."""

    def __len__(self) -> int:
        return len(self.keys)

    def place(self, key: str) -> int:
        """Return how many keys come before a key."""
        low, high = 0, len(self.keys)
        while low < high:
            middle = (low + high) // 2
            if self.key(middle) < key:
                low = middle + 1
            else:
                high = middle
        return low

    def get(self, key: str) -> bytes | None:
        """Return a document, None if there is none with this key."""
        at = self.place(key)
        if at == len(self.keys) or self.key(at) != key:
            return None
        found: bytes = self.bodies[at].as_py()
        return found

    def key(self, at: int) -> str:
        """Return the key in a place."""
        found: str = self.keys[at].as_py()
        return found

    def between(self, low: int, high: int, *, back: bool = False) -> Iterator[tuple[str, bytes]]:
        """Yield the documents in some places, in order; the last ones first if `back`."""
        for at in range(high - 1, low - 1, -1) if back else range(low, high):
            yield self.keys[at].as_py(), self.bodies[at].as_py()


def encode_groups(groups: list[Group]) -> bytes:
    """Return the list as it stands in a file's metadata."""
    return orjson.dumps([[each.first, each.start, each.size, each.rows, each.crc] for each in groups])


def footer_in(data: bytes) -> bytes:
    """Return the footer of a whole data file.

    Raises:
        BrokenLog: it has none.
    """
    size = int.from_bytes(data[-_TAIL:-4], "little") + _TAIL
    if len(data) < size or not data.endswith(b"PAR1"):
        raise BrokenLog("these bytes do not end as a data file does")
    return data[-size:]


def decode_footer(data: bytes, file: DataFile) -> Contents:
    """Return what the footer of a file says, whose bytes have been checked.

    Raises:
        BrokenLog: it cannot be read.
    """
    where = f"the object {file.object}"
    try:
        metadata = pq.read_metadata(pa.BufferReader(data))
        groups = tuple(Group(*each) for each in orjson.loads((metadata.metadata or {})[GROUPS]))
    except (pa.ArrowException, OSError, KeyError, TypeError, orjson.JSONDecodeError) as error:
        raise BrokenLog(f"the footer of {where} cannot be read: {error}") from error
    rows = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    if not groups or [each.rows for each in groups] != rows or sum(rows) != file.count or groups[0].first != file.first:
        raise BrokenLog(f"the footer of {where} says other things than its manifest")
    return Contents(file.object, groups, tuple(each.first for each in groups), metadata, _PARSED * len(data))


def contents_of(data: bytes, file: DataFile) -> Contents:
    """Return what the footer of a file of an older version should say; `data` is all of it, and has been checked.

    Raises:
        BrokenLog: it cannot be read.
    """
    where = f"the object {file.object}"
    groups: list[Group] = []
    try:
        footer = footer_in(data)
        with pq.ParquetFile(pa.BufferReader(data), pre_buffer=False) as parquet:
            metadata = parquet.metadata
            for number in range(parquet.num_row_groups):
                keys = parquet.read_row_group(number, columns=["key"], use_threads=False)["key"]
                columns = metadata.row_group(number)
                start, size = _place([columns.column(at) for at in range(columns.num_columns)])
                crc = google_crc32c.value(data[start : start + size])
                groups.append(Group(keys[0].as_py(), start, size, len(keys), crc))
    except (pa.ArrowException, OSError, KeyError, IndexError) as error:
        raise BrokenLog(f"{where} cannot be read: {error}") from error
    return Contents(file.object, tuple(groups), tuple(each.first for each in groups), metadata, _PARSED * len(footer))


def _place(columns: list[Any]) -> tuple[int, int]:
    """Return where the bytes of a row group begin, and how many there are."""
    begins, ends = [], []
    for column in columns:
        begin = column.dictionary_page_offset if column.has_dictionary_page else column.data_page_offset
        begins.append(begin)
        ends.append(begin + column.total_compressed_size)
    return min(begins), max(ends) - min(begins)


def decode_group(contents: Contents, number: int, data: bytes) -> Rows:
    """Return the documents of a row group, from its bytes.

    Raises:
        BrokenLog: these are not its bytes.
    """
    group, where = contents.groups[number], f"row group {number} of the object {contents.object}"
    if len(data) != group.size or google_crc32c.value(data) != group.crc:
        raise BrokenLog(f"{where} is damaged: its checksum does not fit its bytes")
    try:
        with pq.ParquetFile(
            pa.PythonFile(_Part(data, group.start), mode="r"), metadata=contents.metadata, pre_buffer=False
        ) as parquet:
            table = parquet.read_row_group(number, columns=COLUMNS, use_threads=False).combine_chunks()
    except (pa.ArrowException, OSError, KeyError) as error:
        raise BrokenLog(f"{where} cannot be read: {error}") from error
    if table.num_rows != group.rows or table["key"][0].as_py() != group.first:
        raise BrokenLog(f"{where} has other documents than its footer says")
    return Rows(table["key"].chunk(0), table["body"].chunk(0), table.nbytes)


class _Part(io.RawIOBase):
    """A file of which only a part can be read."""

    def __init__(self, data: bytes, start: int) -> None:
        super().__init__()
        self._data = data
        self._start = start
        self._at = 0

    def read(self, size: int = -1) -> bytes:
        """Return bytes, fewer at the end of the part, none outside."""
        begin = self._at - self._start
        if begin < 0:
            return b""
        found = self._data[begin:] if size < 0 else self._data[begin : begin + size]
        self._at += len(found)
        return found

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place of the whole file."""
        end = self._start + len(self._data)
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: end}[whence]
        return self._at

    def tell(self) -> int:
        """Return where we are."""
        return self._at

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True


def described_footer(data: bytes) -> Footer | None:
    """Return what a manifest says of the end of a file; None if its row groups cannot be checked alone.

    Raises:
        BrokenLog: it has no footer.
    """
    footer = footer_in(data)
    try:
        metadata = pq.read_metadata(pa.BufferReader(footer))
    except (pa.ArrowException, OSError) as error:
        raise BrokenLog(f"the footer of a data file cannot be read: {error}") from error
    if GROUPS not in (metadata.metadata or {}):
        return None
    return Footer(len(footer), hashlib.sha256(footer).digest())
