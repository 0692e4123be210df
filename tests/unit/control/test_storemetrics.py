"""What is counted of the data layer."""

from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from runabout.control.storemetrics import StoreMetrics, kind_of
from runabout.datamanager import CacheUse, IndexSize, Vitals
from runabout.datamanager.progress import Step
from runabout.etcd import MemberSpace
from runabout.ost import InvalidKeyError, UnavailableError


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def test_what_the_store_tells_is_counted(registry: CollectorRegistry) -> None:
    metrics = StoreMetrics(registry)
    metrics.committed(transactions=3, size=1000, seconds=0.002)
    metrics.committed(transactions=1, size=200, seconds=0.002)
    metrics.sealed(batches=2, size=1300, seconds=0.1)
    metrics.covered(covers=7, seconds=2)
    metrics.failed("seal", UnavailableError("away"))
    metrics.space_seen(MemberSpace("m", 80, 60, 100, full=True), 100, "words")
    for name, value in {
        "runabout_store_transactions_total": 4,
        "runabout_store_bytes_total": 1200,
        "runabout_store_batch_seconds_count": 2,
        "runabout_store_batch_transactions_sum": 4,
        "runabout_store_segments_total": 1,
        "runabout_store_segment_bytes_total": 1300,
        "runabout_store_seal_seconds_count": 1,
        "runabout_store_checkpoint_seconds_sum": 2,
        "runabout_store_covers": 7,
        "runabout_etcd_bytes": 80,
        "runabout_etcd_used_bytes": 60,
        "runabout_etcd_quota_bytes": 100,
        "runabout_etcd_quota_share": 0.8,
        "runabout_etcd_alarm": 1,
    }.items():
        assert registry.get_sample_value(name) == value, name
    assert registry.get_sample_value("runabout_store_failures_total", {"work": "seal"}) == 1
    metrics.space_seen(MemberSpace("m", 80, 60, -1, full=False), None, "")
    assert registry.get_sample_value("runabout_etcd_quota_share") == 0


def test_an_opening_that_takes_long_is_logged_now_and_then(registry: CollectorRegistry) -> None:
    now = 0.0
    metrics = StoreMetrics(registry, clock=lambda: now)
    with capture_logs() as lines:
        for done in range(0, 1200, 100):  # a second each
            metrics.opening(Step("reading the log", done, 1200, "batches"))
            now += 1
    assert [(line["event"], line["step"], line["done"], line["total"]) for line in lines] == [
        ("opening the store", "reading the log", done, 1200) for done in (500, 1000)
    ]
    with capture_logs() as lines:
        metrics.opening(Step("reading it again", 1, 0, "batches"))
    assert lines == []


def test_what_is_seen_of_a_store_is_shown_and_what_only_grows_is_counted_across_stores(
    registry: CollectorRegistry,
) -> None:
    def value(name: str, cache: str) -> float | None:
        return registry.get_sample_value(name, {"cache": cache})

    metrics = StoreMetrics(registry)
    well = Vitals(
        sequence=9,
        queued=1,
        stuck_seconds=0,
        unsealed=2,
        unsealed_bytes=100,
        most_unsealed_bytes=200,
        lag_seconds=0.5,
        sealing_fails_seconds=0,
        sealing_trouble="",
        covers=5,
        uncovered_bytes=300,
        checkpoint_trouble="",
        changed=7,
        changed_bytes=4000,
        groups=CacheUse(5000, hits=10, misses=4),
        footers=CacheUse(600, hits=3, misses=1),
        index=IndexSize(rows=11, changed=12, stored=13, mapped=14),
        space=None,
        refusal="",
    )
    metrics.look(well)
    metrics.look(replace(well, groups=CacheUse(4000, hits=15, misses=4)))
    for name, expected in {
        "runabout_store_changed_documents": 7,
        "runabout_store_changed_bytes": 4000,
        "runabout_index_rows": 11,
        "runabout_index_changed": 12,
        "runabout_index_bytes": 13,
        "runabout_index_mapped_bytes": 14,
    }.items():
        assert registry.get_sample_value(name) == expected, name
    assert (value("runabout_store_cache_bytes", "groups"), value("runabout_store_cache_bytes", "footers")) == (
        4000,
        600,
    )
    assert value("runabout_store_cache_hits_total", "groups") == 15
    assert value("runabout_store_cache_misses_total", "groups") == 4
    assert value("runabout_store_cache_hits_total", "footers") == 3
    metrics.look(replace(well, groups=CacheUse(100, hits=2, misses=3)))
    assert value("runabout_store_cache_hits_total", "groups") == 17
    assert value("runabout_store_cache_misses_total", "groups") == 7


def test_calls_to_the_object_storage_are_counted_by_what_they_do_and_for_what(registry: CollectorRegistry) -> None:
    metrics = StoreMetrics(registry)
    metrics.called("write", "store/0/wal/01", seconds=0.1, size=50, error=None)
    metrics.called("write", "store/0/data/run/x.parquet", seconds=0.1, size=70, error=None)
    metrics.called("delete", "store/0/data/run/x.parquet", seconds=0.1, size=0, error=None)
    metrics.called("read", "logs/r/t/1/0", seconds=0.2, size=0, error=UnavailableError("away"))
    value = registry.get_sample_value
    assert value("runabout_ost_requests_total", {"operation": "write", "kind": "wal"}) == 1
    assert value("runabout_ost_requests_total", {"operation": "delete", "kind": "data"}) == 1
    assert value("runabout_ost_requests_total", {"operation": "read", "kind": "logs"}) is None
    assert value("runabout_ost_errors_total", {"operation": "read", "error": "UnavailableError"}) == 1
    assert value("runabout_ost_seconds_count", {"operation": "write"}) == 2
    assert value("runabout_ost_bytes_total", {"operation": "write"}) == 120


def fails(metrics: StoreMetrics) -> tuple[float, str]:
    return metrics.writes_fail


def test_it_is_known_since_when_every_write_has_failed(registry: CollectorRegistry) -> None:
    now = 100.0
    metrics = StoreMetrics(registry, clock=lambda: now)
    assert fails(metrics) == (0, "")
    metrics.called("write", "a", seconds=10, size=0, error=UnavailableError("one"))
    now = 130
    metrics.called("write", "b", seconds=5, size=0, error=UnavailableError("two"))
    metrics.called("read", "b", seconds=5, size=1, error=None)
    assert fails(metrics) == (40, "two")
    metrics.called("write", "b", seconds=5, size=1, error=None)
    assert fails(metrics) == (0, "")
    metrics.called("write", "\0", seconds=1, size=0, error=InvalidKeyError("a bad key says nothing about the storage"))
    assert fails(metrics) == (0, "")


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("store/0/wal/0000000000000001", "wal"),
        ("store/12/manifest/x", "manifest"),
        ("store/0/identity", "identity"),
        ("logs/1il7g1c000001/a/1/0", "logs"),
        ("probe/x", "probe"),
        ("", "other"),
        ("store/0/anything", "other"),
        ("users/own/file", "other"),
    ],
)
def test_kinds_of_objects_are_few_whatever_the_keys_are(key: str, kind: str) -> None:
    assert kind_of(key) == kind
