"""The made files are as they would be made now, and the definitions are fit for an API server."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from generation.files import REPOSITORY, expected, stale, update
from generation.reference import page
from runabout.resources.definitions import KINDS, RUN, Kind, definition

BYTES = 100_000
POD_API = {"affinity", "securityContext", "tolerations", "volumes"}
"""Pieces of the pod API that pass through, bounded in number only."""


def test_crds_and_reference_pages_are_up_to_date() -> None:
    assert [str(path.relative_to(REPOSITORY)) for path in stale()] == [], "run hack/generate"


def test_generate_repairs_what_drifted(tmp_path: Path) -> None:
    assert update(tmp_path) == sorted(expected(tmp_path))
    (tmp_path / "crds" / "runabout.dev_runs.yaml").write_text("something else")
    assert [path.name for path in stale(tmp_path)] == ["runabout.dev_runs.yaml"]
    update(tmp_path)
    assert not stale(tmp_path)


def test_all_definitions_together_stay_small() -> None:
    assert sum(len(path.read_bytes()) for path in (REPOSITORY / "crds").glob("*.yaml")) < BYTES


def test_a_made_file_says_what_the_definition_says() -> None:
    for kind in KINDS:
        text = (REPOSITORY / "crds" / f"runabout.dev_{kind.plural}.yaml").read_text()
        assert yaml.safe_load(text) == yaml.safe_load(yaml.safe_dump(definition(kind)))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_every_field_is_described_and_every_list_map_and_text_has_a_bound(kind: Kind) -> None:
    unbounded = []
    for path, schema in fields(root(kind), ""):
        if not schema.get("description"):
            unbounded.append(f"{path}: no description")
        unbounded += [f"{path}: {problem}" for problem in unlimited(schema)]
    assert not unbounded


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_only_pieces_of_the_pod_api_pass_through(kind: Kind) -> None:
    open_fields = {
        path.rsplit(".", maxsplit=1)[-1]
        for path, schema in fields(root(kind), "")
        if "x-kubernetes-preserve-unknown-fields" in (schema | schema.get("items", {}))
    }
    assert open_fields == POD_API


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_every_column_shows_a_value_of_its_type_never_a_list(kind: Kind) -> None:
    types = {path: schema["type"] for path, schema in fields(root(kind), "") if "type" in schema}
    shown = {column.path: column.type for column in kind.columns if "[" not in column.path}
    assert {path: types[path] for path in shown if path in types} == {
        path: type_ for path, type_ in shown.items() if not path.startswith(".metadata.")
    }


@pytest.mark.parametrize(
    ("priority", "names"),
    [
        (0, ["Phase", "Result", "Tasks", "Running", "Success", "Failed", "Reason", "Age"]),
        (1, ["Group", "Number", "Skipped", "Stopped", "ID", "Message"]),
    ],
)
def test_what_is_asked_for_more_seldom_is_shown_when_it_is_asked_for(priority: int, names: list[str]) -> None:
    assert [column.name for column in RUN.columns if column.priority == priority] == names


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_every_object_in_a_reference_page_is_linked_to_a_table_that_tells_of_its_own_fields(kind: Kind) -> None:
    tables = reference_tables(page(kind))
    for top, schema in root(kind)["properties"].items():
        linked = [(top, schema)]
        while linked:
            anchor, described = linked.pop()
            rows = tables[anchor]
            assert rows.keys() == described["properties"].keys(), anchor
            for name, child in described["properties"].items():
                assert child["description"].replace("<", "&lt;").replace("|", "\\|") in rows[name], (anchor, name)
                inner = child.get("items", child)
                found = re.search(r"\(#(\S+)\)\. \|$", rows[name])
                assert (found is not None) is ("properties" in inner), (anchor, name)
                if found is not None:
                    linked.append((found[1], inner))


def reference_tables(text: str) -> Mapping[str, Mapping[str, str]]:
    """Return the rows of each table of a page, by their first column, by the anchor of its heading."""
    found: dict[str, dict[str, str]] = {}
    for section in text.split("\n## ")[1:]:
        anchor = re.sub(r"[^a-z]", "", section.split("\n", 1)[0].lower())
        found[anchor] = {row[1]: row[0] for row in re.finditer(r"^\| `([^`]+)` \|.*\|$", section, re.MULTILINE)}
    return found


def root(kind: Kind) -> Mapping[str, Any]:
    made: Any = definition(kind)
    schema: Mapping[str, Any] = made["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return {"properties": {name: schema["properties"][name] for name in ("spec", "status")}}


def fields(schema: Mapping[str, Any], where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, child in schema.get("properties", {}).items():
        yield f"{where}.{name}", child
        yield from fields(child.get("items", child), f"{where}.{name}")


def unlimited(schema: Mapping[str, Any]) -> Iterator[str]:
    kind = schema.get("type")
    if kind == "string" and not ({"maxLength", "enum"} & schema.keys()):
        yield "a text without maxLength"
    if kind == "integer" and not {"minimum", "maximum"} <= schema.keys() and schema.get("format") != "int64":
        yield "an integer without bounds"
    if kind == "array":
        if "maxItems" not in schema or "x-kubernetes-list-type" not in schema:
            yield "a list without maxItems or kind"
        yield from unlimited(schema["items"])
    if kind == "object" and "properties" not in schema and "maxProperties" not in schema:
        yield "a map without maxProperties"
    if "additionalProperties" in schema:
        yield from unlimited(schema["additionalProperties"])
    if schema.get("x-kubernetes-int-or-string") and "maxLength" not in schema:
        yield "an integer or text without maxLength"
