"""A segment: many batches of the log as one object, exactly as they stand in etcd.

    header: magic "RUNS" · format 1 (u8) · store id (16 B) · first, last sequence (u64 each) · epoch (u64)
        · incarnation (16 B) · chain before (16 B) · CRC32C of the header (u32)
    frames: for each batch its length (u32), its bytes, CRC32C of both (u32)
    footer: magic "RUNE" · chain after (16 B) · number of frames (u32) · CRC32C of all that stands before it (u32)

Integers are big-endian. Store id, epoch and incarnation say who wrote it; the chain says of which history it is.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import google_crc32c

from runabout.datamanager.batch import Link, link
from runabout.datamanager.errors import BrokenLog
from runabout.datamanager.formats import refuse_newer

TARGET_SEGMENT = 4 * 1024 * 1024
"""Bytes of batches after which a segment is closed."""
MAX_SEGMENT = 8 * 1024 * 1024
"""Bytes that a segment may have; more is damage."""

_MAGIC = b"RUNS\x01"
_END = b"RUNE"
_HEADER = struct.Struct(">5s16sQQQ16s16s")
_SIZE = struct.Struct(">I")
_FOOTER = struct.Struct(">4s16sI")
_CRC = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class Segment:
    """A whole, undamaged segment; its batches stand in `values`, each continuing the one before it."""

    store_id: bytes
    first: int
    last: int
    epoch: int
    incarnation: bytes
    previous: bytes
    chain: bytes
    values: tuple[tuple[bytes, Link], ...]


def encode_segment(
    values: Sequence[bytes],
    *,
    store_id: bytes,
    first: int,
    epoch: int,
    incarnation: bytes,
    previous: bytes,
    chain: bytes,
) -> bytes:
    """Return the bytes of a segment of these batches, of which the first has the sequence `first`."""
    header = _HEADER.pack(_MAGIC, store_id, first, first + len(values) - 1, epoch, incarnation, previous)
    parts = [header, _checksum(header)]
    for value in values:
        size = _SIZE.pack(len(value))
        parts += (size, value, _CRC.pack(google_crc32c.extend(google_crc32c.value(size), value)))
    parts.append(_FOOTER.pack(_END, chain, len(values)))
    body = b"".join(parts)
    return body + _checksum(body)


def decode_segment(data: bytes, *, where: str) -> Segment:
    """Return the segment in `data`; `where` names it in errors.

    Raises:
        BrokenLog: the bytes are not whole, not of this format, or say two things. NewerFormat: a newer version wrote
            them, or a batch in them.
    """
    start, end = _HEADER.size + _CRC.size, len(data) - _FOOTER.size - _CRC.size
    if end < start:
        raise BrokenLog(f"{where} has {len(data)} bytes: too few for a segment")
    if len(data) > MAX_SEGMENT:
        raise BrokenLog(f"{where} is larger than the {MAX_SEGMENT} bytes that a segment may have")
    if google_crc32c.value(data[: -_CRC.size]) != _CRC.unpack(data[-_CRC.size :])[0]:
        raise BrokenLog(f"{where} is damaged: its checksum does not fit its bytes")
    refuse_newer(data, _MAGIC, where=where)
    magic, store_id, first, last, epoch, incarnation, previous = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        raise BrokenLog(f"{where} has the format {magic!r}, which this version cannot read")
    if _checksum(data[: _HEADER.size]) != data[_HEADER.size : start]:
        raise BrokenLog(f"{where} is damaged: its header's checksum does not fit")
    mark, chain, count = _FOOTER.unpack_from(data, end)
    values = tuple(_values(data, start, end, first=first, previous=previous, where=where))
    reached = values[-1][1].chain if values else previous
    if mark != _END or count != len(values) or count == 0 or last != first + count - 1 or reached != chain:
        raise BrokenLog(f"{where} says two things: its header or footer does not fit its batches")
    return Segment(store_id, first, last, epoch, incarnation, previous, chain, values)


def _values(
    data: bytes, place: int, end: int, *, first: int, previous: bytes, where: str
) -> Iterator[tuple[bytes, Link]]:
    sequence = first
    while place < end:
        if end - place < _SIZE.size + _CRC.size:
            raise BrokenLog(f"{where} is damaged: {end - place} bytes are left over")
        (size,) = _SIZE.unpack_from(data, place)
        stop = place + _SIZE.size + size
        if stop + _CRC.size > end:
            raise BrokenLog(f"{where} is damaged: batch {sequence} goes beyond its end")
        if google_crc32c.value(data[place:stop]) != _CRC.unpack_from(data, stop)[0]:
            raise BrokenLog(f"{where} is damaged: the checksum of batch {sequence} does not fit")
        value = data[place + _SIZE.size : stop]
        found = link(value, where=f"batch {sequence} in {where}")
        if found.sequence != sequence or found.previous != previous:
            raise BrokenLog(f"batch {sequence} in {where} does not continue the one before it")
        yield value, found
        place, sequence, previous = stop + _CRC.size, sequence + 1, found.chain


def _checksum(data: bytes) -> bytes:
    return _CRC.pack(google_crc32c.value(data))
