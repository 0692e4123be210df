"""Files that people write, as JSON values: YAML or JSON, from a file or from standard input.

As the API server's clients read them: a key that comes twice is an error, not a matter of which one wins; a date is a
text. JSON is read as JSON (YAML forbids the tabs that JSON allows).
"""

import json
import sys
from collections.abc import Hashable, Sequence
from pathlib import Path

import yaml

STDIN = Path("-")


class DocumentError(Exception):
    """A file that cannot be read as YAML or JSON; the message names file and place, and what is wrong there."""


class _Loader(yaml.CSafeLoader):
    """YAML as Kubernetes means it."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
        """Build a map; a key that comes twice is an error."""
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    "while reading a map", node.start_mark, f'the key "{key.value}" is there twice', key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def read_documents(path: Path) -> Sequence[object]:
    """Return the documents of a file (`-`: standard input); empty ones, between two separators, are left out.

    Raises:
        DocumentError: there is no such file, it cannot be read, or it is neither YAML nor JSON.
    """
    try:
        content = sys.stdin.buffer.read() if path == STDIN else path.read_bytes()
    except OSError as error:
        raise DocumentError(f"{path}: {error.strerror or error}") from error
    return parse_documents(content, str(path))


def parse_documents(content: bytes, name: str) -> Sequence[object]:
    """Return the documents in `content`; `name` is what messages call it.

    Raises:
        DocumentError: it is neither YAML nor JSON.
    """
    if content.lstrip()[:1] in (b"{", b"["):
        try:
            return (json.loads(content, object_pairs_hook=_once),)
        except DocumentError as error:
            raise DocumentError(f"{name}: {error}") from error
        except (ValueError, RecursionError):
            pass  # flow style of YAML, or nonsense: YAML's message says which
    try:
        documents = yaml.load_all(content, _Loader)
        return tuple(document for document in documents if document is not None)
    except yaml.YAMLError as error:
        raise DocumentError(f"{name}: no YAML or JSON: {error}") from error
    except RecursionError as error:
        raise DocumentError(f"{name}: nested too deeply") from error
    except (ValueError, TypeError, UnicodeError) as error:
        raise DocumentError(f"{name}: no YAML or JSON: {error}") from error


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise DocumentError(f'the key "{twice}" is there twice')
    return found
