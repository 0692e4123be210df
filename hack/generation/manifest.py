"""Definitions as YAML: block style, but a schema without children stands on one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

HEADER = "# Made by hack/generate from operator/runabout/resources: change it there.\n"
WIDTH = 120


class _Dumper(yaml.SafeDumper):
    """Repeats instead of using anchors, and puts what is short on one line."""

    def ignore_aliases(self, data: object) -> bool:
        del data
        return True


def _mapping(dumper: _Dumper, data: Mapping[str, object]) -> yaml.MappingNode:
    leaf = "description" not in data and all(
        not isinstance(value, dict) and (not isinstance(value, list) or all(isinstance(item, str) for item in value))
        for value in data.values()
    )
    short = sum(len(str(key)) + len(str(value)) + 4 for key, value in data.items()) < WIDTH - 30
    return dumper.represent_mapping("tag:yaml.org,2002:map", data.items(), flow_style=leaf and short)


def _list(dumper: _Dumper, data: list[object]) -> yaml.SequenceNode:
    scalars = all(not isinstance(item, dict | list) for item in data)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=scalars)


_Dumper.add_representer(dict, _mapping)
_Dumper.add_representer(list, _list)


def text(manifest: Mapping[str, object]) -> str:
    """Return a manifest as the text of its file."""
    return HEADER + yaml.dump(
        dict(manifest), Dumper=_Dumper, sort_keys=False, width=WIDTH, allow_unicode=True, default_flow_style=False
    )
