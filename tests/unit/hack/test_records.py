"""The synthetic records of the benchmarks are those that an operator would have written of the same runs."""

import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from benchmarks.records import record_rows
from benchmarks.synthetic import History
from runabout.control.tables import TABLES
from runabout.datamanager.datafile import DataWriter, GroupWriter
from runabout.records import Run
from runabout.records.encoding import decode, encode
from runabout.runindex import load, row_of
from runabout.runindex.files import write_file


def test_records_are_those_of_the_index_rows_and_are_written_as_any_others(tmp_path: Path) -> None:
    (columns,) = History().columns(2_000)
    writer = GroupWriter(TABLES["run"])
    rows = record_rows(columns, writer.schema, np.random.default_rng(1))
    assert writer.add(rows, 1) is None
    made = writer.close()
    usual = DataWriter(TABLES["run"])
    file = write_file(columns)
    segment = load(file.info, file.body, labels=(), scratch=tmp_path)
    for at, (key, body) in enumerate(zip(rows["key"].to_pylist(), rows["body"].to_pylist(), strict=True)):
        run = decode(Run, body)
        assert encode(run) == body
        assert row_of(run) == segment.row(at)
        assert run.id == key
        usual.add(key, body)
    (expected,) = usual.close()
    assert made is not None
    assert (made.first, made.last, made.count) == (expected.first, expected.last, expected.count)
    assert pq.read_table(io.BytesIO(made.data), use_threads=False) == pq.read_table(
        io.BytesIO(expected.data), use_threads=False
    )
