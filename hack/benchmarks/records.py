"""Records of synthetic runs, made as columns: the rows of data files, without an object for each.

Each body is what `encode` makes of a run; `tests/unit/hack/test_records.py` compares them.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from runabout.records.ids import EPOCH_MS
from runabout.runindex.columns import TIME_SHIFT, Columns

_ID_DIGITS = np.frombuffer(b"0123456789abcdefghijklmnopqrstuv", np.uint8)
_ID_LENGTH, _ID_BITS = 13, 5
_UID_BYTES = 16
_PROJECT = 3
"""Which element of a group names what a run is of."""
_NULL = "unknown"
"""The result that a record leaves out."""
Strings = Any
"""A pyarrow array of strings; it has no types."""


def record_rows(columns: Columns, schema: Any, source: np.random.Generator) -> Any:  # noqa: ANN401  # pyarrow has no types
    """Return runs, by id, as rows with the columns of the runs' data files (`schema`); uids are drawn from `source`."""
    ids = columns.ids
    created = pa.array((ids >> TIME_SHIFT).astype(np.int64) + EPOCH_MS)
    started, ended = pa.array(columns.times("start")), pa.array(columns.times("end"))
    keys, counters = _id_texts(ids), pa.array(columns.counters)
    number = counters.cast(pa.string())
    names = _joined(_of_words(columns, "group", lambda word: f"{word.split('/')[_PROJECT]}-"), number)
    bodies = _joined(
        '{"id":"',
        keys,
        _of_words(columns, "namespace", lambda word: f'","namespace":"{word}","name":"'),
        names,
        '","uid":"',
        _uids(source, len(columns)),
        _of_words(columns, "group", lambda word: f'","group":"{word}","counter":'),
        number,
        _of_words(columns, "phase", lambda word: f',"phase":"{word}"'),
        _of_words(columns, "result", lambda word: "" if word == _NULL else f',"result":"{word}"'),
        ',"created":',
        created.cast(pa.string()),
        ',"started":',
        started.cast(pa.string()),
        ',"ended":',
        ended.cast(pa.string()),
        "}",
    )
    values = {name: columns.table.column(name).cast(pa.string()) for name in ("namespace", "group", "phase", "result")}
    values |= {"key": keys, "name": names, "counter": counters, "body": bodies}
    values |= {"created": created, "started": started, "ended": ended}
    values["reason"] = pa.nulls(len(columns), pa.string())
    arrays = [
        values[each.name].cast(pa.int64()).cast(each.type)
        if pa.types.is_timestamp(each.type)
        else values[each.name].cast(each.type)
        for each in schema
    ]
    return pa.table(arrays, schema=schema)


def _joined(*parts: Strings | str) -> Strings:
    return pc.binary_join_element_wise(*parts, "")


def _of_words(columns: Columns, name: str, text: Callable[[str], str]) -> Strings:
    """Return what a function makes of each row's string; it is called once for each distinct one."""
    column = columns.table.column(name).combine_chunks()
    column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
    return pa.array([text(word) for word in column.dictionary.to_pylist()]).take(column.indices)


def _id_texts(ids: npt.NDArray[np.uint64]) -> Strings:
    shifts = np.arange((_ID_LENGTH - 1) * _ID_BITS, -1, -_ID_BITS).astype(np.uint64)
    return _texts(_ID_DIGITS[(ids[:, None] >> shifts) & np.uint64(len(_ID_DIGITS) - 1)])


def _uids(source: np.random.Generator, count: int) -> Strings:
    noise = np.frombuffer(source.bytes(count * _UID_BYTES), np.uint8).reshape(count, _UID_BYTES)
    return _texts(_ID_DIGITS[np.concatenate((noise >> 4, noise & 15), axis=1)])


def _texts(letters: npt.NDArray[np.uint8]) -> Strings:
    """Return rows of letters as strings, all of one length."""
    count, length = letters.shape
    ends = np.arange(count + 1, dtype=np.int32) * np.int32(length)
    data = np.ascontiguousarray(letters)
    return pa.StringArray.from_buffers(count, pa.py_buffer(ends), pa.py_buffer(data))
