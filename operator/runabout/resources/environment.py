"""Environment variables: a value, or the key of a Secret or ConfigMap in the Run's namespace."""

from collections.abc import Iterable, Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from runabout.resources.fields import LIST, DataKey, DnsName, ListMap, VariableName, VariableValue
from runabout.resources.model import Found, Model


class KeyRef(Model):
    """One key of a Secret or ConfigMap."""

    name: DnsName
    """Its name, in the Run's namespace."""
    key: DataKey
    """Which of its keys."""
    optional: bool = False
    """Whether it may be missing; otherwise the task waits, then fails."""


class ValueSource(Model):
    """Where Kubernetes finds a value: exactly one of the two."""

    schema_extra: ClassVar[Mapping[str, object]] = {"minProperties": 1, "maxProperties": 1}

    secret_key_ref: KeyRef | None = None
    """A key of a Secret; in no record, masked in logs (from 4 bytes on)."""
    config_map_key_ref: KeyRef | None = None
    """A key of a ConfigMap."""

    def broken(self) -> Iterable[Found]:
        """Return what is wrong with the object as a whole."""
        if (self.secret_key_ref is None) == (self.config_map_key_ref is None):
            yield (), "expected exactly one of secretKeyRef, configMapKeyRef"


class EnvironmentVariable(Model):
    """A variable with exactly one of `value` and `valueFrom`."""

    schema_extra: ClassVar[Mapping[str, object]] = {"minProperties": 2, "maxProperties": 2}
    """The name and one other field. A rule in CEL would say it better, but costs more than is allowed at this depth."""

    name: VariableName
    """Name; those that begin with RUNABOUT_ are Runabout's own."""
    value: VariableValue | None = None
    """The value, as it is: nothing in it is expanded."""
    value_from: ValueSource | None = None
    """Where Kubernetes finds the value."""

    def broken(self) -> Iterable[Found]:
        """Return what is wrong with the object as a whole."""
        if (self.value is None) == (self.value_from is None):
            yield (), "expected exactly one of value, valueFrom"


Environment = Annotated[tuple[EnvironmentVariable, ...], LIST, Field(max_length=256), ListMap(("name",))]
