"""The bytes of a batch: pinned as they are written, whole or refused."""

import struct

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from runabout.datamanager import BrokenLog
from runabout.datamanager.batch import (
    APPEND,
    DELETE,
    MAX_DECODED,
    NO_CHAIN,
    PUT,
    Batch,
    Entry,
    decode_batch,
    encode_batch,
    next_chain,
)

HEADER = (
    b"RUNB\x01"  # magic and format
    b"\x00\x00\x00\x00\x00\x00\x00\x05"  # sequence
    b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f"  # chain before
    b"BBBBBBBBBBBBBBBB"  # batch id
    b"\x00\x00\x00\x02"  # transactions
)
ACTIONS = (
    b"\x00\x00\x00\x02"  # two actions
    b"\x01\x03\x00\x02\x00\x00\x00\x04runk1body"  # put
    b"\x02\x04\x00\x02\x00\x00\x00\x00taskk2"  # delete
    b"\x00\x00\x00\x01"  # one action
    b"\x03\x05\x00\x10\x00\x00\x00\x01event0000000000000007x"  # append
)
FRAME = b"\x28\xb5\x2f\xfd\x20\x45\x29\x02\x00" + ACTIONS  # a zstd frame of one stored block of 69 bytes
CRC = b"\xb6\x41\x15\x19"
CHAIN = bytes.fromhex("6277a12339a426099d4ade5822589331")
BEFORE = bytes(range(16))
TRANSACTIONS = (
    (Entry(PUT, "run", "k1", b"body"), Entry(DELETE, "task", "k2")),
    (Entry(APPEND, "event", "0000000000000007", b"x"),),
)


def crc32c(data: bytes) -> bytes:
    """Return the Castagnoli CRC, by its definition, as it stands at the end of a batch."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return struct.pack(">I", crc ^ 0xFFFFFFFF)


def sealed(data: bytes) -> bytes:
    return data + crc32c(data)


def test_the_bytes_of_a_batch_are_read_as_documented() -> None:
    batch = decode_batch(HEADER + FRAME + CRC, where="here")
    assert batch == Batch(5, BEFORE, CHAIN, b"B" * 16, TRANSACTIONS)


def test_the_bytes_of_a_batch_are_written_as_documented() -> None:
    value = encode_batch(sequence=5, previous=BEFORE, batch_id=b"B" * 16, transactions=TRANSACTIONS)
    assert value[:49] == HEADER
    # Which of the frames that hold these bytes is written is zstd's choice.
    assert zstandard.ZstdDecompressor().decompress(value[49:-4]) == ACTIONS
    assert value[-4:] == crc32c(value[:-4])


def test_the_chain_is_the_beginning_of_sha256_over_the_chain_before_and_the_bytes() -> None:
    # The digest is sha256sum's, of 16 zero bytes and an a.
    assert next_chain(NO_CHAIN, b"a").hex() == "9c6bd5cc05acbe7cb4ab71165168ff3d"


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ENTRIES = st.builds(Entry, st.sampled_from([PUT, DELETE, APPEND]), TEXTS, TEXTS, st.binary(max_size=40))
BATCHES = st.lists(st.lists(ENTRIES, max_size=4).map(tuple), max_size=5).map(tuple)
CHAINS = st.binary(min_size=16, max_size=16)


@given(st.integers(0, 2**64 - 1), CHAINS, CHAINS, BATCHES)
def test_what_is_written_is_read_back(
    sequence: int, previous: bytes, batch_id: bytes, transactions: tuple[tuple[Entry, ...], ...]
) -> None:
    value = encode_batch(sequence=sequence, previous=previous, batch_id=batch_id, transactions=transactions)
    expected = Batch(sequence, previous, next_chain(previous, value), batch_id, transactions)
    assert decode_batch(value, where="here") == expected


def test_lengths_up_to_what_the_format_holds_are_read_back() -> None:
    entry = Entry(PUT, "t" * 255, "k" * 65_535, b"b" * 1_000_000)
    value = encode_batch(sequence=1, previous=NO_CHAIN, batch_id=NO_CHAIN, transactions=((entry,),))
    assert decode_batch(value, where="here").transactions == ((entry,),)


def test_every_flipped_byte_is_found() -> None:
    value = HEADER + FRAME + CRC
    for place in range(len(value)):
        for mask in (0x01, 0x80, 0xFF):
            damaged = value[:place] + bytes([value[place] ^ mask]) + value[place + 1 :]
            with pytest.raises(BrokenLog, match="store/0/wal/x is damaged"):
                decode_batch(damaged, where="store/0/wal/x")


def test_every_truncation_is_found() -> None:
    value = HEADER + FRAME + CRC
    for size in range(len(value)):
        with pytest.raises(BrokenLog, match=r"here (is damaged|has .* bytes: too few)"):
            decode_batch(value[:size], where="here")


@given(st.binary(max_size=200))
def test_bytes_that_are_no_batch_are_refused(value: bytes) -> None:
    with pytest.raises(BrokenLog):
        decode_batch(value, where="here")


@given(st.binary(max_size=120))
def test_bytes_with_a_right_checksum_that_are_no_batch_are_refused(tail: bytes) -> None:
    """Nothing but the documented error comes out of the decoder, whoever wrote the bytes."""
    value = sealed(HEADER + tail)
    try:
        batch = decode_batch(value, where="here")
    except BrokenLog:
        return
    # Whatever is accepted says the same when it is written again.
    again = encode_batch(
        sequence=batch.sequence, previous=batch.previous, batch_id=batch.id, transactions=batch.transactions
    )
    assert decode_batch(again, where="here").transactions == batch.transactions


def stored(actions: bytes) -> bytes:
    return HEADER + zstandard.ZstdCompressor().compress(actions)


BOMB = zstandard.ZstdCompressor(level=3).compress(bytes(MAX_DECODED + 1))
WITHOUT_SIZE = zstandard.ZstdCompressor(write_content_size=False).compress(ACTIONS)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (HEADER.replace(b"RUNB\x01", b"RUNB\x00") + FRAME, r"here has the format b'RUNB\\x00', which this version"),
        (stored(ACTIONS + b"\x00"), "bytes are left over"),
        (stored(ACTIONS[:-1]), "out of bounds"),
        (stored(ACTIONS[:4]), "cannot be decoded"),
        (stored(ACTIONS.replace(b"\x03\x05", b"\x04\x05")), "out of bounds"),
        (stored(b"\xff\xff\xff\xff" + ACTIONS[4:]), "cannot be decoded"),
        (stored(ACTIONS.replace(b"taskk2", b"tas\xffk2")), "cannot be decoded"),
        (HEADER + FRAME + b"more", "cannot be decoded"),
        (HEADER + FRAME[:-1], "cannot be decoded"),
        (HEADER + BOMB, "a frame of 16777217 bytes, at most 16777216"),
        (HEADER + WITHOUT_SIZE, "a frame of -1 bytes"),
        (HEADER, "cannot be decoded"),
    ],
    ids=[
        "no format of ours",
        "left over",
        "cut action",
        "no action",
        "unknown action",
        "too many actions",
        "no text",
        "after the frame",
        "cut frame",
        "too large",
        "unknown size",
        "no frame",
    ],
)
def test_a_batch_that_says_what_cannot_be_is_refused_in_words(data: bytes, message: str) -> None:
    with pytest.raises(BrokenLog, match=message):
        decode_batch(sealed(data), where="here")
