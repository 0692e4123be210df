"""What is counted of the data layer."""

import pytest
from prometheus_client import CollectorRegistry

from runabout.control.storemetrics import StoreMetrics, kind_of
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
