"""What tests of sealing do with stores: write, wait for the sealer, and look at both sides of it."""

import asyncio

from lab.stores import Stores, put
from runabout.datamanager import Store
from runabout.datamanager.objects import list_segments, read_segment

WAIT = 30.0


async def write(store: Store, count: int, *, prefix: str = "") -> None:
    for number in range(count):
        await store.commit(put(f"{prefix}{number}", b"body of %d" % number))


async def sealed(store: Store) -> None:
    """Return when all that is committed is on the object storage, by the sealer itself."""
    assert store.sealer is not None
    async with asyncio.timeout(WAIT), store.sealer.changed:
        await store.sealer.changed.wait_for(lambda: store.sealer is None or store.sealer.sealed >= store.sequence)


async def seal(store: Store) -> None:
    """Seal now what is committed."""
    assert store.sealer is not None
    await store.sealer.seal()


async def segments(stores: Stores) -> list[tuple[int, int]]:
    """Return first and last sequence of each segment; every opening commits and seals one batch of its own."""
    assert stores.ost is not None
    firsts = await list_segments(stores.ost, stores.keys)
    found = [await read_segment(stores.ost, stores.keys, first) for first in firsts]
    return [(segment.first, segment.last) for segment, _ in found]


async def in_etcd(stores: Stores) -> list[int]:
    page = await stores.lab.etcd.range(stores.keys.wal(0), stores.keys.wal_end)
    return [int(item.key.decode()[-16:], 16) for item in page.items]
