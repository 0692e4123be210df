"""An index file: Parquet, at most 65,536 rows, each column as dense as it gets.

Rows stand by root group, then id: so numbers count up by one, and a group's rows are alike. Times are kept from the
time in the row's id. docs/internals/run-index.md has the columns, and how others read them.
"""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from runabout.records import RunId
from runabout.runindex.columns import Columns, fields, schema
from runabout.runindex.errors import DamagedIndex, NewerIndex
from runabout.runindex.row import PHASES, RESULTS, id_of
from runabout.runindex.words import Hashes

MAX_ROWS = 65_536
ROOT_ELEMENTS = 3
"""Namespace, type and name: runs of one root group are numbered together."""

_FORMAT_KEY = b"runabout.runindex"
_FORMAT = b"1"
_NUMBERS = ("id", "counter", "start_after", "end_after")
_LEVEL = 9


@dataclass(frozen=True, slots=True)
class FileInfo:
    """What stands in the manifest about a file: enough to name it, to verify it, and to know what it covers."""

    first: RunId
    last: RunId
    rows: int
    size: int
    sha256: bytes

    @property
    def name(self) -> str:
        """Return the file's name: the same content has the same one."""
        return f"{self.first}-{self.rows}-{self.sha256[:4].hex()}.parquet"


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file to be stored."""

    info: FileInfo
    body: bytes


def write_file(columns: Columns) -> NewFile:
    """Return 1 to 65,536 rows as a file.

    Raises:
        ValueError: there are fewer or more.
    """
    if not 0 < len(columns) <= MAX_ROWS:
        raise ValueError(f"an index file has 1 to {MAX_ROWS} rows, not {len(columns)}")
    ids = columns.ids
    ordered = columns.taken(np.lexsort((ids, _roots(columns)))).with_sorted_words()
    sink = io.BytesIO()
    with pq.ParquetWriter(
        sink,
        ordered.table.schema,
        compression="zstd",
        compression_level=_LEVEL,
        use_dictionary=list(fields(columns.labels)),
        column_encoding=dict.fromkeys(_NUMBERS, "BYTE_STREAM_SPLIT"),
        data_page_version="1.0",
        store_schema=False,
    ) as writer:
        writer.write_table(ordered.table, row_group_size=MAX_ROWS)
        writer.add_key_value_metadata({_FORMAT_KEY.decode(): _FORMAT.decode()})
    body = sink.getvalue()
    first, last = id_of(int(ids.min())), id_of(int(ids.max()))
    return NewFile(FileInfo(first, last, len(columns), len(body), hashlib.sha256(body).digest()), body)


def read_file(info: FileInfo, body: bytes, labels: Sequence[str]) -> Columns:
    """Return the rows of a file. Labels it does not have are none; others it has are left out.

    Raises:
        DamagedIndex: these are not the bytes that were stored.
        NewerIndex: the file was written by a newer version.
    """
    if len(body) != info.size or hashlib.sha256(body).digest() != info.sha256:
        raise DamagedIndex(f"index file {info.name} is damaged: its {len(body)} bytes do not have the stored checksum")
    try:
        table = _read(info, body, labels)
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise DamagedIndex(f"index file {info.name} is no index of runs: {error}") from error
    columns = Columns(table, tuple(labels))
    ids = columns.ids
    if id_of(int(ids.min())) != info.first or id_of(int(ids.max())) != info.last:
        raise DamagedIndex(f"index file {info.name} has other runs than its name says")
    return columns


def _read(info: FileInfo, body: bytes, labels: Sequence[str]) -> pa.Table:
    source = pa.BufferReader(body)
    about = pq.read_metadata(source)
    metadata = about.metadata or {}
    if _FORMAT_KEY not in metadata:
        raise DamagedIndex(f"index file {info.name} is no index of runs: it does not say its format")
    if metadata[_FORMAT_KEY] != _FORMAT:
        found = metadata[_FORMAT_KEY].decode(errors="replace")
        raise NewerIndex(f"index file {info.name} has the format {found}; this version reads {_FORMAT.decode()}")
    if not 0 < about.num_rows == info.rows <= MAX_ROWS:
        raise DamagedIndex(f"index file {info.name} has {about.num_rows} rows, not {info.rows}")
    types = schema(labels)
    there = set(about.schema.names)
    texts = [name for name in fields(labels) if name in there]
    file = pq.ParquetFile(source, metadata=about, read_dictionary=texts, pre_buffer=False)
    table = file.read(columns=[name for name in types.names if name in there], use_threads=False)
    for name in types.names:
        if name not in there and name.startswith("label."):
            table = table.append_column(name, pa.nulls(table.num_rows, types.field(name).type))
    table = table.select(types.names).cast(types)
    for name in types.names:
        if table.column(name).null_count and not name.startswith(("label.", "start", "end")):
            raise DamagedIndex(f"index file {info.name} has rows without {name}")
    _check_words(info, table)
    return table


def _check_words(info: FileInfo, table: pa.Table) -> None:
    for name, known in (("phase", PHASES), ("result", RESULTS)):
        for chunk in table.column(name).chunks:
            for word in chunk.dictionary.to_pylist():
                if word not in known:
                    raise NewerIndex(
                        f"index file {info.name} has the {name} {word!r}, which this version does not know"
                    )


def _roots(columns: Columns) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """Return for each row a number that rises with its root group."""
    group = columns.text("group", path=True)
    hashes = Hashes(group.words).roots(ROOT_ELEMENTS)
    begins = np.concatenate(([False], hashes[1:] != hashes[:-1]))
    return np.cumsum(begins).astype(np.uint64)[group.codes]
