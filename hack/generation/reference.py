"""The reference page of a kind: one table for each object in it, from the same schema as the definition."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from runabout.resources.check import API_VERSION
from runabout.resources.definitions import Kind, definition
from runabout.resources.run import IMMUTABLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Schema = Mapping[str, object]

INTRO = {
    "Run": """A graph of tasks. What it means stands in [the guide](../guides/runs.md); this page lists every field.
Fields of the spec cannot be changed once a Run exists, except where the table says so.
`runabout check FILE…` finds what is wrong with a file without a cluster.
""",
    "Executor": """A place where tasks may run: architectures, a number of tasks at once, and settings of their pods. It
belongs to the whole cluster, and every field can be changed at any time; tasks that run already are not touched.
""",
}


def page(kind: Kind) -> str:
    """Return the page of a kind."""
    made = definition(kind)
    (version,) = cast("list[Schema]", cast("Schema", made["spec"])["versions"])
    root = cast("Schema", cast("Schema", version["schema"])["openAPIV3Schema"])
    parts = cast("Mapping[str, Schema]", root["properties"])
    lines = [
        f"# {kind.kind}",
        "",
        "<!-- Made by hack/generate from operator/runabout/resources: change it there. -->",
        "",
        (
            f"`apiVersion: {API_VERSION}`, `kind: {kind.kind}`; "
            f"{'in a namespace' if kind.scope == 'Namespaced' else 'for the whole cluster'}; "
            f"`kubectl get {kind.plural}`, short `{', '.join(kind.short_names)}`."
        ),
        "",
        INTRO[kind.kind],
    ]
    seen: dict[str, str] = {}
    for name in ("spec", "status"):
        lines += _tables(name, parts[name], seen, kind)
    if kind.selectable:
        fields = ", ".join(f"`{path.removeprefix('.')}`" for path in kind.selectable)
        lines += ["## Field selectors", "", f"`kubectl get {kind.plural} --field-selector …` takes {fields}.", ""]
    return "\n".join(lines)


def _tables(path: str, schema: Schema, seen: dict[str, str], kind: Kind) -> Iterator[str]:
    """Yield the table of one object, then those of the objects in it."""
    properties = cast("Mapping[str, Schema]", schema.get("properties", {}))
    required = cast("list[str]", schema.get("required", []))
    yield from (f"## {path}", "", "| field | type | default | meaning |", "|---|---|---|---|")
    below: list[tuple[str, Schema]] = []
    for name, child in properties.items():
        inner = _object_in(child)
        where = f"{path}.{name}{'[]' if child.get('type') == 'array' else ''}"
        link = ""
        if inner is not None:
            shape = repr((inner["properties"], inner.get("required")))  # what its table would say, not its names alone
            if shape in seen:
                link = f" See [{seen[shape]}](#{_anchor(seen[shape])})."
            else:
                seen[shape] = where
                below.append((where, inner))
                link = f" See [below](#{_anchor(where)})."
        text = str(child.get("description", "")).replace("|", "\\|").replace("<", "&lt;")
        mutable = path == "spec" and kind.kind == "Run" and name not in IMMUTABLE
        note = " **Can be changed.**" if mutable else ""
        yield f"| `{name}` | {_type(child)} | {_default(child, required=name in required)} | {text}{note}{link} |"
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        yield "| … |  |  | Whatever else the pod API has here; passed through. |"
    yield ""
    for where, inner in below:
        yield from _tables(where, inner, seen, kind)


def _object_in(schema: Schema) -> Schema | None:
    items = schema.get("items")
    if isinstance(items, dict):
        return _object_in(items)
    return schema if schema.get("properties") else None


def _anchor(where: str) -> str:
    return "".join(character for character in where.lower() if character.isalnum() or character in "-_")


def _default(schema: Schema, *, required: bool) -> str:
    if required:
        return "required"
    if "default" not in schema:
        return ""
    value = schema["default"]
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{', '.join(map(str, value))}`" if isinstance(value, list | tuple) else f"`{value}`"


def _type(schema: Schema) -> str:
    if schema.get("x-kubernetes-int-or-string"):
        return "string or integer"
    choices = schema.get("enum")
    if isinstance(choices, list):
        return " \\| ".join(f"`{choice}`" for choice in choices)
    kind = schema.get("type")
    if kind == "array":
        items = cast("Schema", schema["items"])
        keys = schema.get("x-kubernetes-list-map-keys")
        by = f" by {', '.join(f'`{key}`' for key in keys)}" if isinstance(keys, list) else ""
        limit = f", ≤ {schema['maxItems']:,}" if "maxItems" in schema else ""
        least = f", ≥ {schema['minItems']}" if schema.get("minItems") else ""
        return f"list of {_type(items)}{by}{least}{limit}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"map to {_type(cast('Schema', schema['additionalProperties']))}, ≤ {schema['maxProperties']}"
    if kind == "integer":
        low, high = schema.get("minimum"), schema.get("maximum")
        return f"integer, {low:,} to {high:,}" if isinstance(low, int) and isinstance(high, int) else "integer"
    if kind == "string" and "maxLength" in schema:
        return f"string, ≤ {schema['maxLength']:,}"
    return "bool" if kind == "boolean" else str(kind)
