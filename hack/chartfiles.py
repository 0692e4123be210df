"""The parts of charts/runabout that are made from other files: its copies of crds/ and the table of its values.

`update` writes them, `stale` says which are not as they would be written. `main` is behind `hack/chart`.
"""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

REPOSITORY = Path(__file__).resolve().parent.parent
BEGIN = "<!-- values: made by hack/chart update -->"
END = "<!-- end of values -->"
NO_DEFINITIONS = frozenset({"approvals-policy.yaml"})
"""Files of crds/ that are ordinary manifests, which a template includes; the others are definitions."""
_LINE = re.compile(r"^(?P<indent> *)(?:- )?(?P<key>[A-Za-z0-9]+):(?P<value>[^#]*?)(?:\s#\s--\s(?P<text>.*)|\s#.*)?$")


@dataclass(frozen=True, slots=True)
class Value:
    """One documented value: its path, its default in YAML, and what it means."""

    path: str
    default: str
    text: str


def expected(repository: Path = REPOSITORY) -> dict[Path, str]:
    """Return every made file with what should be in it."""
    chart = repository / "charts" / "runabout"
    files: dict[Path, str] = {}
    for source in sorted((repository / "crds").glob("*.yaml")):
        folder = "files" if source.name in NO_DEFINITIONS else "crds"
        files[chart / folder / source.name] = source.read_text()
    readme = chart / "README.md"
    files[readme] = with_table(readme.read_text(), (chart / "values.yaml").read_text())
    return files


def stale(repository: Path = REPOSITORY) -> list[Path]:
    """Return the made files that are missing, differ, or should not be there."""
    chart = repository / "charts" / "runabout"
    wanted = expected(repository)
    there = {path for folder in ("crds", "files") for path in (chart / folder).glob("*.yaml")}
    different = {path for path, text in wanted.items() if not path.exists() or path.read_text() != text}
    return sorted(different | (there - wanted.keys()))


def update(repository: Path = REPOSITORY) -> list[Path]:
    """Write what is stale, remove what should not be there; return both."""
    changed, wanted = stale(repository), expected(repository)
    for path in changed:
        if path in wanted:
            path.parent.mkdir(exist_ok=True)
            path.write_text(wanted[path])
        else:
            path.unlink()
    return changed


def with_table(readme: str, values: str) -> str:
    """Return the README with the table of the values between its two marks.

    Raises:
        ValueError: a mark is missing, or a value is not documented.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the chart's README.md needs the lines {BEGIN} and {END}")
    rows = [f"| `{each.path}` | `{each.default}` | {each.text} |" for each in documented(values)]
    table = "\n".join(["| value | default | meaning |", "|---|---|---|", *rows])
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def documented(values: str) -> list[Value]:
    """Return the values of a values.yaml, each with the comment on its line.

    Raises:
        ValueError: a value without children has no comment, and none of its parents has one.
    """
    tree = yaml.safe_load(values)
    texts = dict(_comments(values))
    found: list[Value] = []
    _collect(tree, "", texts, found)
    return found


def _comments(values: str) -> Iterator[tuple[str, str]]:
    path: list[tuple[int, str]] = []
    for line in values.splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        indent = len(match["indent"])
        path = [step for step in path if step[0] < indent]
        path.append((indent, match["key"]))
        if match["text"]:
            yield ".".join(name for _, name in path), match["text"]


def _collect(tree: object, path: str, texts: dict[str, str], found: list[Value]) -> None:
    if path in texts:
        default = yaml.safe_dump(tree, default_flow_style=True, width=10_000, sort_keys=False)
        found.append(Value(path, default.removesuffix("\n").removesuffix("\n...").replace("|", "\\|"), texts[path]))
    elif isinstance(tree, dict) and tree:
        for key, value in tree.items():
            _collect(value, f"{path}.{key}" if path else str(key), texts, found)
    else:
        raise ValueError(f"charts/runabout/values.yaml: {path} has no comment that begins with '--'")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    parser = argparse.ArgumentParser(
        prog="hack/chart",
        description="charts/runabout has copies of crds/ and a table of its values in README.md. Both are made.",
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    verbs.add_parser("update", help="Write what has changed.")
    verbs.add_parser("check", help="Say what is not up to date; exit code 1 if anything is.")
    if parser.parse_args(argv).verb == "update":
        for path in update():
            print(f"updated {path.relative_to(REPOSITORY)}")
        return 0
    old = stale()
    for path in old:
        print(f"{path.relative_to(REPOSITORY)} is not up to date: hack/chart update", file=sys.stderr)
    return 1 if old else 0


if __name__ == "__main__":
    sys.exit(main())
