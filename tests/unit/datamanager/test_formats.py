"""Telling what a newer version wrote from what is damaged."""

import struct

import google_crc32c
import pytest

from runabout.datamanager import NewerFormat
from runabout.datamanager.batch import NO_CHAIN, encode_batch, link, next_chain
from runabout.datamanager.formats import refuse_newer
from runabout.datamanager.head import Sealed, decode_sealed
from runabout.datamanager.manifest import Pointer, decode_manifest, decode_pointer, nothing_covered
from runabout.datamanager.segment import decode_segment, encode_segment

ID = bytes(16)
BATCH = encode_batch(sequence=1, previous=NO_CHAIN, batch_id=ID, transactions=())
CHAIN = next_chain(NO_CHAIN, BATCH)


def with_number(data: bytes, number: int) -> bytes:
    """Return bytes with another number of their format, and the checksum that fits."""
    body = data[:4] + bytes([number]) + data[5:-4]
    return body + struct.pack(">I", google_crc32c.value(body))


def segment_of(batch: bytes) -> bytes:
    return encode_segment(
        [batch], store_id=ID, first=1, epoch=1, incarnation=ID, previous=NO_CHAIN, chain=next_chain(NO_CHAIN, batch)
    )


DECODERS = {
    "batch": (link, BATCH),
    "segment": (decode_segment, segment_of(BATCH)),
    "manifest": (decode_manifest, nothing_covered(ID, ID).encode()),
    "sealed": (decode_sealed, Sealed(1, 1, CHAIN, 9, bytes(32)).encode()),
    "manifest key": (decode_pointer, Pointer(1, 1, ID, CHAIN, 9, bytes(32)).encode()),
}


@pytest.mark.parametrize("number", [2, 9, 255])
@pytest.mark.parametrize("kind", DECODERS)
def test_whole_bytes_with_a_higher_number_are_of_a_newer_version(kind: str, number: int) -> None:
    decode, data = DECODERS[kind]
    with pytest.raises(NewerFormat, match=f"^here has the format {number}, which this version cannot read"):
        decode(with_number(data, number), where="here")


def test_a_segment_with_a_newer_batch_is_of_a_newer_version() -> None:
    with pytest.raises(NewerFormat, match=r"^batch 1 in here has the format 2"):
        decode_segment(segment_of(with_number(BATCH, 2)), where="here")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"RUNB",
        b"RUNB\x09",
        BATCH,
        with_number(BATCH, 0),
        with_number(BATCH, 9)[:-1],
        BATCH[:4] + b"\x09" + BATCH[5:],
    ],
    ids=["nothing", "no number", "nothing else", "this one", "none of ours", "cut", "another checksum"],
)
def test_what_is_damaged_or_readable_is_not_newer(data: bytes) -> None:
    refuse_newer(data, b"RUNB\x01", where="here")
