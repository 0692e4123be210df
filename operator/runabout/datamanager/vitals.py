"""How a store is doing at one moment, in numbers and words: what metrics show and health judges."""

from dataclasses import dataclass

from runabout.datamanager.datareader import CacheUse
from runabout.datamanager.indexed import IndexSize
from runabout.datamanager.space import Verdict
from runabout.datamanager.store import Store


@dataclass(frozen=True, slots=True)
class Vitals:
    """Sizes in bytes, times in seconds. Without an object storage nothing waits for one."""

    sequence: int
    queued: int
    """Transactions that wait for etcd."""
    stuck_seconds: float
    """For how long etcd has not given a definite answer."""
    unsealed: int
    """Batches that are in etcd alone."""
    unsealed_bytes: int
    most_unsealed_bytes: int
    """With more, no transaction is taken; 0: any number is."""
    lag_seconds: float
    """For how long the oldest of them has been waiting."""
    sealing_fails_seconds: float
    """For how long every attempt to seal has failed."""
    sealing_trouble: str
    covers: int
    """The last sequence that the newest checkpoint covers."""
    uncovered_bytes: int
    """Of segments that an opening would have to read."""
    checkpoint_trouble: str
    changed: int
    """Documents that no checkpoint covers, deletes included: they are in memory."""
    changed_bytes: int
    """What they take there, about."""
    groups: CacheUse
    """Row groups that were read from data files."""
    footers: CacheUse
    """Footers of data files."""
    index: IndexSize
    space: Verdict | None
    """None: etcd has not said yet."""
    refusal: str
    """Why no transaction is taken for want of room in etcd; empty: they are."""


def vitals(store: Store) -> Vitals:
    """Return how a store is doing now."""
    sealer, checkpointer, documents = store.sealer, store.checkpointer, store.documents
    reader, index = documents.reader, documents.index
    return Vitals(
        sequence=store.sequence,
        queued=store.queued,
        stuck_seconds=store.stuck_seconds,
        unsealed=0 if sealer is None else max(0, store.sequence - sealer.sealed),
        unsealed_bytes=0 if sealer is None else sealer.waiting_bytes,
        most_unsealed_bytes=0 if sealer is None else sealer.most_waiting,
        lag_seconds=0.0 if sealer is None else sealer.lag_seconds,
        sealing_fails_seconds=0.0 if sealer is None else sealer.failing_seconds,
        sealing_trouble="" if sealer is None else str(sealer.trouble or ""),
        covers=0 if checkpointer is None else checkpointer.covers,
        uncovered_bytes=0 if checkpointer is None else checkpointer.waiting_bytes,
        checkpoint_trouble="" if checkpointer is None else str(checkpointer.trouble or ""),
        changed=documents.changed,
        changed_bytes=documents.memory,
        groups=CacheUse() if reader is None else reader.groups,
        footers=CacheUse() if reader is None else reader.footers,
        index=IndexSize() if index is None else index.size,
        space=None if store.space is None else store.space.verdict,
        refusal="" if store.space is None else store.space.refusal,
    )
