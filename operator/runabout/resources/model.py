"""The base of all models: strict as the API server is, and with rules that stand in CEL and in Python side by side.

What always holds: a value is never converted from one JSON type to another (an integral number may be written 5.0, as
in X
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Self, cast

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from runabout.resources.problems import Location

BROKEN_RULES = "broken_rules"
"""The type of the one validation error that carries all broken rules of an object, under `found` in its context."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A CEL rule for the API server; `field` is the child of the object that the error is about.

    A rule that only new objects can break (no `oldSelf` in it) has its like in Python in `Model.broken`.
    """

    cel: str
    message: str
    field: str = ""
    forbidden: bool = False


Found = tuple[Location, str]
"""A broken rule: where, relative to the object, and what to do."""


class Model(BaseModel):
    """An object in a resource."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        alias_generator=to_camel,
        validate_by_alias=True,
        validate_by_name=False,
        use_attribute_docstrings=True,
    )

    rules: ClassVar[tuple[Rule, ...]] = ()
    schema_extra: ClassVar[Mapping[str, object]] = {}
    """What goes into the object's OpenAPI schema besides its fields and rules."""

    def broken(self) -> Iterable[Found]:
        """Return what `rules` and `schema_extra` forbid, for objects whose fields are sound."""
        return ()

    @model_validator(mode="before")
    @classmethod
    def _nulls(cls, value: object) -> object:
        if not isinstance(value, dict) or all(item is not None for item in value.values()):
            return value
        known = {field.alias for field in cls.model_fields.values()}
        return {key: item for key, item in value.items() if item is not None or key not in known}

    @model_validator(mode="after")
    def _rules(self) -> Self:
        found = tuple(self.broken())
        if found:
            raise PydanticCustomError(BROKEN_RULES, "breaks its rules", {"found": found})
        return self


def broken_rules(context: Mapping[str, object]) -> tuple[Found, ...]:
    """Return what the context of a `broken_rules` error holds."""
    return cast("tuple[Found, ...]", context["found"])
