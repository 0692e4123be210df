"""What became of a batch, by its id: for callers who heard `Unknown`, in the same process or a later one.

What always holds: a batch has one place in the log. Once the log is known to go beyond it, or its writer is fenced,
what is in that place says for good whether it was written; only what neither etcd nor a segment has any more cannot be
told.
"""

import re
from enum import StrEnum

from runabout.datamanager.batch import decode_batch
from runabout.datamanager.errors import BrokenLog, Unavailable
from runabout.datamanager.head import Keys
from runabout.datamanager.objects import batches, list_segments, read_segment
from runabout.datamanager.transaction import BatchId
from runabout.etcd import Etcd, EtcdError
from runabout.ost import ObjectStore, OstError

_ID = re.compile(r"([0-9a-f]{16})-([0-9a-f]{32})")


class Outcome(StrEnum):
    """What became of a batch."""

    COMMITTED = "committed"
    """It is in the log, and so is all that callers had in it."""
    NOT_COMMITTED = "not committed"
    """It is not, and never will be; or it was lost with etcd's data, which an opening has reported (`Recovery`)."""
    FORGOTTEN = "no longer known"
    """Its place in the log is covered by checkpoints, and its segment was collected: only documents can tell."""


def id_of_batch(sequence: int, id: bytes) -> BatchId:  # noqa: A002 - the word for it
    """Return the id for callers of the batch in a place of the log with a random id of 16 bytes."""
    return BatchId(f"{sequence:016x}-{id.hex()}")


async def outcome_of(etcd: Etcd, ost: ObjectStore | None, keys: Keys, batch: BatchId, *, end: int) -> Outcome:
    """Return what became of a batch of a writer that writes no more, or has settled; the log goes up to `end`.

    Raises:
        ValueError: this is no batch's id. Unavailable: etcd or the object storage does not answer. BrokenLog: the batch
            or the segment in its place is damaged.
    """
    found = _ID.fullmatch(batch)
    if found is None:
        raise ValueError(f"{batch!r} is no batch's id: that is 16 hexadecimal digits, a hyphen and 32 of them")
    sequence = int(found[1], 16)
    if not 0 < sequence <= end:
        return Outcome.NOT_COMMITTED
    try:
        there = await _id_at(etcd, ost, keys, sequence)
    except (EtcdError, OstError) as error:
        raise Unavailable(f"what became of batch {batch} cannot be told now: {error}") from error
    if there is None:
        return Outcome.FORGOTTEN
    return Outcome.COMMITTED if there == bytes.fromhex(found[2]) else Outcome.NOT_COMMITTED


async def _id_at(etcd: Etcd, ost: ObjectStore | None, keys: Keys, sequence: int) -> bytes | None:
    """Return the random id of the batch in a place of the log, None if the place is known nowhere any more."""
    key = keys.wal(sequence)
    value = await etcd.get(key)  # first: what is removed there stands in a segment already
    if value is not None:
        return decode_batch(value, where=key.decode()).id
    first = None if ost is None else await _segment_of(ost, keys, sequence)
    if ost is None or first is None:
        return None
    try:
        segment, _ = await read_segment(ost, keys, first)
    except BrokenLog:
        if await _segment_of(ost, keys, sequence) == first:
            raise
        return None  # collected since it was listed
    return next((each.id for each in batches(segment, keys, after=sequence - 1)), None)


async def _segment_of(ost: ObjectStore, keys: Keys, sequence: int) -> int | None:
    """Return the first sequence of the segment in which a batch is, None if there is no such segment."""
    return max((first for first in await list_segments(ost, keys) if first <= sequence), default=None)
