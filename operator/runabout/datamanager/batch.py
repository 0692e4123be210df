"""One batch of transactions as bytes: the value of a `wal/` key.

    magic "RUNB" · format 1 (u8) · sequence (u64) · chain before (16 B) · batch id (16 B) · transactions (u32)
    · zstd frame of the actions · CRC32C of all that stands before it (u32)

Integers are big-endian. Inside the frame, for each transaction: the number of actions (u32), then each as op (u8),
type, key and body, each with its length (u8, u16, u32). The chain after a batch is the first 16 bytes of SHA-256 over
the chain before and the batch's bytes, so a batch stands for everything before it, too.
"""

import hashlib
import struct
from dataclasses import dataclass

import google_crc32c
import zstandard

from runabout.datamanager.errors import BrokenLog
from runabout.datamanager.formats import refuse_newer

MAX_BATCH = 1024 * 1024
"""Bytes of a batch before compression; etcd takes requests of 1.5 MiB."""
TARGET = 512 * 1024
"""Bytes of actions after which a batch is closed. Of twice as many there is hardly ever room for a last one, so that
full batches and nearly empty ones would take turns; of half as many, etcd takes a third more CPU for each byte."""
MAX_DECODED = 16 * MAX_BATCH
"""Bytes that a frame may unpack to; more is damage."""
NO_CHAIN = bytes(16)
"""The chain of an empty log."""

_MAGIC = b"RUNB\x01"
_HEADER = struct.Struct(">5sQ16s16sI")
_COUNT = struct.Struct(">I")
_ACTION = struct.Struct(">BBHI")
_CRC = struct.Struct(">I")

PUT, DELETE, APPEND = 1, 2, 3


@dataclass(frozen=True, slots=True)
class Entry:
    """One resolved action: op is PUT, DELETE or APPEND (a put under the type's next number)."""

    op: int
    type: str
    key: str
    body: bytes = b""

    @property
    def size(self) -> int:
        """Bytes in a batch, about."""
        return _ACTION.size + len(self.type) + len(self.key) + len(self.body)


@dataclass(frozen=True, slots=True)
class Batch:
    """A decoded batch; `chain` is the one after it."""

    sequence: int
    previous: bytes
    chain: bytes
    id: bytes
    transactions: tuple[tuple[Entry, ...], ...]


def next_chain(previous: bytes, value: bytes) -> bytes:
    """Return the chain after a batch of these bytes."""
    return hashlib.sha256(previous + value).digest()[:16]


def encode_batch(
    *, sequence: int, previous: bytes, batch_id: bytes, transactions: tuple[tuple[Entry, ...], ...]
) -> bytes:
    """Return the bytes of a batch."""
    parts: list[bytes] = []
    for entries in transactions:
        parts.append(_COUNT.pack(len(entries)))
        for entry in entries:
            kind, key = entry.type.encode(), entry.key.encode()
            parts += (_ACTION.pack(entry.op, len(kind), len(key), len(entry.body)), kind, key, entry.body)
    frame = zstandard.ZstdCompressor(level=1).compress(b"".join(parts))
    value = _HEADER.pack(_MAGIC, sequence, previous, batch_id, len(transactions)) + frame
    return value + _CRC.pack(google_crc32c.value(value))


@dataclass(frozen=True, slots=True)
class Link:
    """What a batch's bytes say about their place in the log, without unpacking them."""

    sequence: int
    previous: bytes
    chain: bytes


def link(value: bytes, *, where: str) -> Link:
    """Return the place of the batch in `value`, whose checksum fits; `where` names it in errors.

    Raises:
        BrokenLog: the bytes are not whole, or not of this format. NewerFormat: a newer version wrote them.
    """
    if len(value) < _HEADER.size + _CRC.size:
        raise BrokenLog(f"{where} has {len(value)} bytes: too few for a batch")
    if google_crc32c.value(value[: -_CRC.size]) != _CRC.unpack(value[-_CRC.size :])[0]:
        raise BrokenLog(f"{where} is damaged: its checksum does not fit its bytes")
    refuse_newer(value, _MAGIC, where=where)
    magic, sequence, previous, _, _ = _HEADER.unpack_from(value)
    if magic != _MAGIC:
        raise BrokenLog(f"{where} has the format {magic!r}, which this version cannot read")
    return Link(sequence, previous, next_chain(previous, value))


def decode_batch(value: bytes, *, where: str, known: Link | None = None) -> Batch:
    """Return the batch in `value`; `where` names it in errors. `known` is its link, if that was asked for already.

    Raises:
        BrokenLog: the bytes are not whole, not of this format, or say two things. NewerFormat: a newer version wrote
            them.
    """
    found = known or link(value, where=where)
    _, sequence, previous, batch_id, count = _HEADER.unpack_from(value)
    try:
        transactions = _transactions(_unpack(value[_HEADER.size : -_CRC.size]), count)
    except (zstandard.ZstdError, struct.error, UnicodeDecodeError, ValueError) as error:
        raise BrokenLog(f"{where} cannot be decoded: {error}") from error
    return Batch(sequence, previous, found.chain, batch_id, transactions)


def _unpack(frame: bytes) -> bytes:
    # The size in the frame is what decompression makes room for, whatever limit it is given.
    size = zstandard.frame_content_size(frame)
    if not 0 <= size <= MAX_DECODED:
        raise ValueError(f"a frame of {size} bytes, at most {MAX_DECODED} are possible")
    return zstandard.ZstdDecompressor().decompress(frame, max_output_size=MAX_DECODED, allow_extra_data=False)


def _transactions(body: bytes, count: int) -> tuple[tuple[Entry, ...], ...]:
    found = []
    place = 0
    for _ in range(count):
        (actions,) = _COUNT.unpack_from(body, place)
        place += _COUNT.size
        entries = []
        for _ in range(actions):
            op, kind_size, key_size, size = _ACTION.unpack_from(body, place)
            place += _ACTION.size
            end = place + kind_size + key_size + size
            if op not in (PUT, DELETE, APPEND) or end > len(body):
                raise ValueError("an action is out of bounds")
            kind = body[place : place + kind_size].decode()
            key = body[place + kind_size : place + kind_size + key_size].decode()
            entries.append(Entry(op, kind, key, body[place + kind_size + key_size : end]))
            place = end
        found.append(tuple(entries))
    if place != len(body):
        raise ValueError("bytes are left over")
    return tuple(found)
