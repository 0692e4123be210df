"""Records as bytes and back: compact JSON in which a field at its default is left out.

Decoding accepts what an older program wrote (missing fields take their defaults) and ignores fields that a newer one
added; anything else is a :class:`RecordError`.
"""

from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")

_ADAPTERS: dict[type, TypeAdapter[Any]] = {}
"""One compiled reader and writer for each record type."""


class RecordError(ValueError):
    """Bytes that are no record of the type they were read as."""


def _adapter(kind: type) -> TypeAdapter[Any]:
    adapter = _ADAPTERS.get(kind)
    if adapter is None:
        adapter = _ADAPTERS[kind] = TypeAdapter(kind)
    return adapter


def encode(record: object) -> bytes:
    """Return a record (one of the frozen dataclasses of this package) as JSON."""
    return _adapter(type(record)).dump_json(record, exclude_defaults=True)


def decode(kind: type[T], body: bytes) -> T:
    """Return the record of type `kind` in `body`.

    Raises:
        RecordError: `body` is not JSON, lacks a required field or has a value of another type.
    """
    try:
        return cast("T", _adapter(kind).validate_json(body))
    except ValidationError as error:
        raise RecordError(f"this is no {kind.__name__} record: {error}") from error
