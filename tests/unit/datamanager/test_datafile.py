"""Data files: documents in the order of their keys, columns that a stranger can read, bounded sizes."""

import io
import itertools
import random
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runabout.datamanager import BrokenLog, Column, Kind, Table
from runabout.datamanager.datafile import MAX_FILE, ROW_GROUP, DataWriter, Written, read_rows
from runabout.datamanager.manifest import DataFile
from runabout.datamanager.tables import PLAIN, Value

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)


def written(documents: Mapping[str, bytes], table: Table = PLAIN, **sizes: int) -> list[Written]:
    writer = DataWriter(table, **sizes)
    found = [writer.add(key, documents[key]) for key in sorted(documents)]
    return [each for each in found if each is not None] + writer.close()


def rows(file: Written) -> dict[str, bytes]:
    return dict(row for group in read_rows(file.data, file.described("o", "doc")) for row in group)


@given(st.dictionaries(TEXTS, st.binary(max_size=20)), st.sampled_from([1, 50, ROW_GROUP]))
def test_documents_come_back_whatever_they_are(documents: dict[str, bytes], group: int) -> None:
    files = written(documents, group=group)
    assert {key: body for file in files for key, body in rows(file).items()} == documents
    assert len(files) <= 1


def test_files_and_row_groups_are_bounded_and_what_they_hold_is_apart_and_in_order() -> None:
    noise = random.Random(1)
    documents = {f"{number:04}": noise.randbytes(300_000) for number in range(130)} | {"0050": noise.randbytes(900_000)}
    files = written(documents)
    assert len(files) == 3
    assert {key: body for file in files for key, body in rows(file).items()} == documents
    assert [file.last < after.first for file, after in itertools.pairwise(files)] == [True, True]
    for file in files:
        assert len(file.data) <= MAX_FILE
        with pq.ParquetFile(io.BytesIO(file.data)) as parquet:
            sizes = [parquet.metadata.row_group(at).total_byte_size for at in range(parquet.num_row_groups)]
        assert max(sizes) < ROW_GROUP + 1_000_000
    assert len(files[0].data) > MAX_FILE * 0.8


def test_many_tiny_documents_are_row_groups_of_a_bounded_number() -> None:
    (file,) = written({f"{number:06}": b"" for number in range(40_000)})
    with pq.ParquetFile(io.BytesIO(file.data)) as parquet:
        assert max(parquet.metadata.row_group(at).num_rows for at in range(parquet.num_row_groups)) <= 16_384


def _values(key: str, body: bytes) -> Mapping[str, Value]:
    if body == b"unreadable":
        raise ValueError("no document")
    return {"name": key.upper(), "size": len(body), "share": 0.5, "done": bool(body), "at": 1_600_000_000_123}


TABLE = Table(
    (
        Column("name", Kind.TEXT),
        Column("size", Kind.INTEGER),
        Column("share", Kind.NUMBER),
        Column("done", Kind.FLAG),
        Column("at", Kind.TIME),
    ),
    _values,
)


def test_columns_have_types_and_what_cannot_be_read_is_null() -> None:
    (file,) = written({"a": b"xyz", "b": b"unreadable"}, TABLE)
    with pq.ParquetFile(io.BytesIO(file.data)) as parquet:
        table = parquet.read(use_threads=False)
    assert [f"{field.name} {field.type}" for field in table.schema] == [
        "key string",
        "name string",
        "size int64",
        "share double",
        "done bool",
        "at timestamp[ms, tz=UTC]",
        "body binary",
    ]
    at = datetime(2020, 9, 13, 12, 26, 40, 123_000, tzinfo=UTC)
    assert table.to_pylist() == [
        {"key": "a", "name": "A", "size": 3, "share": 0.5, "done": True, "at": at, "body": b"xyz"},
        {"key": "b", "name": None, "size": None, "share": None, "done": None, "at": None, "body": b"unreadable"},
    ]


@given(
    st.fixed_dictionaries(
        {},
        optional={
            name: st.one_of(st.none(), st.text(), st.integers(-(2**70), 2**70), st.floats(), st.booleans())
            for name in ("name", "size", "share", "done", "at", "unknown")
        },
    )
)
def test_no_value_of_a_column_is_a_reason_to_fail(values: dict[str, Value]) -> None:
    (file,) = written({"a": b"x"}, Table(TABLE.columns, lambda _key, _body: values))
    assert rows(file) == {"a": b"x"}


@pytest.mark.parametrize("names", [("key",), ("body",), ("",), ("a", "a")])
def test_columns_need_names_of_their_own(names: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="columns need different names"):
        Table(tuple(Column(name, Kind.TEXT) for name in names), lambda _key, _body: {})


@pytest.mark.parametrize(
    "wrong", [{"first": "0"}, {"last": "z"}, {"count": 3}], ids=["first key", "last key", "number of documents"]
)
def test_a_file_that_is_not_what_its_manifest_says_is_an_error(wrong: dict[str, str]) -> None:
    (file,) = written({"a": b"1", "b": b"2"})
    with pytest.raises(BrokenLog, match="the object o "):
        list(read_rows(file.data, replace(file.described("o", "doc"), **wrong)))  # type: ignore[arg-type]  # by name


def test_documents_out_of_order_are_an_error() -> None:
    writer = DataWriter(PLAIN)
    for key in ("b", "a", "a"):
        writer.add(key, b"")
    (file,) = writer.close()
    with pytest.raises(BrokenLog, match="order of its keys"):
        list(read_rows(file.data, file.described("o", "doc")))


@given(st.binary(max_size=200))
def test_any_bytes_are_an_error_of_ours(data: bytes) -> None:
    (file,) = written({"a": b"1"})
    for whole in (data, b"PAR1" + data + b"PAR1", file.data[:-8] + data + file.data[-8:] if data else data):
        described = DataFile("o", "doc", len(whole), b"", "a", "a", 1)
        with pytest.raises(BrokenLog):
            list(read_rows(whole, described))


def test_every_flipped_byte_and_every_truncation_is_seen() -> None:
    (file,) = written({"a": b"1", "b": b"2"}, TABLE)
    described = file.described("the object", "doc")
    for at in range(len(file.data)):
        with pytest.raises(BrokenLog, match="the object"):
            described.check(file.data[:at] + bytes([file.data[at] ^ 1]) + file.data[at + 1 :])
        with pytest.raises(BrokenLog, match="the object"):
            described.check(file.data[:at])
