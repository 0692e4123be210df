"""The format of index files, byte by byte."""

import contextlib
import hashlib
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.synthetic import History
from runabout.records import Phase, Result, RunId
from runabout.runindex import (
    DamagedIndex,
    FileInfo,
    IndexRow,
    NewerIndex,
    NewFile,
    RunIndexError,
    load,
)
from runabout.runindex.columns import columns_of
from runabout.runindex.files import read_file, write_file

GOLDEN = Path(__file__).parent / "golden" / "1il7g1c000001-4-dc2c9bd1.parquet"
ROWS = [
    IndexRow(
        id=RunId("1il7g1c000001"),
        group="/ci/project/web/branch/main",
        namespace="ci",
        phase=Phase.FINISHED,
        result=Result.SUCCESS,
        counter=117,
        start=1_762_000_000_250,
        end=1_762_000_092_000,
        labels={"team": "shop"},
    ),
    IndexRow(
        id=RunId("1il7g1c000002"),
        group="/ci/project/web/branch/é%2Fx",
        namespace="ci",
        phase=Phase.CANCELLED,
        result=Result.UNKNOWN,
        counter=118,
        end=1_762_000_000_900,
    ),
    IndexRow(
        id=RunId("1il7g1c000003"),
        group="/ci/project/a-b",
        namespace="ci",
        phase=Phase.RUNNING,
        result=Result.FAILED,
        counter=4_294_967_295,
        start=1_000,
        labels={"team": ""},
    ),
    IndexRow(
        id=RunId("fvvvvvvvvvvvv"),
        group="/dev/run/x",
        namespace="dev",
        phase=Phase.SETUPERROR,
        result=Result.STOPPED,
        counter=0,
    ),
]


def info_of(body: bytes, like: FileInfo) -> FileInfo:
    return replace(like, size=len(body), sha256=hashlib.sha256(body).digest())


def rows_of(file: NewFile, labels: tuple[str, ...], scratch: Path) -> list[IndexRow]:
    segment = load(file.info, file.body, labels=labels, scratch=scratch)
    return [segment.row(place) for place in range(len(segment))]


def changed(file: NewFile, change: Callable[[pa.Table], pa.Table], form: str = "1") -> NewFile:
    """Return a file that somebody else wrote, with a fitting checksum."""
    table = change(pq.read_table(pa.BufferReader(file.body), use_threads=False))
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, table.schema) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({"runabout.runindex": form})
    return NewFile(replace(info_of(sink.getvalue(), file.info), rows=table.num_rows), sink.getvalue())


def test_a_file_of_the_first_format_is_read(tmp_path: Path) -> None:
    body = GOLDEN.read_bytes()
    info = FileInfo(RunId("1il7g1c000001"), RunId("fvvvvvvvvvvvv"), 4, len(body), hashlib.sha256(body).digest())
    assert info.name == GOLDEN.name
    assert rows_of(NewFile(info, body), ("team",), tmp_path) == ROWS


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    assert rows_of(write_file(columns_of(ROWS, ("team",))), ("team",), tmp_path) == ROWS


def test_the_same_rows_make_the_same_file() -> None:
    assert write_file(columns_of(ROWS, ("team",))) == write_file(columns_of(ROWS[::-1], ("team",)))


def test_any_parquet_reader_sees_these_columns() -> None:
    file = pq.ParquetFile(pa.BufferReader(write_file(columns_of(ROWS, ("team",))).body))
    assert [(field.name, str(field.type)) for field in file.schema_arrow] == [
        ("id", "uint64"),
        ("group", "string"),
        ("namespace", "string"),
        ("phase", "string"),
        ("result", "string"),
        ("counter", "uint32"),
        ("start_after", "int64"),
        ("end_after", "int64"),
        ("label.team", "string"),
    ]
    table = file.read(use_threads=False).to_pydict()
    assert table["group"] == [ROWS[place].group for place in (2, 0, 1, 3)]
    assert table["phase"] == ["running", "finished", "cancelled", "setuperror"]
    created = 1_577_836_800_000 + (table["id"][1] >> 23)
    assert table["start_after"][1] + created == ROWS[0].start
    assert table["end_after"][1] + created == ROWS[0].end
    assert table["label.team"] == ["", "shop", None, None]


def test_numbers_are_split_by_byte_and_words_are_numbered() -> None:
    metadata = pq.ParquetFile(pa.BufferReader(write_file(columns_of(ROWS, ())).body)).metadata
    assert metadata.num_row_groups == 1
    group = metadata.row_group(0)
    for place in range(group.num_columns):
        column = group.column(place)
        assert column.compression == "ZSTD"
        number = column.path_in_schema in {"id", "counter", "start_after", "end_after"}
        assert ("BYTE_STREAM_SPLIT" in column.encodings) == number
        assert ("RLE_DICTIONARY" in column.encodings) == (not number)


def test_a_row_of_a_large_history_takes_eight_bytes() -> None:
    # the third file: by then most groups are not new
    *_, file = History().files(3 * 65_536)
    assert file.info.rows == 65_536
    assert file.info.size / file.info.rows <= 8.0


def test_every_flipped_byte_is_detected() -> None:
    file = write_file(columns_of(ROWS, ("team",)))
    for place in range(len(file.body)):
        body = bytearray(file.body)
        body[place] ^= 1 << place % 8
        with pytest.raises(DamagedIndex, match=file.info.name):
            read_file(file.info, bytes(body), ("team",))


def test_every_truncation_is_detected() -> None:
    file = write_file(columns_of(ROWS, ("team",)))
    for size in range(len(file.body)):
        with pytest.raises(DamagedIndex, match=file.info.name):
            read_file(file.info, file.body[:size], ("team",))


@given(st.binary(max_size=300))
def test_bytes_that_are_no_parquet_are_refused_even_with_their_checksum(body: bytes) -> None:
    info = info_of(body, write_file(columns_of(ROWS, ())).info)
    with pytest.raises(DamagedIndex):
        read_file(info, body, ())


@given(st.integers(0, 1_000_000), st.integers(1, 255))
@settings(max_examples=200, deadline=None)
def test_a_damaged_file_with_a_fitting_checksum_is_read_or_refused_in_words(place: int, change: int) -> None:
    file = write_file(columns_of(ROWS, ("team",)))
    body = bytearray(file.body)
    body[place % len(body)] ^= change
    with contextlib.suppress(RunIndexError):
        assert len(read_file(info_of(bytes(body), file.info), bytes(body), ("team",))) == len(ROWS)


def test_a_newer_format_is_refused_as_newer() -> None:
    file = changed(write_file(columns_of(ROWS, ())), lambda table: table, form="2")
    with pytest.raises(NewerIndex, match="format 2; this version reads 1"):
        read_file(file.info, file.body, ())


def test_a_word_of_a_newer_version_is_refused_as_newer() -> None:
    def paused(table: pa.Table) -> pa.Table:
        return table.set_column(3, "phase", pa.array(["paused"] * table.num_rows))

    file = changed(write_file(columns_of(ROWS, ())), paused)
    with pytest.raises(NewerIndex, match="paused"):
        read_file(file.info, file.body, ())


def test_parquet_of_something_else_is_refused() -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table({"id": [1]}), sink)
    info = replace(info_of(sink.getvalue(), write_file(columns_of(ROWS, ())).info), rows=1)
    with pytest.raises(DamagedIndex, match="does not say its format"):
        read_file(info, sink.getvalue(), ())


@pytest.mark.parametrize("column", ["id", "group", "phase", "counter"])
def test_a_missing_column_is_refused(column: str) -> None:
    file = changed(write_file(columns_of(ROWS, ())), lambda table: table.drop_columns([column]))
    with pytest.raises(DamagedIndex):
        read_file(file.info, file.body, ())


@pytest.mark.parametrize("column", ["namespace", "result", "counter"])
def test_a_row_without_a_value_is_refused(column: str) -> None:
    def nothing(table: pa.Table) -> pa.Table:
        place = table.column_names.index(column)
        return table.set_column(place, column, pa.nulls(table.num_rows, table.schema.field(column).type))

    file = changed(write_file(columns_of(ROWS, ())), nothing)
    with pytest.raises(DamagedIndex, match=f"without {column}"):
        read_file(file.info, file.body, ())


def test_another_number_of_rows_is_refused() -> None:
    file = write_file(columns_of(ROWS, ()))
    with pytest.raises(DamagedIndex, match="4 rows, not 5"):
        read_file(replace(file.info, rows=5), file.body, ())


def test_other_runs_than_the_name_says_are_refused() -> None:
    file = write_file(columns_of(ROWS, ()))
    with pytest.raises(DamagedIndex, match="other runs"):
        read_file(replace(file.info, last=RunId("1il7g1c000003")), file.body, ())


def test_one_run_twice_is_refused(tmp_path: Path) -> None:
    def twice(table: pa.Table) -> pa.Table:
        return pa.concat_tables([table, table])

    file = changed(write_file(columns_of(ROWS, ())), twice)
    with pytest.raises(DamagedIndex, match="one run twice"):
        load(file.info, file.body, labels=(), scratch=tmp_path)


def test_a_label_that_is_not_in_the_file_is_none_and_one_that_is_no_more_indexed_is_left_out(tmp_path: Path) -> None:
    file = write_file(columns_of(ROWS, ("team",)))
    rows = rows_of(file, ("tier",), tmp_path)
    assert [dict(row.labels) for row in rows] == [{}] * 4


def test_a_file_has_at_most_65536_rows_and_at_least_one() -> None:
    with pytest.raises(ValueError, match="1 to 65536 rows, not 0"):
        write_file(columns_of((), ()))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"id": "short"}, "no run id"),
        ({"group": "ci/project/web"}, "no path"),
        ({"group": "/ci\0"}, "no path"),
        ({"counter": -1}, "between 0 and"),
        ({"counter": 1 << 32}, "between 0 and"),
        ({"start": -1}, "no time"),
        ({"end": 1 << 60}, "no time"),
    ],
)
def test_a_row_that_no_file_can_hold_is_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        columns_of([replace(ROWS[0], **change)], ())  # type: ignore[arg-type]  # wrong on purpose
