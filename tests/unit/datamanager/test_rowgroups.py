"""Row groups alone: whatever byte is flipped, and wherever a file is cut, a read is right, or it is an error."""

import io
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runabout.datamanager import BrokenLog, Damaged, ReadPolicy
from runabout.datamanager.datafile import MAX_FILE, DataWriter
from runabout.datamanager.datareader import DataReader
from runabout.datamanager.manifest import DataFile
from runabout.datamanager.rowgroups import contents_of, decode_footer, decode_group, footer_in
from runabout.datamanager.tables import PLAIN
from runabout.ost import MemoryObjectStore

DOCUMENTS = {f"key {number:02}": b"%d " % number * 9 for number in range(0, 40, 2)}
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)


def a_file(documents: dict[str, bytes], *, group: int = 200) -> tuple[bytes, DataFile]:
    writer = DataWriter(PLAIN, group=group)
    for key in sorted(documents):
        assert writer.add(key, documents[key]) is None
    (written,) = writer.close()
    return written.data, written.described("store/0/data/doc/x.parquet", "doc")


async def reader_of(data: bytes, file: DataFile) -> DataReader:
    ost = MemoryObjectStore()
    await ost.write(file.object, data)
    return DataReader(ost, ReadPolicy(groups=1, footers=1))


@given(st.dictionaries(TEXTS, st.binary(max_size=20), min_size=1), TEXTS, st.sampled_from([1, 60, 10_000]))
async def test_a_row_group_has_the_documents_that_were_written(
    documents: dict[str, bytes], other: str, group: int
) -> None:
    data, file = a_file(documents, group=group)
    reader = await reader_of(data, file)
    for key in (*documents, other):
        assert await reader.get(file, key) == documents.get(key)


def test_what_is_said_of_row_groups_is_what_parquet_says_and_follows_from_the_whole_file() -> None:
    data, file = a_file(DOCUMENTS)
    found = decode_footer(footer_in(data), file)
    assert len(found.groups) > 3
    assert contents_of(data, file).groups == found.groups
    with pq.ParquetFile(io.BytesIO(data)) as parquet:
        assert parquet.num_row_groups == len(found.groups)
        assert [parquet.metadata.row_group(at).num_rows for at in range(len(found.groups))] == [
            each.rows for each in found.groups
        ]


@pytest.mark.parametrize("old", [False, True], ids=["with checksums", "of an older version"])
async def test_every_flipped_byte_and_every_cut_is_an_error_or_makes_no_difference(old: bool) -> None:
    data, file = a_file(DOCUMENTS)
    described = replace(file, footer=None) if old else file
    errors, named = 0, set[str]()
    for at in range(len(data)):
        for changed in (data[:at] + bytes([data[at] ^ 0x40]) + data[at + 1 :], data[:at]):
            reader = await reader_of(changed, described)
            try:
                found = {key: await reader.get(described, key) for key in DOCUMENTS}
            except Damaged as error:
                named.add(error.object)
                errors += 1
            else:
                assert found == DOCUMENTS
    assert named == {file.object}
    assert errors >= 2 * (len(data) - 4), "only the magic at the beginning is read by nobody"


@given(st.binary(max_size=300))
def test_any_bytes_are_refused(data: bytes) -> None:
    whole, file = a_file(DOCUMENTS)
    contents = decode_footer(footer_in(whole), file)
    with pytest.raises(BrokenLog):
        decode_footer(data, file)
    with pytest.raises(BrokenLog):
        decode_group(contents, 1, data)
    with pytest.raises(BrokenLog):
        contents_of(data, file)


def test_a_footer_with_long_keys_still_fits_into_the_file() -> None:
    writer = DataWriter(PLAIN)
    files = []
    for number in range(700):
        full = writer.add(f"{number:04}" + "k" * 60_000, bytes(1_000) * 200)
        files += [] if full is None else [full]
    files += writer.close()
    assert max(len(each.data) for each in files) <= MAX_FILE
    assert sum(each.count for each in files) == 700
