"""The types of fields: texts, numbers, lists and maps with their bounds.

Each pattern has its meaning in words in `MEANINGS`, for messages. Patterns are anchored and mean the same in RE2 (the
API server), Rust (pydantic) and Python.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    Strict,
    WithJsonSchema,
)
from pydantic import JsonValue as PydanticJson
from pydantic.alias_generators import to_snake
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from runabout.resources.model import BROKEN_RULES, Found

T = TypeVar("T")

DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
MAX_ARCH = 32
ARCH = r"^[a-z0-9]([a-z0-9_-]*[a-z0-9])?$"
VARIABLE = r"^[-._a-zA-Z][-._a-zA-Z0-9]*$"
GROUP_PATH = r"^(/([^/%\x00-\x20\x7f]|%[0-9A-Fa-f]{2})+){2,}$"
DATA_KEY = r"^[-._a-zA-Z0-9]+$"
ABSOLUTE = r"^/"
NOT_BLANK = r"[^\x00-\x20]"
QUANTITY = (
    r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)"
    r"([KMGTPE]i|[numkMGTPE]|[eE][+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+))?$"
)

MEANINGS = {
    DNS_LABEL: 'lower-case letters, digits and "-", beginning and ending with a letter or digit',
    DNS_NAME: 'lower-case letters, digits, "-" and ".", beginning and ending with a letter or digit',
    ARCH: "an architecture as Kubernetes names it, such as amd64 or arm64",
    VARIABLE: 'letters, digits, "-", "_" and ".", not beginning with a digit',
    GROUP_PATH: 'an absolute path of at least two elements, such as /project/web; spaces and "%" percent-encoded',
    DATA_KEY: 'letters, digits, "-", "_" and "."',
    ABSOLUTE: 'an absolute path, beginning with "/"',
    QUANTITY: "a quantity such as 500m, 1.5, 2Gi",
    NOT_BLANK: "something besides white space",
}
"""What each pattern asks for, in words."""


def _integral(value: object) -> object:
    """JSON knows one kind of number: 5.0 is an integer, to the API server too."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _int_or_string(value: object) -> object:
    value = _integral(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value


Int64 = Annotated[int, Field(ge=-(2**63), le=2**63 - 1), BeforeValidator(_integral)]
Priority = Annotated[int, Field(ge=-(2**31), le=2**31 - 1), BeforeValidator(_integral)]
Seconds = Annotated[int, Field(ge=0, le=31_536_000), BeforeValidator(_integral)]
"""At most a year."""
PositiveSeconds = Annotated[int, Field(ge=1, le=31_536_000), BeforeValidator(_integral)]
Slots = Annotated[int, Field(ge=0, le=100_000), BeforeValidator(_integral)]
Count = Annotated[int, Field(ge=0, le=2**31 - 1), BeforeValidator(_integral)]
RetryLimit = Annotated[int, Field(ge=0, le=100), BeforeValidator(_integral)]
ExitCode = Annotated[int, Field(ge=1, le=255), BeforeValidator(_integral)]
Depth = Annotated[int, Field(ge=0, le=1_000_000), BeforeValidator(_integral)]
Approvals = Annotated[int, Field(ge=1, le=100), BeforeValidator(_integral)]
Failures = Annotated[int, Field(ge=1, le=10_000), BeforeValidator(_integral)]

DnsLabel = Annotated[str, Field(min_length=1, max_length=63, pattern=DNS_LABEL)]
DnsName = Annotated[str, Field(min_length=1, max_length=253, pattern=DNS_NAME)]
Arch = Annotated[str, Field(min_length=1, max_length=MAX_ARCH, pattern=ARCH)]
VariableName = Annotated[str, Field(min_length=1, max_length=128, pattern=VARIABLE)]
VariableValue = Annotated[str, Field(max_length=32_000)]
"""Linux hands no variable above 128 KiB to a program: 4 bytes for each character, and the name."""
DataKey = Annotated[str, Field(min_length=1, max_length=253, pattern=DATA_KEY)]
GroupPath = Annotated[str, Field(min_length=4, max_length=1024, pattern=GROUP_PATH)]
Image = Annotated[str, Field(min_length=1, max_length=512, pattern=NOT_BLANK)]
Path = Annotated[str, Field(min_length=1, max_length=1024)]
AbsolutePath = Annotated[str, Field(min_length=1, max_length=1024, pattern=ABSOLUTE)]
Url = Annotated[str, Field(min_length=1, max_length=2048, pattern=NOT_BLANK)]
Argument = Annotated[str, Field(max_length=32_000)]
Shell = Annotated[str, Field(min_length=1, max_length=1024, pattern=NOT_BLANK)]
Script = Annotated[str, Field(min_length=1, max_length=15_360)]
"""64 of them fit the mebibyte that one plan may have."""
Name = Annotated[str, Field(min_length=1, max_length=256)]
"""A name that somebody else gives: of a user, of a group of users, of a reference."""
LabelText = Annotated[str, Field(max_length=63)]
AnnotationText = Annotated[str, Field(max_length=16_384)]
Message = Annotated[str, Field(max_length=4096)]
Word = Annotated[str, Field(max_length=64)]
Time = Annotated[str, Field(max_length=64), WithJsonSchema({"type": "string", "format": "date-time", "maxLength": 64})]

User = Annotated[
    str,
    Field(max_length=128),
    BeforeValidator(_int_or_string),
    WithJsonSchema({"x-kubernetes-int-or-string": True, "maxLength": 128}),
]
MatrixValue = Annotated[
    str,
    Field(min_length=1, max_length=128),
    BeforeValidator(_int_or_string),
    WithJsonSchema({"x-kubernetes-int-or-string": True, "minLength": 1, "maxLength": 128}),
]
Quantity = Annotated[
    str,
    Field(max_length=64, pattern=QUANTITY),
    BeforeValidator(_int_or_string),
    WithJsonSchema({"x-kubernetes-int-or-string": True, "maxLength": 64, "pattern": QUANTITY}),
]
Port = Annotated[
    str,
    Field(min_length=1, max_length=15),
    BeforeValidator(_int_or_string),
    WithJsonSchema({"x-kubernetes-int-or-string": True, "minLength": 1, "maxLength": 15}),
]

PassedOn = Annotated[
    dict[str, PydanticJson],
    Field(max_length=64),
    WithJsonSchema({"type": "object", "x-kubernetes-preserve-unknown-fields": True, "maxProperties": 64}),
]
"""A piece of the pod API that goes into the pod as it is."""


def _entries(value: object) -> object:
    """An entry that is null is as good as absent, to the API server too."""
    if isinstance(value, dict) and None in value.values():
        return {key: item for key, item in value.items() if item is not None}
    return value


ENTRIES = BeforeValidator(_entries)
"""Marks a map whose values are not null."""


@dataclass(frozen=True, slots=True)
class ListMap:
    """Marks a list whose objects are told apart by `keys`; two with the same are refused."""

    keys: tuple[str, ...]

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Add the check to the list's own."""
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Say so in the OpenAPI schema."""
        made = handler(schema)
        made["x-kubernetes-list-type"] = "map"
        made["x-kubernetes-list-map-keys"] = list(self.keys)
        return made

    def _check(self, items: tuple[BaseModel, ...]) -> tuple[BaseModel, ...]:
        names = [to_snake(key) for key in self.keys]
        return _unique(items, [tuple(getattr(item, name) for name in names) for item in items])


@dataclass(frozen=True, slots=True)
class ListSet:
    """Marks a list of scalars in which nothing comes twice."""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Add the check to the list's own."""
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Say so in the OpenAPI schema."""
        made = handler(schema)
        made["x-kubernetes-list-type"] = "set"
        return made

    def _check(self, items: tuple[Hashable, ...]) -> tuple[Hashable, ...]:
        return _unique(items, [(item,) for item in items])


@dataclass(frozen=True, slots=True)
class ListAtomic:
    """Marks a list that is always replaced as a whole."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Say so in the OpenAPI schema."""
        made = handler(schema)
        made["x-kubernetes-list-type"] = "atomic"
        return made


def _unique(items: tuple[T, ...], keys: Sequence[tuple[Hashable, ...]]) -> tuple[T, ...]:
    seen: dict[tuple[Hashable, ...], int] = {}
    found: list[Found] = []
    for place, key in enumerate(keys):
        if key in seen:
            text = ", ".join(str(part) for part in key)
            found.append(((place,), f'Duplicate value: "{text}": also at [{seen[key]}]; every entry needs its own'))
        else:
            seen[key] = place
    if found:
        raise PydanticCustomError(BROKEN_RULES, "has duplicates", {"found": tuple(found)})
    return items


LIST = Strict(strict=False)
"""Lets a list become a tuple; what is in it stays strict."""
