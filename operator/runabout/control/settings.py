"""What an installation can set, read from the environment (prefix `RUNABOUT_`)."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from runabout.control.labelkeys import LabelKeys
from runabout.control.retention import Rule
from runabout.datamanager import Durability
from runabout.ost import OstSettings

OptionalFile = Annotated[Path | None, BeforeValidator(lambda value: value or None)]
"""A file that may be left out, also by an empty text: that is how people leave a variable out of a manifest."""


class Settings(BaseSettings):
    """The operator's settings; every one has a default that works on a local cluster."""

    model_config = SettingsConfigDict(env_prefix="RUNABOUT_", frozen=True)

    namespace: str = Field(default="default", description="Where the operator's own Lease lives.")
    pod_name: str = Field(default="", description="Identity in the Lease; empty: the host's name and process id.")
    lease: bool = Field(default=True, description="Whether replicas take turns by a Lease; False for a lone process.")

    etcd_endpoints: str = Field(default="http://127.0.0.1:2379", description="Comma-separated URLs.")
    etcd_ca_file: OptionalFile = None
    etcd_cert_file: OptionalFile = None
    etcd_key_file: OptionalFile = None
    etcd_user: str = Field(default="", description="User of etcd's own access control; empty: none.")
    etcd_password_file: OptionalFile = Field(
        default=None, description="File with the user's password, read again at each login."
    )
    etcd_quota_bytes: int = Field(
        default=0, ge=0, description="Quota of etcd's database, where it does not say so itself; 0: etcd's default."
    )
    store: int = Field(default=0, ge=0, le=255, description="Number of the store that this replica writes.")

    store_deadline_seconds: int = Field(
        default=3600, ge=1, description="How long a commit waits for etcd before the process ends and another begins."
    )
    durability: Durability = Field(
        default=Durability.ETCD,
        description="When a commit is acknowledged: `etcd` has it, or the `object` storage, too.",
    )
    indexed_labels: LabelKeys = Field(
        default=(), description="Labels of Runs by which runs can be found, with commas between them, at most 8."
    )

    ost: str = Field(default="file:///var/lib/runabout/ost", description="file:///DIR or s3://BUCKET/PREFIX")
    s3_endpoint: str = ""
    s3_region: str = "us-east-1"
    s3_path_style: bool = False
    s3_ca_file: OptionalFile = None

    scratch_dir: Path = Field(
        default=Path("/var/lib/runabout/scratch"),
        description="Where logs wait to be stored, and the run index is mapped from: some 50 bytes a run.",
    )
    toolbox_image: str = "runabout/toolbox:dev"
    toolbox_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    ttl_seconds_after_finished: int = Field(default=86_400, ge=0, description="When a Run goes; the record stays.")
    finalizer_deadline_seconds: int = Field(
        default=600, ge=1, description="How long a deletion may wait for the record."
    )
    storage_late_seconds: int = Field(
        default=600, ge=1, description="After which a run finishes without its logs stored."
    )
    relist_seconds: int = Field(
        default=300, ge=5, description="How often deletions that a watch missed are looked for."
    )

    retention: tuple[Rule, ...] = Field(
        default=(),
        description="How long runs, logs, archives and caches are kept, a JSON list of {group, days, runs, logDays, "
        "logRuns, archiveDays, archiveRuns, cacheDays, caches}.",
    )
    keep_events: int = Field(default=100_000, ge=1, description="Events that can be replayed, the newest ones.")
    event_days: int = Field(default=30, ge=0, description="Days that an event can be replayed; 0 is without a limit.")

    cache_days: int = Field(
        default=30, ge=0, description="Days after its writing that a cache is kept, where no rule says so; 0: for ever."
    )
    caches_per_group: int = Field(
        default=100, ge=0, description="How many caches of a group are kept, the newest ones; 0: all."
    )

    workers: int = Field(
        default=16, ge=1, description="Runs reconciled at once; more of them make a busy API server slower."
    )
    log_streams: int = Field(
        default=1000,
        ge=1,
        description="Pod logs followed at once; others are read when their containers end, as far as they are there.",
    )
    max_log_bytes: int = Field(
        default=2 * 1024**3, ge=1, description="Kept of one attempt's output; what follows is cut."
    )
    scratch_bytes: int = Field(
        default=6 * 1024**3,
        ge=1,
        description="All attempts' output in scratch_dir, less than the volume has; what exceeds it is cut.",
    )

    gateway_url: str = Field(
        default="", description="Where tasks reach the gateway, https://…; empty: there is none, and steps need none."
    )
    gateway_ca_file: OptionalFile = Field(
        default=None, description="PEM file of the authorities that tasks trust for the gateway and the object storage."
    )

    health_port: int = Field(default=8080, ge=0, le=65535)
    metrics_port: int = Field(default=9090, ge=0, le=65535)
    listen: str = Field(default="0.0.0.0", description="Address of the health and metrics endpoints.")  # noqa: S104 - probes come from the node
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"


def index_folder(settings: Settings) -> Path:
    """Return the folder of the run index's nameless files, which is there from now on.

    Raises:
        OSError: it cannot be made.
    """
    folder = settings.scratch_dir / "index"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def ost_settings(settings: Settings) -> OstSettings:
    """Return how the object storage is reached."""
    return OstSettings(
        url=settings.ost,
        s3_endpoint=settings.s3_endpoint,
        s3_region=settings.s3_region,
        s3_path_style=settings.s3_path_style,
        s3_ca_file=settings.s3_ca_file,
    )
