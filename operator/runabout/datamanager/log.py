"""Reading the log: batches in order, each checked against the one before it."""

from collections.abc import AsyncGenerator

from runabout.datamanager.batch import NO_CHAIN, Batch, decode_batch
from runabout.datamanager.errors import BrokenLog
from runabout.datamanager.head import Head, Keys
from runabout.etcd import Etcd

PAGE = 32
"""Batches in one read: at most 32 MiB."""


async def read_log(etcd: Etcd, keys: Keys, *, after: int, chain: bytes, head: Head) -> AsyncGenerator[Batch, None]:
    """Return the batches after sequence `after`, whose chain is `chain`, up to the head.

    Raises:
        BrokenLog: a batch is missing, damaged, or does not continue the one before it. Errors of etcd.
    """
    sequence = after
    while sequence < head.sequence:
        page = await etcd.range(keys.wal(sequence + 1), keys.wal_end, limit=PAGE)
        if not page.items:
            raise BrokenLog(f"{keys.wal(sequence + 1).decode()} is missing: the head says {head.sequence}")
        for item in page.items:
            where = item.key.decode()
            if item.key != keys.wal(sequence + 1):
                raise BrokenLog(f"{keys.wal(sequence + 1).decode()} is missing: the next one is {where}")
            batch = decode_batch(item.value, where=where)
            if batch.sequence != sequence + 1 or batch.previous != chain:
                raise BrokenLog(f"{where} does not continue the log: its sequence or its chain is another one's")
            yield batch
            sequence, chain = batch.sequence, batch.chain
            if sequence == head.sequence:
                break
    if chain != (head.chain if head.sequence else NO_CHAIN):
        raise BrokenLog(f"{keys.head.decode()} does not fit the log: another chain at sequence {head.sequence}")
