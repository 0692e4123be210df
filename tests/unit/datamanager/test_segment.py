"""The bytes of a segment: pinned as they are written, whole or refused."""

import random
import struct

import google_crc32c
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runabout.datamanager import BrokenLog
from runabout.datamanager.batch import NO_CHAIN, PUT, Entry, encode_batch, next_chain
from runabout.datamanager.segment import MAX_SEGMENT, decode_segment, encode_segment

STORE, LIFE = b"S" * 16, b"I" * 16


def _batches(count: int, *, first: int = 1, previous: bytes = NO_CHAIN) -> tuple[list[bytes], bytes]:
    """Return batches that continue each other, and the chain after them."""
    values = []
    for number in range(count):
        entries = ((Entry(PUT, "run", f"k{number}", b"body"),),)
        values.append(
            encode_batch(sequence=first + number, previous=previous, batch_id=b"B" * 16, transactions=entries)
        )
        previous = next_chain(previous, values[-1])
    return values, previous


def _segment(count: int = 3, *, first: int = 7, previous: bytes = b"P" * 16) -> bytes:
    values, chain = _batches(count, first=first, previous=previous)
    return encode_segment(
        values, store_id=STORE, first=first, epoch=2, incarnation=LIFE, previous=previous, chain=chain
    )


def crc(data: bytes) -> bytes:
    return struct.pack(">I", google_crc32c.value(data))


def test_the_bytes_of_a_segment_are_as_documented() -> None:
    (one, two), chain = _batches(2, first=7, previous=b"P" * 16)
    header = (
        b"RUNS\x01"  # magic and format
        b"SSSSSSSSSSSSSSSS"  # store id
        b"\x00\x00\x00\x00\x00\x00\x00\x07"  # first sequence
        b"\x00\x00\x00\x00\x00\x00\x00\x08"  # last
        b"\x00\x00\x00\x00\x00\x00\x00\x02"  # epoch
        b"IIIIIIIIIIIIIIII"  # incarnation
        b"PPPPPPPPPPPPPPPP"  # chain before
    )
    frames = b"".join(
        frame + crc(frame) for frame in (struct.pack(">I", len(one)) + one, struct.pack(">I", len(two)) + two)
    )
    body = header + crc(header) + frames + b"RUNE" + chain + b"\x00\x00\x00\x02"
    assert _segment(2) == body + crc(body)


@given(st.integers(1, 40), st.integers(1, 2**63), st.binary(min_size=16, max_size=16))
def test_a_segment_is_read_back(count: int, first: int, previous: bytes) -> None:
    values, chain = _batches(count, first=first, previous=previous)
    found = decode_segment(_segment(count, first=first, previous=previous), where="here")
    assert [value for value, _ in found.values] == values
    assert [link.sequence for _, link in found.values] == list(range(first, first + count))
    assert (found.store_id, found.incarnation, found.epoch) == (STORE, LIFE, 2)
    assert (found.first, found.last, found.previous, found.chain) == (first, first + count - 1, previous, chain)


def test_every_flipped_bit_is_found() -> None:
    data = _segment()
    for place in range(len(data)):
        for bit in range(8):
            damaged = data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]
            with pytest.raises(BrokenLog, match="here"):
                decode_segment(damaged, where="here")


def test_every_truncation_and_every_byte_too_many_is_found() -> None:
    data = _segment()
    for size in range(len(data)):
        with pytest.raises(BrokenLog, match="here"):
            decode_segment(data[:size], where="here")
    for more in (b"\x00", data, bytes(MAX_SEGMENT)):
        with pytest.raises(BrokenLog, match="here"):
            decode_segment(data + more, where="here")


def test_zeros_in_place_of_any_part_are_found() -> None:
    data = _segment()
    for place in range(0, len(data), 7):
        with pytest.raises(BrokenLog):
            decode_segment(data[:place] + bytes(len(data) - place), where="here")
        with pytest.raises(BrokenLog):
            decode_segment(bytes(place + 1) + data[place + 1 :], where="here")


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_in_words(data: bytes) -> None:
    with pytest.raises(BrokenLog, match=r"^here "):
        decode_segment(data, where="here")


def _resealed(data: bytes, place: int, new: bytes) -> bytes:
    """Change bytes and make every checksum of header and whole fit again, as only a program that is wrong would."""
    header = struct.calcsize(">5s16sQQQ16s16s")
    body = data[:place] + new + data[place + len(new) : -4]
    body = body[:header] + crc(body[:header]) + body[header + 4 :]
    return body + crc(body)


@pytest.mark.parametrize(
    ("place", "new", "message"),
    [
        (0, b"RUNX", "format"),
        (4, b"\x00", "format"),
        (21, b"\x00" * 7 + b"\x08", "does not continue"),  # first
        (29, b"\x00" * 7 + b"\x08", "says two things"),  # last
        (61, b"Q" * 16, "does not continue"),  # chain before
        (-28, b"RUNX", "says two things"),  # footer
        (-24, b"Q" * 16, "says two things"),  # chain after
        (-8, b"\x00\x00\x00\x04", "says two things"),  # number of frames
        (81, b"\x00\x00\x00\x00", "checksum of batch 7"),  # length of the first frame
        (81, b"\xff\xff\xff\xff", "goes beyond its end"),
    ],
)
def test_what_does_not_fit_together_is_refused_although_the_checksums_fit(place: int, new: bytes, message: str) -> None:
    data = _segment()
    with pytest.raises(BrokenLog, match=message):
        decode_segment(_resealed(data, place if place >= 0 else len(data) + place, new), where="here")


def test_batches_in_another_order_or_from_elsewhere_are_refused() -> None:
    values, chain = _batches(4)
    for wrong in ([values[1], values[0]], [values[0], values[2]], [values[0], values[0]]):
        data = encode_segment(wrong, store_id=STORE, first=1, epoch=1, incarnation=LIFE, previous=NO_CHAIN, chain=chain)
        with pytest.raises(BrokenLog, match="does not continue the one before it"):
            decode_segment(data, where="here")


def test_a_segment_without_batches_is_refused() -> None:
    data = encode_segment([], store_id=STORE, first=1, epoch=1, incarnation=LIFE, previous=NO_CHAIN, chain=NO_CHAIN)
    with pytest.raises(BrokenLog, match="says two things"):
        decode_segment(data, where="here")


def test_a_large_segment_with_one_wrong_byte_anywhere_is_found() -> None:
    noise = random.Random(3)
    entry = Entry(PUT, "run", "k", noise.randbytes(1_000_000))
    value = encode_batch(sequence=1, previous=NO_CHAIN, batch_id=b"", transactions=((entry,),))
    chain = next_chain(NO_CHAIN, value)
    data = encode_segment([value], store_id=STORE, first=1, epoch=1, incarnation=LIFE, previous=NO_CHAIN, chain=chain)
    for _ in range(50):
        place = noise.randrange(len(data))
        with pytest.raises(BrokenLog):
            decode_segment(data[:place] + bytes([data[place] ^ 0x40]) + data[place + 1 :], where="here")
