"""The keys of a store in etcd, and its head: the one value that every commit compares and replaces."""

import struct
from dataclasses import dataclass

from runabout.datamanager.errors import BrokenLog

FORMAT = b"runabout-store-1"
_HEAD = struct.Struct(">16sQQ16s")


@dataclass(frozen=True, slots=True)
class Head:
    """Who writes (incarnation and epoch) and how far the log is (sequence and chain)."""

    incarnation: bytes
    epoch: int
    sequence: int
    chain: bytes

    def encode(self) -> bytes:
        """Return the value of the head key."""
        return _HEAD.pack(self.incarnation, self.epoch, self.sequence, self.chain)


def decode_head(value: bytes, *, where: str) -> Head:
    """Return the head in `value`.

    Raises:
        BrokenLog: it has another size.
    """
    if len(value) != _HEAD.size:
        raise BrokenLog(f"{where} has {len(value)} bytes, a head has {_HEAD.size}")
    return Head(*_HEAD.unpack(value))


@dataclass(frozen=True, slots=True)
class Keys:
    """Where a store keeps its things."""

    store: int

    @property
    def meta(self) -> bytes:
        """Format and incarnation."""
        return b"store/%d/meta" % self.store

    @property
    def head(self) -> bytes:
        """See :class:`Head`."""
        return b"store/%d/head" % self.store

    def wal(self, sequence: int) -> bytes:
        """Return the key of a batch; keys sort as their sequences do."""
        return b"store/%d/wal/%016x" % (self.store, sequence)

    @property
    def wal_end(self) -> bytes:
        """The end of the range of all batches."""
        return b"store/%d/wal0" % self.store
