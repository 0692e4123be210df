"""Where in a file a field stands: from the path that an error names to a line and a column.

Paths are those of `runabout.resources.problems.path_text`. A path that leads nowhere, as one of a missing field does,
stands at what it would be part of.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import yaml

from runabout.resources.problems import MAX_PART, path_text

MERGE = "tag:yaml.org,2002:merge"
_NAME = re.compile(r"\.?([A-Za-z_][A-Za-z0-9_-]*…?)")
_NUMBER = re.compile(r"\[(\d+)\]")

_Field = tuple[yaml.Node, yaml.Node]
"""Key and value."""


@dataclass(frozen=True, slots=True)
class Place:
    """A line and a column, both from 1; no column where the file was not read as YAML."""

    line: int
    column: int | None = None

    def __str__(self) -> str:
        """Return it as editors and compilers write it after a file's name: `12:3`."""
        return str(self.line) if self.column is None else f"{self.line}:{self.column}"


@dataclass(slots=True)
class Places:
    """The places of all fields of one document; `root` is None where only the first line is known."""

    root: yaml.Node | None
    _fields: dict[int, Mapping[str, _Field]] = field(default_factory=dict)

    def find(self, path: str) -> Place:
        """Return where the field at the beginning of `path` stands: its key, or the item of a list.

        What follows the path, such as `: Required value`, is ignored.
        """
        if self.root is None:
            return Place(1)
        found, node, rest = self.root, self.root, path
        while rest:
            step = self._step(node, rest)
            if step is None:
                break
            found, node, rest = step
        return Place(found.start_mark.line + 1, found.start_mark.column + 1)

    def _step(self, node: yaml.Node, rest: str) -> tuple[yaml.Node, yaml.Node, str] | None:
        """Return what marks the next part of a path, its value, and the path from there on; None if there is none."""
        if isinstance(node, yaml.SequenceNode):
            number = _NUMBER.match(rest)
            if number is None or int(number[1]) >= len(node.value):
                return None
            item = node.value[int(number[1])]
            return item, item, rest[number.end() :]
        if isinstance(node, yaml.MappingNode):
            fields = self._fields_of(node)
            for part, length in _parts(rest):
                if part in fields:
                    return *fields[part], rest[length:]
        return None

    def _fields_of(self, node: yaml.MappingNode) -> Mapping[str, _Field]:
        if id(node) not in self._fields:
            self._fields[id(node)] = dict(_fields(node, set()))
        return self._fields[id(node)]


def _fields(node: yaml.MappingNode, seen: set[int]) -> Iterator[tuple[str, _Field]]:
    """Yield the fields of a map as parts of paths, the weakest first: what is merged, from the last source on."""
    seen.add(id(node))
    for key, value in reversed(node.value):
        if key.tag == MERGE:
            for source in reversed(value.value) if isinstance(value, yaml.SequenceNode) else (value,):
                if isinstance(source, yaml.MappingNode) and id(source) not in seen:
                    yield from _fields(source, seen)
    for key, value in node.value:
        if isinstance(key, yaml.ScalarNode) and key.tag != MERGE:
            yield path_text((key.value,)), (key, value)


def _parts(rest: str) -> Iterator[tuple[str, int]]:
    """Yield what the first part of a path may be, as `path_text` writes it alone, and how long it is there."""
    name = _NAME.match(rest)
    if name is not None:
        yield name[1], name.end()
    elif rest.startswith("["):
        end = rest.find("]")
        while 0 < end <= MAX_PART + 1:  # a bracket may be part of the key
            yield rest[: end + 1], end + 1
            end = rest.find("]", end + 1)
