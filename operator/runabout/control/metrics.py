"""What the operator counts; every name begins with `runabout_`.

One object is made for each process and handed to the parts, so that tests can have several.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from runabout.control.storemetrics import StoreMetrics

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The operator's metrics in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self.reconciles = Counter("runabout_reconciles", "Passes over a run.", registry=registry)
        self.reconcile_errors = Counter(
            "runabout_reconcile_errors", "Passes that failed and are tried again.", ["error"], registry=registry
        )
        self.removed = Counter("runabout_removed", "Removed by retention.", ["what"], registry=registry)
        self.reconcile_seconds = Histogram(
            "runabout_reconcile_seconds", "Duration of one pass.", registry=registry, buckets=_SECONDS
        )
        self.child_start_seconds = Histogram(
            "runabout_child_start_seconds",
            "From the news that a task's last parent ended to the creation of the task's pod.",
            registry=registry,
            buckets=_SECONDS,
        )
        self.queue_length = Gauge("runabout_queue_length", "Runs that wait to be looked at.", registry=registry)
        self.live_runs = Gauge("runabout_live_runs", "Runs that are queued or running.", registry=registry)
        self.waiting_tasks = Gauge("runabout_waiting_tasks", "Tasks that wait for an executor.", registry=registry)
        self.runs_ended = Counter(
            "runabout_runs_ended", "Runs that ended, by phase and result.", ["phase", "result"], registry=registry
        )
        self.pods_created = Counter("runabout_pods_created", "Task pods created.", registry=registry)
        self.attempts_lost = Counter(
            "runabout_attempts_lost", "Attempts that the machinery lost, by reason.", ["reason"], registry=registry
        )
        self.attempts_failed = Counter(
            "runabout_attempts_failed",
            "Attempts that failed by themselves and are tried again, by reason.",
            ["reason"],
            registry=registry,
        )
        self.strays_removed = Counter(
            "runabout_strays_removed",
            "Pods removed because their attempt was over before they appeared.",
            registry=registry,
        )
        self.api_requests = Counter(
            "runabout_api_requests", "Requests to the API server.", ["verb", "resource", "code"], registry=registry
        )
        self.commits = Counter("runabout_commits", "Transactions acknowledged by the store.", registry=registry)
        self.commit_seconds = Histogram(
            "runabout_commit_seconds", "Duration of a transaction.", registry=registry, buckets=_SECONDS
        )
        self.log_streams = Gauge("runabout_log_streams", "Pod logs being followed.", registry=registry)
        self.log_bytes = Counter("runabout_log_bytes", "Bytes of task output stored.", registry=registry)
        self.logs_waiting = Gauge("runabout_logs_waiting", "Logs that wait for the object storage.", registry=registry)
        self.logs_late = Counter(
            "runabout_logs_late", "Logs that were stored after their run had ended.", registry=registry
        )
        self.records_unreadable = Counter(
            "runabout_records_unreadable", "Runs left alone because their record cannot be read.", registry=registry
        )
        self.finalizers_forced = Counter(
            "runabout_finalizers_forced",
            "Runs released at the finalizer's deadline, before record and logs were stored.",
            registry=registry,
        )
        self.store = StoreMetrics(registry)
        self.active = Gauge("runabout_active", "1 on the replica that holds the Lease.", registry=registry)
