"""Containers of a task: the first runs the steps, the others are services."""

from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from runabout.resources.environment import Environment
from runabout.resources.fields import (
    ENTRIES,
    LIST,
    AbsolutePath,
    Argument,
    DnsLabel,
    Failures,
    Image,
    ListAtomic,
    ListMap,
    Path,
    Port,
    PositiveSeconds,
    Quantity,
    Seconds,
    User,
)
from runabout.resources.model import Found, Model, Rule

Arguments = Annotated[tuple[Argument, ...], LIST, Field(max_length=64), ListAtomic()]
Quantities = Annotated[dict[str, Quantity], Field(max_length=16), ENTRIES]


class Resources(Model):
    """What a container asks for and may use, as in the pod API."""

    requests: Quantities | None = None
    """What is set aside for it, such as cpu: 500m."""
    limits: Quantities | None = None
    """What it cannot exceed, such as memory: 2Gi."""


class VolumeMount(Model):
    """Where one of the volumes in `pod.volumes` appears."""

    name: DnsLabel
    """Name of the volume."""
    mount_path: AbsolutePath
    """Directory in the container; /runabout is Runabout's own."""
    sub_path: Path | None = None
    """Directory in the volume; default: its root."""
    read_only: bool = False
    """Whether nothing can be written."""


class ExecProbe(Model):
    """A command in the container."""

    command: Annotated[tuple[Argument, ...], LIST, Field(min_length=1, max_length=64), ListAtomic()]
    """Program and arguments; exit code 0 means ready."""


class HttpProbe(Model):
    """A request to the container."""

    path: Path = "/"
    """What to ask for; any answer from 200 to 399 means ready."""
    port: Port
    """Port, 1 to 65535."""
    scheme: Literal["HTTP", "HTTPS"] = "HTTP"
    """With or without TLS."""


class TcpProbe(Model):
    """A connection to the container."""

    port: Port
    """Port, 1 to 65535."""


class Readiness(Model):
    """How to tell that a service is ready; the steps begin when all are."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "[has(self.exec), has(self.httpGet), has(self.tcpSocket)].filter(x, x).size() == 1",
            "expected exactly one of exec, httpGet, tcpSocket",
        ),
    )

    exec: ExecProbe | None = None
    """Run a command."""
    http_get: HttpProbe | None = None
    """Ask over HTTP."""
    tcp_socket: TcpProbe | None = None
    """Open a connection."""
    initial_delay_seconds: Seconds = 0
    """Wait before the first try."""
    period_seconds: PositiveSeconds = 1
    """Time between tries."""
    timeout_seconds: PositiveSeconds = 1
    """Time one try may take."""
    failure_threshold: Failures = 60
    """Tries until the task fails."""

    def broken(self) -> Iterable[Found]:
        """Return what is wrong with the object as a whole."""
        if [self.exec, self.http_get, self.tcp_socket].count(None) != 2:  # noqa: PLR2004 - one of three is set
            yield (), self.rules[0].message


class Container(Model):
    """A container of a task."""

    name: DnsLabel | None = None
    """Name, unique in the task; default: main for the first one, service-1, service-2, … for the others."""
    image: Image
    """Image, as in a pod."""
    environment: Environment = ()
    """Variables; weaker than the run's, and, for the steps, than the task's."""
    command: Arguments = ()
    """Entry point of a service; default: the image's."""
    args: Arguments = ()
    """Arguments of a service; default: the image's."""
    user: User | None = None
    """Who runs in it: NAME, UID, NAME:GROUP or UID:GID, for a service UID or UID:GID; default: the image's."""
    privileged: bool = False
    """Whether it may do everything on its node; only on executors that allow it."""
    resources: Resources | None = None
    """What it asks for and may use."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    """When to pull the image; default: Always for the tag latest, else IfNotPresent."""
    readiness: Readiness | None = None
    """How to tell that a service is ready."""
    volume_mounts: Annotated[tuple[VolumeMount, ...], LIST, Field(max_length=32), ListMap(("mountPath",))] = ()
    """Where volumes of the pod appear."""
