"""Manifests and what names them: their bytes are pinned, and no change of them goes unseen."""

import hashlib
from dataclasses import replace

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from runabout.datamanager import BrokenLog
from runabout.datamanager.head import Sealed
from runabout.datamanager.manifest import (
    DataFile,
    IndexFile,
    IndexFiles,
    Manifest,
    Name,
    Pointer,
    decode_manifest,
    decode_pointer,
    folder_of,
    index_name,
    parse_index_name,
    parse_name,
)
from runabout.records import RunId
from runabout.runindex import FileInfo

POINTER = Pointer(covers=7, epoch=2, id=b"i" * 16, chain=b"c" * 16, size=300, sha256=b"s" * 32)
FILE = DataFile("store/0/data/doc/x.parquet", "doc", 5, hashlib.sha256(b"bytes").digest(), "", "é\U0010ffff", 3)
MANIFEST = Manifest(
    store_id=b"store id, 16 B..",
    epoch=3,
    incarnation=b"incarnation 16 B",
    sealed=Sealed(5, 9, b"chain after 9...", 1234, b"sha256 of the last segment, 32 B"),
    numbers={"note": 4},
    files=(FILE,),
    previous=POINTER,
)
SHA = hashlib.sha256(b"bytes").digest()
INDEX = IndexFile("store/0/index/x", FileInfo(RunId("1il7g1c000001"), RunId("1il7g1c000009"), 3, 5, SHA))
INDEXED = replace(MANIFEST, index=IndexFiles(("team",), (INDEX,)))


def test_a_manifest_comes_back_as_it_was() -> None:
    assert decode_manifest(MANIFEST.encode(), where="m") == MANIFEST
    empty = replace(MANIFEST, numbers={}, files=(), previous=None)
    assert decode_manifest(empty.encode(), where="m") == empty


def test_the_bytes_of_a_manifest_are_pinned() -> None:
    data = MANIFEST.encode()
    numbers = (9).to_bytes(8, "big") + (3).to_bytes(8, "big")
    assert data[:53] == b"RUNM\x01store id, 16 B.." + numbers + b"incarnation 16 B"
    assert zstandard.ZstdDecompressor().decompress(data[53:-4]).decode() == (
        f'{{"sealed":"{MANIFEST.sealed.encode().hex()}","numbers":{{"note":4}},'
        f'"files":[["store/0/data/doc/x.parquet","doc",5,"{FILE.sha256.hex()}","","é\U0010ffff",3]],'
        f'"previous":"{POINTER.encode().hex()}"}}'
    )


def test_the_bytes_of_a_pointer_are_pinned() -> None:
    value = b"RUNC\x01" + (7).to_bytes(8, "big") + (2).to_bytes(8, "big") + b"i" * 16 + b"c" * 16
    assert POINTER.encode()[:-4] == value + (300).to_bytes(8, "big") + b"s" * 32
    assert decode_pointer(POINTER.encode(), where="p") == POINTER
    assert POINTER.name == f"{7:016x}-{2:016x}-{'69' * 16}"


def test_a_manifest_names_the_files_of_the_index_if_there_is_one() -> None:
    data = INDEXED.encode()
    assert decode_manifest(data, where="m") == INDEXED
    assert (
        zstandard.ZstdDecompressor()
        .decompress(data[53:-4])
        .decode()
        .endswith(
            f',"index":{{"labels":["team"],"files":[["store/0/index/x","1il7g1c000001","1il7g1c000009",3,5,"{SHA.hex()}"]]}}}}'
        )
    )
    empty = replace(MANIFEST, index=IndexFiles())
    assert decode_manifest(empty.encode(), where="m").index == IndexFiles()
    assert decode_manifest(MANIFEST.encode(), where="m").index is None
    assert (MANIFEST.objects, INDEXED.objects) == ((FILE.object,), (FILE.object, "store/0/index/x"))


@pytest.mark.parametrize(
    "infos",
    [
        [replace(INDEX.info, rows=0)],
        [replace(INDEX.info, size=-1)],
        [replace(INDEX.info, first=RunId("1il7g1c00000a"))],
        [INDEX.info, INDEX.info],
        [INDEX.info, replace(INDEX.info, first=INDEX.info.last, last=RunId("1il7g1c00000a"))],
    ],
)
def test_index_files_that_cannot_be_are_no_manifest(infos: list[FileInfo]) -> None:
    files = tuple(IndexFile(f"store/0/index/{number}", info) for number, info in enumerate(infos))
    with pytest.raises(BrokenLog, match="the thing"):
        decode_manifest(replace(MANIFEST, index=IndexFiles((), files)).encode(), where="the thing")


def test_an_index_file_has_a_name_of_its_own_and_only_such_are_taken_for_ours() -> None:
    name = index_name(INDEX.info, epoch=7, id=b"i" * 16)
    assert name == f"1il7g1c000001-3-{SHA.hex()[:8]}-{7:016x}-{'69' * 16}.parquet"
    assert parse_index_name(name) == 7
    for other in (INDEX.info.name, name.upper(), name[:-1], "x" + name, "notes.txt", ""):
        assert parse_index_name(other) is None


def test_an_index_file_is_checked_by_size_and_sum() -> None:
    INDEX.check(b"bytes")
    for data in (b"", b"byte", b"bytes ", b"byteS"):
        with pytest.raises(BrokenLog, match=INDEX.object):
            INDEX.check(data)


@pytest.mark.parametrize(
    "data", [MANIFEST.encode(), INDEXED.encode(), POINTER.encode()], ids=["manifest", "with an index", "pointer"]
)
def test_every_flipped_byte_and_every_truncation_is_seen(data: bytes) -> None:
    decode = decode_manifest if data.startswith(b"RUNM") else decode_pointer
    for at in range(len(data)):
        for mask in (1, 0x80, 0xFF):
            with pytest.raises(BrokenLog, match="the thing"):
                decode(data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :], where="the thing")
        with pytest.raises(BrokenLog, match="the thing"):
            decode(data[:at], where="the thing")
    with pytest.raises(BrokenLog):
        decode(data + b"x", where="the thing")


@given(st.binary(max_size=300))
def test_any_bytes_are_an_error_of_ours(data: bytes) -> None:
    for decode in (decode_manifest, decode_pointer):
        for whole in (data, b"RUNM\x01" + data, b"RUNC\x01" + data):
            with pytest.raises(BrokenLog):
                decode(whole, where="x")


def test_a_data_file_is_checked_by_size_and_sum() -> None:
    FILE.check(b"bytes")
    for data in (b"", b"byte", b"bytes ", b"byteS"):
        with pytest.raises(BrokenLog, match=FILE.object):
            FILE.check(data)


@given(st.sets(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=90), max_size=20))
def test_every_type_has_a_folder_of_its_own_that_any_object_storage_takes(kinds: set[str]) -> None:
    folders = {folder_of(kind) for kind in kinds}
    assert len(folders) == len(kinds)
    for folder in folders:
        assert 0 < len(folder) <= 200
        assert folder.isascii()
        assert folder.isprintable()
        assert not {"/", "."} & set(folder)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (f"{7:016x}-{2:016x}-{'69' * 16}", Name(7, 2, b"i" * 16)),
        (f"{7:016x}-{2:016x}-{'69' * 16}.parquet", Name(7, 2, b"i" * 16)),
        (f"{7:016x}-{2:016x}-{'69' * 16}.part", None),
        (f"{7:x}-{2:016x}-{'69' * 16}", None),
        (f"{7:016x}-{2:016x}-{'69' * 15}", None),
        (f"{7:016x}-{2:016x}", None),
        ("", None),
    ],
)
def test_only_our_own_names_are_taken_for_ours(text: str, name: Name | None) -> None:
    assert parse_name(text) == name
