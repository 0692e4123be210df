"""The design that this datamanager replaces, as the sequence of calls that it made for each transaction.

It had a lock of its own for each group, one number for all transactions, one global head whose revision was compared,
an object for the log and one for the document, and no second try: 10 calls to etcd and 2 objects, one after the other,
while the caller waits.
"""

from dataclasses import dataclass

from benchmarks.rawetcd import RawEtcd
from runabout.ost import ObjectStore

LEASE_SECONDS = 10
_HEAD, _NUMBER, _NEWS = b"replaced/head", b"replaced/number", b"replaced/news"


@dataclass(frozen=True)
class Replaced:
    """Transactions as that design made them."""

    raw: RawEtcd
    ost: ObjectStore

    async def commit(self, group: str, body: bytes) -> bool:
        """Write a document of a group; return whether it was written: another transaction may have come between."""
        raw, lock = self.raw, f"replaced/lock/{group}".encode()
        lease = await raw.grant(LEASE_SECONDS)
        await raw.put_if(lock, b"", changed=0, lease=lease)
        number = await raw.put(_NUMBER, b"")
        head = await raw.changed(_HEAD)
        await raw.changed(lock)
        await self.ost.write(f"replaced/log/{number:016x}", body)
        await raw.left(lease)
        await self.ost.write(f"replaced/documents/{group}/{number:016x}", body)
        written = await raw.put_if(_HEAD, b"%d" % number, changed=head)
        await raw.put(_NEWS, b"%d" % number)
        await raw.delete(lock)
        await raw.revoke(lease)
        return written
