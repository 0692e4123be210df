"""Reading the log in etcd: batches in order, each checked against the one before it."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from runabout.datamanager.batch import NO_CHAIN, Batch, Link, decode_batch, link
from runabout.datamanager.errors import BrokenLog, MissingBatch
from runabout.datamanager.head import Head, Keys
from runabout.etcd import Etcd

PAGE = 32
"""Batches in one read: at most 32 MiB."""


async def read_values(
    etcd: Etcd, keys: Keys, *, after: int, chain: bytes, head: Head
) -> AsyncGenerator[tuple[bytes, Link], None]:
    """Return the bytes of the batches after sequence `after`, whose chain is `chain`, up to the head.

    Raises:
        BrokenLog: a batch is missing, damaged, or does not continue the one before it. Errors of etcd.
    """
    sequence = after
    while sequence < head.sequence:
        page = await etcd.range(keys.wal(sequence + 1), keys.wal_end, limit=PAGE)
        if not page.items:
            raise MissingBatch(f"{keys.wal(sequence + 1).decode()} is missing: the head says {head.sequence}")
        for item in page.items:
            where = item.key.decode()
            if item.key != keys.wal(sequence + 1):
                raise MissingBatch(f"{keys.wal(sequence + 1).decode()} is missing: the next one is {where}")
            found = link(item.value, where=where)
            if found.sequence != sequence + 1 or found.previous != chain:
                raise BrokenLog(f"{where} does not continue the log: its sequence or its chain is another one's")
            yield item.value, found
            sequence, chain = found.sequence, found.chain
            if sequence == head.sequence:
                break
    if chain != (head.chain if head.sequence else NO_CHAIN):
        raise BrokenLog(f"{keys.head.decode()} does not fit the log: another chain at sequence {head.sequence}")


async def read_log(etcd: Etcd, keys: Keys, *, after: int, chain: bytes, head: Head) -> AsyncGenerator[Batch, None]:
    """Return the batches after sequence `after`, as `read_values`; raises the same."""
    async with aclosing(read_values(etcd, keys, after=after, chain=chain, head=head)) as values:
        async for value, found in values:
            yield decode_batch(value, where=keys.wal(found.sequence).decode(), known=found)
