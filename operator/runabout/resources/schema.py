"""Structural OpenAPI schemas of the models, as the API server wants them in a definition.

What always holds: everything is inline and described, nothing says `anyOf` with null, every list says what kind of
list it is, and what the schema accepts the model accepts (rules in CEL have their likes in `Model.broken`).
"""

from collections.abc import Mapping
from typing import cast

from runabout.resources.model import Model, Rule

Schema = dict[str, object]

_KEPT = (
    "type",
    "format",
    "enum",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "minimum",
    "maximum",
    "x-kubernetes-int-or-string",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
)
_INT32 = 2**31


def structural(model: type[Model]) -> Schema:
    """Return the schema of an object of this model."""
    raw = cast("Schema", model.model_json_schema(by_alias=True, mode="validation"))
    definitions = cast("Mapping[str, Schema]", raw.get("$defs", {}))
    models = {kind.__name__: kind for kind in _all_models(Model)}
    return _object(raw, model, _Models(definitions, models))


class _Models:
    """The definitions that pydantic refers to, and the models they come from."""

    def __init__(self, definitions: Mapping[str, Schema], models: Mapping[str, type[Model]]) -> None:
        self.definitions = definitions
        self.models = models


def _all_models(model: type[Model]) -> list[type[Model]]:
    found = []
    for child in model.__subclasses__():
        found += [child, *_all_models(child)]
    return found


def _object(raw: Schema, model: type[Model], known: _Models) -> Schema:
    properties = cast("Mapping[str, Schema]", raw.get("properties", {}))
    made: Schema = {"type": "object"}
    made.update(model.schema_extra)
    if model.model_config.get("extra") == "allow":
        made["x-kubernetes-preserve-unknown-fields"] = True
        made["maxProperties"] = 8
    if raw.get("required"):
        made["required"] = raw["required"]
    if model.rules:
        made["x-kubernetes-validations"] = [_rule(rule) for rule in model.rules]
    made["properties"] = {name: _field(child, known) for name, child in properties.items()}
    return made


def _rule(rule: Rule) -> Schema:
    made: Schema = {"rule": rule.cel, "message": rule.message}
    if rule.field:
        made["fieldPath"] = f".{rule.field}"
    if rule.forbidden:
        made["reason"] = "FieldValueForbidden"
    return made


def _field(raw: Schema, known: _Models) -> Schema:
    made: Schema = {}
    description = raw.get("description")
    if isinstance(description, str):
        made["description"] = " ".join(description.split())
    default = raw.get("default")
    if default not in (None, [], {}):
        made["default"] = default
    return {**made, **_value(raw, known)}


def _value(raw: Schema, known: _Models) -> Schema:
    choices = raw.get("anyOf")
    if isinstance(choices, list):
        (chosen,) = [choice for choice in choices if choice != {"type": "null"}]
        return _value(chosen, known)
    reference = raw.get("$ref")
    if isinstance(reference, str):
        name = reference.rsplit("/", maxsplit=1)[-1]
        return _object(known.definitions[name], known.models[name], known)
    made = {key: raw[key] for key in _KEPT if key in raw}
    if "const" in raw:
        made = {"type": "string", "enum": [raw["const"]]}
    if made.get("type") == "integer":
        _integer(made)
    if isinstance(raw.get("items"), dict):
        made["items"] = _value(cast("Schema", raw["items"]), known)
    more = raw.get("additionalProperties")
    if isinstance(more, dict):
        made["additionalProperties"] = _value(more, known)
    if made.get("type") == "array" and "x-kubernetes-list-type" not in made:
        raise ValueError(f"a list without a kind: {raw}; mark it with ListMap, ListSet or ListAtomic")
    return made


def _integer(made: Schema) -> None:
    """Say the format instead of bounds that are just those of the format."""
    low, high = made.get("minimum"), made.get("maximum")
    small = isinstance(low, int) and isinstance(high, int) and low >= -_INT32 and high < _INT32
    made["format"] = "int32" if small else "int64"
    if not small:
        made.pop("minimum", None)
        made.pop("maximum", None)
