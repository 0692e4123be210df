"""The keys of a store and its small values in etcd: meta, owner, the head that commits compare, what is sealed."""

import struct
from dataclasses import dataclass

import google_crc32c

from runabout.datamanager.batch import NO_CHAIN
from runabout.datamanager.errors import BrokenLog
from runabout.datamanager.formats import refuse_newer, refuse_newer_store

FORMAT = b"runabout-store-2"
FORMAT_BEFORE = b"runabout-store-1"
"""Without a store id and a counter: the first incarnation's bytes serve as the id."""
_META = struct.Struct(">16s16sQ16s")
_META_BEFORE = struct.Struct(">16s16s")
_HEAD = struct.Struct(">16sQQ16s")
_OWNER = struct.Struct(">16sQ")
_SEALED = struct.Struct(">5sQQ16sQ32s")
_SEALED_MAGIC = b"RUNP\x01"
_CRC = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class Meta:
    """Which store this is, for good, and which life of its log: a new one begins when etcd lost a part of the log."""

    store_id: bytes
    counter: int
    incarnation: bytes

    def encode(self) -> bytes:
        """Return the value of the meta key."""
        return _META.pack(FORMAT, self.store_id, self.counter, self.incarnation)


def decode_meta(value: bytes, *, where: str) -> Meta:
    """Return the meta in `value`, also in the format before this one.

    Raises:
        BrokenLog: it is of another format or has another size. NewerFormat: a newer version wrote it.
    """
    if value.startswith(FORMAT_BEFORE) and len(value) == _META_BEFORE.size:
        _, incarnation = _META_BEFORE.unpack(value)
        return Meta(incarnation, 1, incarnation)
    refuse_newer_store(value, FORMAT, where=where)
    if not value.startswith(FORMAT):
        raise BrokenLog(f"{where} says {value[:32]!r}: a format that this version cannot read")
    if len(value) != _META.size:
        raise BrokenLog(f"{where} has {len(value)} bytes instead of {_META.size}")
    return Meta(*_META.unpack(value)[1:])


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
class Sealed:
    """How far the log stands on the object storage: the last segment, its size and checksum, and the chain after it."""

    first: int
    last: int
    chain: bytes
    size: int
    sha256: bytes

    def encode(self) -> bytes:
        """Return the value of the sealed key."""
        value = _SEALED.pack(_SEALED_MAGIC, self.first, self.last, self.chain, self.size, self.sha256)
        return value + _CRC.pack(google_crc32c.value(value))


NOTHING_SEALED = Sealed(0, 0, NO_CHAIN, 0, bytes(32))


def decode_sealed(value: bytes, *, where: str) -> Sealed:
    """Return what `value` says is sealed.

    Raises:
        BrokenLog: it is damaged or of another format. NewerFormat: a newer version wrote it.
    """
    refuse_newer(value, _SEALED_MAGIC, where=where)
    if len(value) != _SEALED.size + _CRC.size or value[: len(_SEALED_MAGIC)] != _SEALED_MAGIC:
        raise BrokenLog(f"{where} says {value[:32]!r}: damaged, or a format that this version cannot read")
    if google_crc32c.value(value[: -_CRC.size]) != _CRC.unpack(value[-_CRC.size :])[0]:
        raise BrokenLog(f"{where} is damaged: its checksum does not fit its bytes")
    return Sealed(*_SEALED.unpack(value[: -_CRC.size])[1:])


@dataclass(frozen=True, slots=True)
class Keys:
    """Where a store keeps its things: keys of etcd as bytes, keys of the object storage as text."""

    store: int

    @property
    def prefix(self) -> str:
        """The beginning of all of the store's keys, in etcd and on the object storage."""
        return f"store/{self.store}/"

    @property
    def meta(self) -> bytes:
        """See :class:`Meta`."""
        return b"store/%d/meta" % self.store

    @property
    def head(self) -> bytes:
        """See :class:`Head`."""
        return b"store/%d/head" % self.store

    @property
    def sealed(self) -> bytes:
        """See :class:`Sealed`."""
        return b"store/%d/sealed" % self.store

    @property
    def manifest(self) -> bytes:
        """Names the newest manifest, see `manifest.Pointer`."""
        return b"store/%d/manifest" % self.store

    @property
    def owner(self) -> bytes:
        """Says who has opened the store last: incarnation and epoch, see :func:`owner_value`."""
        return b"store/%d/owner" % self.store

    def wal(self, sequence: int) -> bytes:
        """Return the key of a batch; keys sort as their sequences do."""
        return b"store/%d/wal/%016x" % (self.store, sequence)

    @property
    def everything(self) -> tuple[bytes, bytes]:
        """The range of all of the store's keys in etcd."""
        return b"store/%d/" % self.store, b"store/%d0" % self.store

    @property
    def wal_end(self) -> bytes:
        """The end of the range of all batches."""
        return b"store/%d/wal0" % self.store

    @property
    def identity(self) -> str:
        """The object with the store's id."""
        return f"store/{self.store}/identity"

    @property
    def epochs(self) -> str:
        """The beginning of the keys of all epochs' markers."""
        return f"store/{self.store}/epochs/"

    def epoch(self, epoch: int) -> str:
        """Return the key of an epoch's marker."""
        return f"{self.epochs}{epoch:016x}"

    @property
    def segments(self) -> str:
        """The beginning of the keys of all segments."""
        return f"store/{self.store}/wal/"

    @property
    def index(self) -> str:
        """The beginning of the keys of all index files."""
        return f"store/{self.store}/index/"

    def segment(self, first: int) -> str:
        """Return the key of the segment that begins with a sequence: two histories meet at the same key."""
        return f"{self.segments}{first:016x}"

    @property
    def manifests(self) -> str:
        """The beginning of the keys of all manifests."""
        return f"store/{self.store}/manifest/"

    @property
    def data(self) -> str:
        """The beginning of the keys of all data files."""
        return f"store/{self.store}/data/"

    @property
    def importing(self) -> str:
        """The object that is there while the store is being imported."""
        return f"store/{self.store}/importing"

    def quarantine(self, epoch: int, first: int) -> str:
        """Return the key for batches, from sequence `first` on, that the opening of an epoch refused."""
        return f"store/{self.store}/quarantine/{epoch:016x}-{first:016x}"


def who_has(found: bytes | None, keys: Keys, ours: Head) -> str:
    """Say who has a store whose head is `found`, for a writer that knew it as `ours`."""
    if found is None:
        return f"{keys.head.decode()} is gone from etcd: it was wiped under a running store"
    head = decode_head(found, where=keys.head.decode())
    if (head.incarnation, head.epoch) == (ours.incarnation, ours.epoch):
        return f"{keys.head.decode()} says sequence {head.sequence} after {ours.sequence}: etcd was set back"
    if head.incarnation != ours.incarnation:
        return "the store was made anew, with another incarnation, under this writer"
    return f"the store was opened by another writer (epoch {head.epoch}, ours is {ours.epoch})"


def owner_value(head: Head) -> bytes:
    """Return the value of the owner key: like the head, without that which every commit changes."""
    return _OWNER.pack(head.incarnation, head.epoch)


def number_of(key: str, prefix: str) -> int | None:
    """Return the number in which a key of the object storage ends, None for a key that is not one of ours."""
    text = key.removeprefix(prefix)
    try:
        number = int(text, 16)
    except ValueError:
        return None
    return number if f"{number:016x}" == text else None
