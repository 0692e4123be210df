"""What one look at a store has shown: what is whole, and what is not."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from runabout.datamanager.errors import NewerFormat
from runabout.datamanager.head import Head, Keys, Meta, Sealed
from runabout.datamanager.loading import Base
from runabout.datamanager.manifest import DataFile, Pointer


class Part(Enum):
    """What something belongs to that is damaged."""

    STATE = "meta or head"
    OWNER = "owner"
    SEALED = "sealed"
    POINTER = "manifest key"
    LIFE = "etcd is behind the object storage"
    FOREIGN = "a batch of another history"
    BATCH = "a batch in etcd"
    SURPLUS = "a batch beyond the head"
    IDENTITY = "identity"
    STRANGER = "two installations"
    EPOCH = "epoch"
    SEGMENT = "segment"
    MANIFEST = "manifest"
    DATA = "data file"
    INDEX = "index file"
    ROWS = "rows of the index"
    QUARANTINE = "quarantine"


@dataclass(frozen=True, slots=True)
class Damage:
    """One thing that is not as it has to be; `where` is its key."""

    part: Part
    where: str
    what: str
    first: int = 0
    """Sequences of the log that this place should have."""
    last: int = 0
    file: DataFile | None = None
    covers: int = 0
    """Of the manifest that it belongs to."""
    newer: bool = False
    """Whether a newer version wrote it, which is no damage but cannot be read."""


def said(error: Exception, where: str) -> str:
    """Return what an error says about a place, as the rest of a sentence that begins with the place."""
    text = str(error).replace(f"the object {where} ", "it ").replace(f"{where} ", "it ")
    return text.removeprefix("it ")


@dataclass(slots=True)
class Ranges:
    """Sequences that are there, as ranges in their order."""

    parts: list[tuple[int, int]] = field(default_factory=list)

    def add(self, first: int, last: int) -> None:
        """Take a range that begins after the last one did."""
        if self.parts and first <= self.parts[-1][1] + 1:
            self.parts[-1] = (self.parts[-1][0], max(last, self.parts[-1][1]))
        else:
            self.parts.append((first, last))

    def have(self, first: int, last: int) -> bool:
        """Return whether all sequences from one to another are there."""
        return first > last or any(start <= first and last <= end for start, end in self.parts)

    def reach(self, after: int) -> int:
        """Return up to where all sequences after one are there."""
        return next((end for start, end in self.parts if start <= after + 1 <= end), after)


def joined(*ranges: Ranges) -> Ranges:
    """Return what is in any of them."""
    result = Ranges()
    for first, last in sorted(part for each in ranges for part in each.parts):
        result.add(first, last)
    return result


@dataclass(slots=True)
class Seen:
    """One look. What cannot be read is None, or absent, and among the damages."""

    keys: Keys
    raw: dict[bytes, bytes] = field(default_factory=dict)
    meta: Meta | None = None
    head: Head | None = None
    head_now: Head | None = None
    """Read later, just before the log in etcd."""
    sealed: Sealed | None = None
    pointer: Pointer | None = None
    store_id: bytes | None = None
    """Of the object storage."""
    in_ost: bool = False
    """Whether the object storage has anything of the store."""
    segments: dict[int, Sealed] = field(default_factory=dict)
    """Whole segments, by their first sequence."""
    listed: list[int] = field(default_factory=list)
    log: Ranges = field(default_factory=Ranges)
    """What whole segments have."""
    bases: dict[str, Base] = field(default_factory=dict)
    """Manifests that can be read, by name."""
    unfit: set[str] = field(default_factory=set)
    """Names of those that do not hold: something of them is damaged."""
    with_gaps: set[str] = field(default_factory=set)
    """Names of those with a damaged data file: a store opens with one, and cannot read the file's documents."""
    etcd: Ranges = field(default_factory=Ranges)
    """Whole batches in etcd."""
    damages: list[Damage] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    objects: int = 0
    size: int = 0
    batches: int = 0
    """That stand in the log, each counted once for etcd and once for the segments."""

    def add(self, part: Part, where: str | bytes, what: str, **more: int | DataFile | None) -> None:
        """Take note of a damage."""
        name = where.decode() if isinstance(where, bytes) else where
        self.damages.append(Damage(part, name, what, **more))  # type: ignore[arg-type]  # by name

    def fail(self, part: Part, where: str | bytes, error: Exception, **more: int | DataFile | None) -> None:
        """Take note of what cannot be read, in the words of its error."""
        name = where.decode() if isinstance(where, bytes) else where
        self.add(part, name, said(error, name), newer=isinstance(error, NewerFormat), **more)

    @property
    def expected_id(self) -> bytes | None:
        """The store that objects have to be of."""
        return self.store_id if self.meta is None else self.meta.store_id

    @property
    def end(self) -> int:
        """The last sequence on the object storage, as far as it can be told."""
        ends = [each.last for each in self.segments.values()]
        return max([*ends, *self.listed, 0])

    def newest_first(self) -> Iterable[Base]:
        """Return the manifests that hold."""
        return [base for base in self.openable() if base.pointer.name not in self.with_gaps]

    def openable(self) -> Iterable[Base]:
        """Return the manifests with which a store can be opened, the newest first."""
        return [base for name, base in sorted(self.bases.items(), reverse=True) if name not in self.unfit]
