"""Files that people write, as JSON values: YAML or JSON, one or several documents, from a file or standard input.

Read as the API server's clients read them: a key that comes twice is an error, not a matter of which one wins; a date
is a text. What always holds: what comes out is JSON (text keys, finite numbers); aliases cannot make it larger than
`MAX_VALUES` values. JSON is read as JSON, since YAML forbids the tabs that JSON allows.
"""

import json
import math
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

import yaml

from runabout.client.places import MERGE, Places

MAX_LENGTH = 16 * 1024 * 1024
MAX_VALUES = 1_000_000
MAX_DEPTH = 100
MAX_DIGITS = 400
"""of an integer; JSON's largest number has 309."""
MAX_SHOWN = 32
MAX_PLACED = 1024 * 1024
"""Characters of a JSON file that is read a second time, as YAML, for the places of its fields."""

STDIN = Path("-")


class DocumentError(Exception):
    """A file that cannot be read as YAML or JSON; the message names file and place, and what is wrong there."""


class _BadError(ValueError):
    """What is wrong in a text, without the file's name."""


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file, and the line it begins at, from 1."""

    line: int
    value: object
    places: Callable[[], Places]
    """Where its fields stand. To be asked for where it is needed: JSON is read once more for it."""


class _Loader(yaml.CSafeLoader):
    """kubectl's reading of YAML: no dates, no sexagesimal numbers, y and n as words for bools, JSON's floats."""


_OWN = frozenset({"timestamp", "value", "bool", "int", "float"})
"""Tags that are resolved below, or not at all."""
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.rsplit(":", 1)[-1] not in _OWN]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool",
    re.compile(r"(?:y|Y|yes|Yes|YES|true|True|TRUE|on|On|ON|n|N|no|No|NO|false|False|FALSE|off|Off|OFF)$"),
    list("yYtToOnNfF"),
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int",
    re.compile(r"[-+]?(?:0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|(?:0|[1-9][0-9_]*))$"),
    list("-+0123456789"),
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    list("-+0123456789."),
)


def _integer(loader: _Loader, node: yaml.ScalarNode) -> int:
    given = loader.construct_scalar(node)
    text = given.replace("_", "").lower()
    sign = -1 if text.startswith("-") else 1
    digits = text.lstrip("+-")
    try:
        return sign * _whole(digits, 8 if digits.startswith("0") and digits.isdigit() else 0)
    except _BadError:
        raise
    except ValueError as error:
        raise _BadError(f"line {node.start_mark.line + 1}: {_shown(given)} is no integer") from error


def _float(loader: _Loader, node: yaml.ScalarNode) -> float:
    try:
        return float(loader.construct_yaml_float(node))
    except ValueError as error:
        text = _shown(loader.construct_scalar(node))
        raise _BadError(f"line {node.start_mark.line + 1}: {text} is no number") from error


def _bool(loader: _Loader, node: yaml.ScalarNode) -> bool:
    text = loader.construct_scalar(node)
    if text.lower() in {"y", "yes", "true", "on"}:
        return True
    if text.lower() in {"n", "no", "false", "off"}:
        return False
    raise _BadError(f"line {node.start_mark.line + 1}: {_shown(text)} is neither true nor false")


def _whole(text: str, base: int = 10) -> int:
    """Return the integer in a text; one with more digits than any field could take is none."""
    if len(text) > MAX_DIGITS:
        raise _BadError(f"{_shown(text)} is larger than any number here can be")
    return int(text, base)


def _shown(text: str) -> str:
    return f'"{text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"}"'


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[str, object]:
    made: dict[str, object] = {}
    merged: list[yaml.Node] = []
    for key_node, value_node in node.value:
        if key_node.tag == MERGE:
            merged.append(value_node)
            continue
        found = loader.construct_object(key_node, deep=True)
        if isinstance(found, dict | list):
            raise _BadError(f"line {key_node.start_mark.line + 1}: a key must be a text")
        key = _key(found)
        if key in made:
            raise _BadError(f'line {key_node.start_mark.line + 1}: "{key}" is there twice')
        made[key] = loader.construct_object(value_node, deep=True)
    for value_node in merged:
        for source in value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]:
            found = loader.construct_object(source, deep=True)
            if not isinstance(found, dict):
                raise _BadError(f"line {source.start_mark.line + 1}: only maps can be merged into one")
            for key, value in found.items():
                made.setdefault(key, value)  # own keys and earlier sources are stronger
    return made


_Loader.add_constructor("tag:yaml.org,2002:bool", _bool)
_Loader.add_constructor("tag:yaml.org,2002:int", _integer)
_Loader.add_constructor("tag:yaml.org,2002:float", _float)
_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def read_documents(path: Path) -> Sequence[object]:
    """Return the documents of a file (`-`: standard input); empty ones, between two separators, are left out.

    Raises:
        DocumentError: there is no such file, it cannot be read, or it is neither YAML nor JSON.
    """
    return [document.value for document in iterate_documents(path)]


def iterate_documents(path: Path) -> Iterator[Document]:
    """Yield what `read_documents` returns, with lines; the documents before one that cannot be read still come.

    Raises:
        DocumentError: as above.
    """
    try:
        content = sys.stdin.buffer.read() if path == STDIN else path.read_bytes()
    except OSError as error:
        raise DocumentError(f"{path}: cannot be read: {error.strerror or error}") from error
    try:
        yield from _documents(content.decode("utf-8-sig"))
    except UnicodeError as error:
        raise DocumentError(f"{path}: no UTF-8 text: {error}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
        raise DocumentError(f"{path}: no YAML or JSON: {where}{error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise DocumentError(f"{path}: no YAML or JSON: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise DocumentError(f"{path}: nested too deeply") from error
    except (ValueError, OverflowError) as error:
        raise DocumentError(f"{path}: {error}") from error


def _documents(text: str) -> Iterator[Document]:
    if len(text) > MAX_LENGTH:
        raise _BadError(f"longer than {MAX_LENGTH} characters")
    if text.lstrip()[:1] in {"{", "["}:
        try:
            value = json.loads(text, object_pairs_hook=_once, parse_int=_whole)
        except json.JSONDecodeError:
            pass  # flow style of YAML, or nonsense: YAML's message says which
        else:
            yield Document(1, _Json().value(value), partial(_places_in_json, text))
            return
    shallow = _shallow_documents(text)
    loader = _Loader(text)
    try:
        for number in count():
            if number == shallow:
                raise _BadError(f"nested more than {MAX_DEPTH} levels deep")
            if not loader.check_node():
                return
            node = loader.get_node()
            if node is None:
                continue
            value = loader.construct_document(node)
            if value is not None:
                yield Document(node.start_mark.line + 1, _Json().value(value), partial(Places, node))
    finally:
        loader.dispose()


def _places_in_json(text: str) -> Places:
    """Return the places in a JSON text, as far as YAML can read it: it forbids some of the tabs that JSON allows."""
    if len(text) > MAX_PLACED or _shallow_documents(text) is not None:
        return Places(None)
    try:
        return Places(yaml.compose(text, _Loader))
    except yaml.YAMLError:
        return Places(None)


def _shallow_documents(text: str) -> int | None:
    """Return how many documents come before one that is nested too deep, None if none is.

    Looked for first: the parser's own recursion would end the process.
    """
    documents = depth = 0
    try:
        for event in yaml.parse(text, yaml.CSafeLoader):
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > MAX_DEPTH:
                    return documents
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            elif isinstance(event, yaml.DocumentEndEvent):
                documents += 1
    except yaml.YAMLError:
        return None  # the parser comes to it after the documents before it
    return None


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise _BadError(f'"{key}" is there twice')
        found[key] = value
    return found


class _Json:
    """Turns what YAML can say into what JSON can say, counting."""

    def __init__(self) -> None:
        self._count = 0

    def value(self, value: object, depth: int = 0) -> object:
        """Return `value` as JSON."""
        self._count += 1
        if self._count > MAX_VALUES or depth > MAX_DEPTH:
            raise _BadError("nested too deeply, or too large once its aliases are resolved")
        if isinstance(value, dict):
            return {_text(_key(key)): self.value(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item, depth + 1) for item in value]
        if isinstance(value, float) and not math.isfinite(value):
            raise _BadError(f"{value} is no number in JSON; put it in quotes if a text is meant")
        if isinstance(value, str):
            return _text(value)
        if value is None or isinstance(value, bool | int | float):
            return value
        raise _BadError(f"a value of type {type(value).__name__} is not possible in JSON")


def _text(text: str) -> str:
    """Return a text with halves of characters, which JSON can write, replaced as the API server does."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _key(key: object) -> str:
    if isinstance(key, bool):
        return "true" if key else "false"
    return "null" if key is None else str(key)
