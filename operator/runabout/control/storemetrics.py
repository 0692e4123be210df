"""What is counted of the data layer: the store, its etcd, and the object storage.

It is told by plain calls (`runabout.datamanager.Observer`, `runabout.ost.OstObserver`) and shown what is to be seen now
and then. It remembers since when the object storage has taken no write, too: health asks for that.
"""

import time
from collections.abc import Callable
from functools import partial

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from runabout.datamanager import CacheUse, Recovery, Vitals, Work
from runabout.datamanager.progress import Step
from runabout.etcd import MemberSpace
from runabout.ost import InvalidKeyError, Operation, OstError, SizeMismatchError

log = structlog.get_logger(__name__)

_SHORT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_LONG = (0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900)
_BYTES = (256, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576)
_COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 1024, 4096)
KINDS = frozenset(
    {"wal", "data", "index", "manifest", "epochs", "identity", "quarantine", "logs", "archives", "caches", "probe"}
)
"""What objects are for, as the beginnings of their keys say."""
OPENING_SECONDS = 5.0
"""Between two lines of the log about an opening, and before the first."""
_OWN = (InvalidKeyError, SizeMismatchError)
"""Errors that say nothing about the object storage."""


class StoreMetrics:
    """Metrics in `registry`; `clock` gives seconds."""

    def __init__(self, registry: CollectorRegistry, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._words = ""
        self._caches: dict[str, CacheUse] = {}
        self._opening_said: float | None = None
        self._opening_done = 0
        self._failing: tuple[float, OstError] | None = None
        counter, gauge = partial(Counter, registry=registry), partial(Gauge, registry=registry)
        self.transactions = counter("runabout_store_transactions", "Transactions in batches that etcd has.")
        self.bytes = counter("runabout_store_bytes", "Bytes of batches that etcd has.")
        self.batch_transactions = Histogram(
            "runabout_store_batch_transactions", "Transactions of one batch.", registry=registry, buckets=_COUNTS
        )
        self.batch_bytes = Histogram(
            "runabout_store_batch_bytes", "Bytes of one batch.", registry=registry, buckets=_BYTES
        )
        self.batch_seconds = Histogram(
            "runabout_store_batch_seconds",
            "From a batch's first request to etcd to the definite answer.",
            registry=registry,
            buckets=_SHORT,
        )
        self.sequence = gauge("runabout_store_sequence", "The last batch of the log.")
        self.queued = gauge("runabout_store_queued", "Transactions that wait for etcd.")
        self.stuck_seconds = gauge("runabout_store_stuck_seconds", "For how long etcd has not answered a batch.")
        self.unsealed = gauge("runabout_store_unsealed_batches", "Batches that are in etcd alone.")
        self.unsealed_bytes = gauge("runabout_store_unsealed_bytes", "Their bytes.")
        self.lag_seconds = gauge(
            "runabout_store_seal_lag_seconds", "For how long the oldest batch that is in etcd alone has been waiting."
        )
        self.segments = counter("runabout_store_segments", "Segments sealed.")
        self.segment_bytes = counter("runabout_store_segment_bytes", "Bytes of segments sealed.")
        self.seal_seconds = Histogram(
            "runabout_store_seal_seconds", "Duration of sealing one segment.", registry=registry, buckets=_LONG
        )
        self.checkpoint_seconds = Histogram(
            "runabout_store_checkpoint_seconds", "Duration of one checkpoint.", registry=registry, buckets=_LONG
        )
        self.covers = gauge("runabout_store_covers", "The last batch that the newest checkpoint covers.")
        self.uncovered_bytes = gauge(
            "runabout_store_uncovered_bytes", "Bytes of segments that an opening would have to read."
        )
        self.changed = gauge(
            "runabout_store_changed_documents", "Documents that no checkpoint covers, deletes included."
        )
        self.changed_bytes = gauge("runabout_store_changed_bytes", "Bytes of memory that they take, about.")
        self.cache_bytes = Gauge(
            "runabout_store_cache_bytes",
            "Bytes of memory taken by what was read of the history, by cache.",
            ["cache"],
            registry=registry,
        )
        self.cache_hits = Counter(
            "runabout_store_cache_hits", "What was asked for was in the cache.", ["cache"], registry=registry
        )
        self.cache_misses = Counter(
            "runabout_store_cache_misses", "It was read from the object storage.", ["cache"], registry=registry
        )
        self.index_rows = gauge("runabout_index_rows", "Runs in the index: all that there are.")
        self.index_changed = gauge("runabout_index_changed", "Runs that are newer than the index's files.")
        self.index_bytes = gauge("runabout_index_bytes", "Bytes of the index's files on the object storage.")
        self.index_mapped_bytes = gauge(
            "runabout_index_mapped_bytes", "Bytes that the index has mapped into memory from the scratch folder."
        )
        self.failures = Counter(
            "runabout_store_failures",
            "Attempts to seal or to make a checkpoint that failed and are made again.",
            ["work"],
            registry=registry,
        )
        self.read_only = gauge("runabout_store_read_only", "1 while no transaction is taken for want of room in etcd.")
        self.etcd_bytes = gauge("runabout_etcd_bytes", "Bytes of the file of etcd's fullest member.")
        self.etcd_used_bytes = gauge("runabout_etcd_used_bytes", "Bytes of it that are in use.")
        self.etcd_quota_bytes = gauge("runabout_etcd_quota_bytes", "Its quota; 0 where it has none.")
        self.etcd_quota_share = gauge("runabout_etcd_quota_share", "Share of the quota that the file has, from 0 to 1.")
        self.etcd_alarm = gauge("runabout_etcd_alarm", "1 while etcd's alarm NOSPACE is on.")
        self.ost_requests = Counter(
            "runabout_ost_requests",
            "Calls to the object storage that were answered.",
            ["operation", "kind"],
            registry=registry,
        )
        self.ost_errors = Counter(
            "runabout_ost_errors", "Calls to it that failed.", ["operation", "error"], registry=registry
        )
        self.ost_seconds = Histogram(
            "runabout_ost_seconds", "Duration of a call to it.", ["operation"], registry=registry, buckets=_LONG
        )
        self.ost_waiting = gauge("runabout_ost_waiting", "Calls to it under way for more than three seconds.")
        self.ost_bytes = Counter(
            "runabout_ost_bytes", "Bytes read and written there.", ["operation"], registry=registry
        )

    # told by the store

    def committed(self, *, transactions: int, size: int, seconds: float) -> None:
        """See `Observer.committed`."""
        self.transactions.inc(transactions)
        self.bytes.inc(size)
        self.batch_transactions.observe(transactions)
        self.batch_bytes.observe(size)
        self.batch_seconds.observe(seconds)

    def sealed(self, *, batches: int, size: int, seconds: float) -> None:  # noqa: ARG002 - the sequence says it
        """See `Observer.sealed`."""
        self.segments.inc()
        self.segment_bytes.inc(size)
        self.seal_seconds.observe(seconds)

    def covered(self, *, covers: int, seconds: float) -> None:
        """See `Observer.covered`."""
        self.covers.set(covers)
        self.checkpoint_seconds.observe(seconds)

    def failed(self, work: Work, error: Exception) -> None:
        """See `Observer.failed`."""
        self.failures.labels(work=work).inc()
        log.warning(
            "work on the store failed, will be tried again", work=work, error=f"{type(error).__name__}: {error}"
        )

    def recovers(self, recovery: Recovery) -> None:
        """See `Observer.recovers`."""
        log.warning("the store goes on from the object storage", why=str(recovery))

    def opening(self, step: Step) -> None:
        """See `Observer.opening`; logged now and then, if it takes long."""
        now = self._clock()
        if self._opening_said is None or step.done < self._opening_done:
            self._opening_said = now
        elif now - self._opening_said >= OPENING_SECONDS:
            self._opening_said = now
            log.info("opening the store", step=step.what, done=step.done, total=step.total or None, unit=step.unit)
        self._opening_done = step.done

    def space_seen(self, space: MemberSpace, quota: int | None, words: str) -> None:
        """See `Observer.space_seen`; what there is to say is logged once."""
        self.etcd_bytes.set(space.size)
        self.etcd_used_bytes.set(space.in_use)
        self.etcd_quota_bytes.set(quota or 0)
        self.etcd_quota_share.set(space.size / quota if quota else 0)
        self.etcd_alarm.set(space.full)
        if bool(words) != bool(self._words):
            log.warning("etcd is short of space" if words else "etcd has room again", space=words or None)
        self._words = words

    # told by the object storage

    def called(self, operation: Operation, key: str, *, seconds: float, size: int, error: OstError | None) -> None:
        """See `OstObserver.called`."""
        self.ost_seconds.labels(operation=operation).observe(seconds)
        if error is not None:
            self.ost_errors.labels(operation=operation, error=type(error).__name__).inc()
        else:
            self.ost_requests.labels(operation=operation, kind=kind_of(key)).inc()
        if size:
            self.ost_bytes.labels(operation=operation).inc(size)
        if operation == "write" and not isinstance(error, _OWN):
            if error is None:
                self._failing = None
            else:
                self._failing = (self._failing[0] if self._failing else self._clock() - seconds, error)

    # seen

    def look(self, now: Vitals) -> None:
        """Show how the store is doing."""
        self.sequence.set(now.sequence)
        self.queued.set(now.queued)
        self.stuck_seconds.set(now.stuck_seconds)
        self.unsealed.set(now.unsealed)
        self.unsealed_bytes.set(now.unsealed_bytes)
        self.lag_seconds.set(now.lag_seconds)
        self.covers.set(now.covers)
        self.uncovered_bytes.set(now.uncovered_bytes)
        self.read_only.set(bool(now.refusal))
        self.changed.set(now.changed)
        self.changed_bytes.set(now.changed_bytes)
        self._look_at_cache("groups", now.groups)
        self._look_at_cache("footers", now.footers)
        self.index_rows.set(now.index.rows)
        self.index_changed.set(now.index.changed)
        self.index_bytes.set(now.index.stored)
        self.index_mapped_bytes.set(now.index.mapped)

    def _look_at_cache(self, name: str, now: CacheUse) -> None:
        before = self._caches.get(name, CacheUse())
        if now.hits < before.hits or now.misses < before.misses:
            before = CacheUse()  # another store's, which begins to count
        self._caches[name] = now
        self.cache_bytes.labels(cache=name).set(now.size)
        self.cache_hits.labels(cache=name).inc(now.hits - before.hits)
        self.cache_misses.labels(cache=name).inc(now.misses - before.misses)

    @property
    def writes_fail(self) -> tuple[float, str]:
        """For how many seconds every write to the object storage has failed, and how; 0 while they do not."""
        if self._failing is None:
            return 0.0, ""
        since, error = self._failing
        return self._clock() - since, str(error)


def kind_of(key: str) -> str:
    """Return what an object is for, by its key."""
    parts = key.split("/")
    kind = parts[2] if parts[0] == "store" and len(parts) > 2 else parts[0]  # noqa: PLR2004 - store/<number>/<kind>
    return kind if kind in KINDS else "other"
