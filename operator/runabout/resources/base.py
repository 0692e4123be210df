"""What all models have in common: camelCase outside, snake_case inside; frozen; nothing unknown is accepted.

Every text, list and map has a bound, because the API server's cost limits for validation rules count with them and
because an object in etcd has to stay below a megabyte.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

DNS_LABEL = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
ENV_NAME = r"^[A-Za-z_][A-Za-z0-9_.-]*$"

Name = Annotated[str, StringConstraints(pattern=DNS_LABEL, min_length=1, max_length=63)]
"""A DNS label."""
Short = Annotated[str, StringConstraints(max_length=253)]
Text = Annotated[str, StringConstraints(max_length=1024)]
Long = Annotated[str, StringConstraints(max_length=4096)]
Seconds = Annotated[int, Field(ge=0, le=31_536_000)]
"""0 is no limit; at most a year."""
Count = Annotated[int, Field(ge=0, le=1_000_000)]


class Model(BaseModel):
    """A part of a resource."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True, strict=True)


def passthrough(description: str) -> Any:  # noqa: ANN401 - the value of a field declaration
    """Declare a field that is handed to the pod as it is; the pod's creation reports its errors."""
    return Field(
        default=None, description=description, json_schema_extra={"x-kubernetes-preserve-unknown-fields": True}
    )


def keyed(description: str, *keys: str, limit: int, **more: Any) -> Any:  # noqa: ANN401 - as above
    """Declare a list whose items are told apart by `keys`."""
    return Field(
        default=(),
        description=description,
        max_length=limit,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys), **more},
    )
