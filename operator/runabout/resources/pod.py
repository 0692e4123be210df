"""Pod settings: of an executor, over them a run's, over those a task's."""

from typing import Annotated

from pydantic import Field

from runabout.resources.fields import (
    ENTRIES,
    LIST,
    AnnotationText,
    DnsLabel,
    DnsName,
    LabelText,
    ListAtomic,
    ListMap,
    PassedOn,
)
from runabout.resources.model import Model


class PullSecret(Model):
    """A Secret with a registry's password."""

    name: DnsName
    """Its name, in the Run's namespace."""


class Volume(Model, extra="allow"):
    """A volume as in the pod API: a name and a source, which passes through."""

    name: DnsLabel
    """Name, for volumeMounts; those that begin with runabout- are Runabout's own."""


class PodDefaults(Model):
    """Settings for pods, as in the pod API. Maps are merged by key, named things by name, tolerations added up."""

    node_selector: Annotated[dict[str, LabelText], Field(max_length=32), ENTRIES] | None = None
    """Labels that a node must have."""
    tolerations: Annotated[tuple[PassedOn, ...], LIST, Field(max_length=32), ListAtomic()] = ()
    """Taints of nodes that do not keep the pod away; passed through."""
    affinity: PassedOn | None = None
    """Which nodes and neighbours are wanted; passed through."""
    service_account_name: DnsName | None = None
    """Service account of the pod; its token only with automountServiceAccountToken."""
    automount_service_account_token: bool | None = None
    """Whether containers get the service account's token, and its rights; default: false."""
    image_pull_secrets: Annotated[tuple[PullSecret, ...], LIST, Field(max_length=16), ListMap(("name",))] = ()
    """Secrets for pulling images."""
    priority_class_name: DnsName | None = None
    """Priority of the pod among all pods of the cluster."""
    runtime_class_name: DnsName | None = None
    """Which container runtime runs it."""
    security_context: PassedOn | None = None
    """The pod's security context; passed through."""
    volumes: Annotated[tuple[Volume, ...], LIST, Field(max_length=64), ListMap(("name",))] = ()
    """Volumes, for volumeMounts of the containers; passed through."""
    labels: Annotated[dict[str, LabelText], Field(max_length=64), ENTRIES] | None = None
    """Labels of the pod; those of runabout.dev are Runabout's own."""
    annotations: Annotated[dict[str, AnnotationText], Field(max_length=64), ENTRIES] | None = None
    """Annotations of the pod; those of runabout.dev are Runabout's own."""
