"""Rows of one index file as columns in memory: at most 65,536, so the only place where archived rows are not mapped."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from runabout.runindex.errors import DamagedIndex
from runabout.runindex.row import IndexRow, checked, number_of
from runabout.runindex.words import Words

EPOCH_MS = 1_577_836_800_000
TIME_SHIFT = np.uint64(23)
"""An id's time stands above its 23 bits of store and counter."""

MAX_CODES = 1 << 16
LABEL = "label."
_TEXT = pa.dictionary(pa.int32(), pa.string())


def fields(labels: Sequence[str]) -> tuple[str, ...]:
    """Return the columns of strings: those that every file has, then one for each indexed label."""
    return ("group", "namespace", "phase", "result", *(LABEL + label for label in labels))


def schema(labels: Sequence[str]) -> Any:  # noqa: ANN401  # pyarrow has no types; only files.py looks inside
    """Return the columns of a file and their types."""
    plain = [("id", pa.uint64()), ("counter", pa.uint32()), ("start_after", pa.int64()), ("end_after", pa.int64())]
    kinds = dict(plain) | dict.fromkeys(fields(labels), _TEXT)
    order = ["id", "group", "namespace", "phase", "result", "counter", "start_after", "end_after"]
    return pa.schema([pa.field(name, kinds.pop(name)) for name in order] + list(kinds.items()))


@dataclass(frozen=True, slots=True)
class Text:
    """A column of strings: `codes` say which of `words` each row has; the code after the last one means none."""

    words: Words
    codes: npt.NDArray[np.uint16]


class Columns:
    """Rows in no particular order, and the labels they are indexed by. Nothing changes them."""

    def __init__(self, table: Any, labels: tuple[str, ...]) -> None:  # noqa: ANN401  # as above
        self.table = table
        self.labels = labels

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def ids(self) -> npt.NDArray[np.uint64]:
        """Return the rows' ids."""
        return np.asarray(self.table.column("id").to_numpy(), dtype=np.uint64)

    @property
    def counters(self) -> npt.NDArray[np.uint32]:
        """Return the runs' numbers in their root groups."""
        return np.asarray(self.table.column("counter").to_numpy(), dtype=np.uint32)

    def times(self, name: str) -> npt.NDArray[np.int64]:
        """Return `start` or `end` in milliseconds since 1970; -1 for none."""
        column = self.table.column(f"{name}_after").combine_chunks()
        created = (self.ids >> TIME_SHIFT).astype(np.int64) + EPOCH_MS
        after = np.asarray(pc.fill_null(column, 0).to_numpy(zero_copy_only=False), dtype=np.int64)
        if not column.null_count:
            return created + after
        there = np.asarray(column.is_valid().to_numpy(zero_copy_only=False), dtype=np.bool_)
        return np.where(there, created + after, -1)

    def text(self, name: str, *, path: bool = False) -> Text:
        """Return a column of strings; with `path` its words are sorted as groups are.

        Raises:
            DamagedIndex: two of the words are the same.
        """
        column = self.table.column(name)
        if column.num_chunks != 1:
            column = column.unify_dictionaries().combine_chunks()
        column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
        indices = column.indices.fill_null(-1) if column.null_count else column.indices
        codes = np.asarray(indices.to_numpy(zero_copy_only=False), dtype=np.int32)
        words = column.dictionary
        used = np.zeros(len(words) + 1, np.bool_)
        used[codes] = True
        used = used[:-1]
        places = np.flatnonzero(used)
        if path:
            words = pc.replace_substring(words, "/", "\0")
        if len(places) < len(words):
            words = words.take(pa.array(places))
        if not _ascending(words):
            order = np.asarray(pc.sort_indices(words).to_numpy(), dtype=np.int64)
            words = words.take(pa.array(order))
            places = places[order]
            if not _ascending(words):
                raise DamagedIndex(f"the column {name} names one string twice")
        rank = np.full(len(used) + 1, len(places) & (MAX_CODES - 1), np.uint16)
        rank[places] = np.arange(len(places), dtype=np.uint16)
        return Text(_words(words), rank[codes])

    def with_sorted_words(self) -> "Columns":
        """Return the same rows; the words of each column are numbered in their order, which spares readers a sort."""
        table = self.table
        for name in fields(self.labels):
            text = self.text(name, path=name == "group")
            words = [word.decode().replace("\0", "/") for word in text.words]
            codes = pa.array(text.codes.astype(np.int32), mask=text.codes == len(words))
            column = pa.DictionaryArray.from_arrays(codes, pa.array(words, pa.string()))
            table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), column)
        return Columns(table, self.labels)

    def without(self, ids: npt.NDArray[np.uint64]) -> "Columns":
        """Return the rows whose ids are not among `ids`."""
        stay = np.isin(self.ids, ids, invert=True)
        return self if stay.all() else Columns(self.table.filter(pa.array(stay)), self.labels)

    def taken(self, places: npt.NDArray[np.int64]) -> "Columns":
        """Return the rows at these places, in this order."""
        table = self.table.unify_dictionaries().combine_chunks()
        return Columns(table.take(pa.array(places)), self.labels)

    def joined(self, other: "Columns") -> "Columns":
        """Return the rows of both by id."""
        both = Columns(pa.concat_tables([self.table, other.table]), self.labels)
        return both.taken(np.argsort(both.ids, kind="stable"))


def columns_of(rows: Iterable[IndexRow], labels: tuple[str, ...]) -> Columns:
    """Return rows by id as columns; of their labels only those that are indexed.

    Raises:
        ValueError: no index can hold one of these rows.
    """
    ordered = sorted(map(checked, rows), key=lambda row: row.id)
    ids = [number_of(row.id) for row in ordered]
    created = [(number >> int(TIME_SHIFT)) + EPOCH_MS for number in ids]
    values: dict[str, list[Any]] = {
        "id": [*ids],
        "group": [row.group for row in ordered],
        "namespace": [row.namespace for row in ordered],
        "phase": [row.phase.value for row in ordered],
        "result": [row.result.value for row in ordered],
        "counter": [row.counter for row in ordered],
        "start_after": [
            None if row.start is None else row.start - at for row, at in zip(ordered, created, strict=True)
        ],
        "end_after": [None if row.end is None else row.end - at for row, at in zip(ordered, created, strict=True)],
    }
    values |= {LABEL + label: [row.labels.get(label) for row in ordered] for label in labels}
    types = schema(labels)
    arrays = []
    for each in types:
        text = each.type == _TEXT
        array = pa.array(values[each.name], pa.string() if text else each.type)
        arrays.append(array.dictionary_encode().cast(_TEXT) if text else array)
    return Columns(pa.table(arrays, schema=types), labels)


def _ascending(words: Any) -> bool:  # noqa: ANN401  # as above
    return len(words) <= 1 or bool(pc.all(pc.less(words[:-1], words[1:])).as_py())


def _words(array: Any) -> Words:  # noqa: ANN401  # as above
    if not len(array):
        return Words(np.zeros(1, np.uint32), np.zeros(0, np.uint8))
    _, offsets, data = array.buffers()
    ends = np.frombuffer(offsets, np.int32)[array.offset : array.offset + len(array) + 1]
    content = np.zeros(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)[ends[0] : ends[-1]]
    return Words((ends - ends[0]).astype(np.uint32), content.copy())
