"""Pod settings and environment: what runs, tasks and executors say about pods."""

from typing import Annotated

from pydantic import Field, StringConstraints

from runabout.resources.base import ENV_NAME, Model, Short, Text, keyed, passthrough

Labels = Annotated[dict[Short, Text], Field(max_length=64)]


class Requirement(Model):
    """One expression of a label selector."""

    key: Short = Field(description="Label key.")
    operator: Annotated[str, StringConstraints(max_length=16, pattern="^(In|NotIn|Exists|DoesNotExist)$")] = Field(
        description="In, NotIn, Exists or DoesNotExist."
    )
    values: Annotated[tuple[Short, ...], Field(max_length=64)] = Field(default=(), description="For In and NotIn.")


class Selector(Model):
    """A label selector; all parts have to hold, an empty one selects everything."""

    match_labels: Labels | None = Field(default=None, description="Labels and their values.")
    match_expressions: Annotated[tuple[Requirement, ...], Field(max_length=32)] = Field(
        default=(), description="Expressions over labels."
    )


class KeyRef(Model):
    """A key of a Secret or ConfigMap in the Run's namespace."""

    name: Short = Field(description="Name of the Secret or ConfigMap.")
    key: Short = Field(description="Key in it.")
    optional: bool = Field(default=False, description="Whether it may be missing; then the variable is not set.")


class ValueFrom(Model):
    """Where Kubernetes finds a value; exactly one."""

    secret_key_ref: KeyRef | None = Field(default=None, description="A key of a Secret.")
    config_map_key_ref: KeyRef | None = Field(default=None, description="A key of a ConfigMap.")


class Variable(Model):
    """An environment variable: a value, or where Kubernetes finds it."""

    name: Annotated[str, StringConstraints(pattern=ENV_NAME, min_length=1, max_length=253)] = Field(
        description="Name of the variable."
    )
    value: Annotated[str, StringConstraints(max_length=32_768)] | None = Field(default=None, description="Its value.")
    value_from: ValueFrom | None = Field(default=None, description="Where its value is found.")


def variables(description: str) -> tuple[Variable, ...]:
    """Declare a list of variables."""
    found: tuple[Variable, ...] = keyed(description, "name", limit=256)
    return found


class PodSettings(Model):
    """What the pods of tasks are made with: the task's settings over the run's over the executor's."""

    node_selector: Labels | None = Field(default=None, description="Node labels that are needed.")
    tolerations: tuple[dict[str, object], ...] | None = passthrough("As in a pod.")
    affinity: dict[str, object] | None = passthrough("As in a pod.")
    service_account_name: Short | None = Field(default=None, description="As in a pod; no token is mounted.")
    image_pull_secrets: tuple[dict[str, object], ...] | None = passthrough("As in a pod.")
    priority_class_name: Short | None = Field(default=None, description="As in a pod.")
    runtime_class_name: Short | None = Field(default=None, description="As in a pod.")
    security_context: dict[str, object] | None = passthrough("As in a pod.")
    volumes: tuple[dict[str, object], ...] | None = passthrough("As in a pod.")
    labels: Labels | None = Field(default=None, description="More labels of the pod.")
    annotations: Annotated[dict[Short, Text], Field(max_length=64)] | None = Field(
        default=None, description="More annotations of the pod."
    )
