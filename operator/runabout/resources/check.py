"""Checks a whole document, a Run or an Executor, as the API server would: all problems at once."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import ValidationError

from runabout.resources.errors import json_type, problems, shown
from runabout.resources.executor import ExecutorSpec
from runabout.resources.fields import DNS_LABEL, DNS_NAME, MEANINGS
from runabout.resources.model import Model
from runabout.resources.problems import Problem, path_text
from runabout.resources.run import RunSpec

SpecT = TypeVar("SpecT", bound=Model)

API_VERSION = "runabout.dev/v1alpha1"
KINDS = ("Run", "Executor")
MAX_NAME = 253
MAX_DEPTH = 64
"""Levels of nesting in a spec; pieces of the pod API need a dozen. Pieces that pass through have no schema to bound
them, and what is nested deeper than a parser goes could be stored and never read again."""
SHOWN_DEPTH = 6
MAX_LABEL = 63
"""Characters of a namespace, of a label's value, and of its name without domain."""
MAX_ANNOTATIONS = 256 * 1024
"""Bytes of all annotations together."""
_LABEL_NAME = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE = rf"({_LABEL_NAME})?"
_LABEL_WORDS = 'letters, digits, "-", "_" and ".", beginning and ending with a letter or digit'
_FIELDS = ("apiVersion", "kind", "metadata", "spec", "status")


@dataclass(frozen=True, slots=True)
class CheckedRun:
    """A Run that the API server would take. `name` is the prefix of a name to come where generateName is used."""

    name: str
    namespace: str
    spec: RunSpec
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CheckedExecutor:
    """An Executor that the API server would take."""

    name: str
    spec: ExecutorSpec


@dataclass(frozen=True, slots=True)
class _Metadata:
    name: str
    namespace: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


def check(document: object) -> CheckedRun | CheckedExecutor | tuple[Problem, ...]:
    """Return the resource in `document` (JSON as Python values), or everything the API server would refuse in it.

    What only the operator finds (cycles, unknown tasks…) is not looked for here. Never raises, whatever is put in.
    """
    if not isinstance(document, Mapping):
        return (Problem("", f"expected a Run or an Executor, found {_article(json_type(document))}"),)
    kind = document.get("kind")
    if document.get("apiVersion") != API_VERSION or kind not in KINDS:
        return _foreign(document)
    found = [
        Problem(path_text((str(key),)), f"unknown field; there are {', '.join(_FIELDS)}")
        for key in document
        if key not in _FIELDS
    ]
    metadata = _metadata(document.get("metadata"), found)
    if kind == "Run":
        run = _spec(document, RunSpec, found)
        if run is None or found:
            return tuple(found)
        return CheckedRun(
            name=metadata.name,
            namespace=metadata.namespace,
            spec=run,
            labels=metadata.labels,
            annotations=metadata.annotations,
        )
    executor = _spec(document, ExecutorSpec, found)
    if metadata.namespace:
        found.append(Problem("metadata.namespace", "Executors belong to the whole cluster: remove the namespace"))
    if executor is None or found:
        return tuple(found)
    return CheckedExecutor(name=metadata.name, spec=executor)


def run_spec(spec: object) -> RunSpec | tuple[Problem, ...]:
    """Return the spec of a Run, or everything that is wrong with it, with paths from `spec` on."""
    found: list[Problem] = []
    made = _spec({"spec": spec}, RunSpec, found)
    return made if made is not None else tuple(found)


def _foreign(document: Mapping[object, object]) -> tuple[Problem, ...]:
    found = []
    if document.get("apiVersion") != API_VERSION:
        value = document.get("apiVersion")
        found.append(
            Problem("apiVersion", f"Unsupported value: {shown(value)}: expected {API_VERSION}")
            if value is not None
            else Problem("apiVersion", f"Required value: {API_VERSION}")
        )
    if document.get("kind") not in KINDS:
        value = document.get("kind")
        found.append(
            Problem("kind", f"Unsupported value: {shown(value)}: supported values: {', '.join(KINDS)}")
            if value is not None
            else Problem("kind", f"Required value: {' or '.join(KINDS)}")
        )
    return tuple(found)


def _spec(document: Mapping[object, object], model: type[SpecT], found: list[Problem]) -> SpecT | None:
    if document.get("spec") is None:
        found.append(Problem("spec", "Required value"))
        return None
    too_deep = _too_deep(document["spec"])
    if too_deep is not None:
        found.append(too_deep)
        return None
    try:
        return model.model_validate(document["spec"])
    except ValidationError as error:
        found.extend(problems(error, model, start="spec"))
        return None


def _too_deep(spec: object) -> Problem | None:
    """Return what is nested too deep, whatever its depth; None if nothing is."""
    pending: list[tuple[object, tuple[str | int, ...]]] = [(spec, ())]
    while pending:
        value, path = pending.pop()
        if len(path) >= MAX_DEPTH:
            where = path_text(path[:SHOWN_DEPTH], start="spec")
            return Problem(where, f"Invalid value: nested more than {MAX_DEPTH} levels deep")
        if isinstance(value, Mapping):
            pending.extend((item, (*path, str(key))) for key, item in value.items() if isinstance(item, Mapping | list))
        elif isinstance(value, list):
            pending.extend(
                (item, (*path, place)) for place, item in enumerate(value) if isinstance(item, Mapping | list)
            )
    return None


def _metadata(value: object, found: list[Problem]) -> _Metadata:
    if value is None:
        value = {}
    if not isinstance(value, Mapping):
        found.append(Problem("metadata", f"Invalid value: must be of type object, not {json_type(value)}"))
        return _Metadata("", "", {}, {})
    name, prefix, namespace = (value.get(key) for key in ("name", "generateName", "namespace"))
    if name is None and prefix is None:
        found.append(Problem("metadata.name", "Required value: name or generateName is required"))
    for key, text, pattern, longest in (
        ("name", name, DNS_NAME, MAX_NAME),
        ("namespace", namespace, DNS_LABEL, MAX_LABEL),
        ("generateName", _whole_name(prefix), DNS_NAME, MAX_NAME),
    ):
        if text is not None and not (isinstance(text, str) and len(text) <= longest and _matches(pattern, text)):
            expected = f"at most {longest} {MEANINGS[pattern]}"
            found.append(Problem(f"metadata.{key}", f"Invalid value: {shown(value[key])}: expected {expected}"))
    labels = _texts(value.get("labels"), "metadata.labels", found)
    for key, text in labels.items():
        if len(text) > MAX_LABEL or not _matches(_LABEL_VALUE, text):
            problem = f"Invalid value: {shown(text)}: expected at most {MAX_LABEL} {_LABEL_WORDS}, or nothing"
            found.append(Problem(path_text((key,), start="metadata.labels"), problem))
    annotations = _texts(value.get("annotations"), "metadata.annotations", found)
    size = sum(len(text.encode("utf-8", "replace")) for item in annotations.items() for text in item)
    if size > MAX_ANNOTATIONS:
        found.append(Problem("metadata.annotations", f"Too long: {size} bytes, at most {MAX_ANNOTATIONS}"))
    return _Metadata(
        name=str(name if name is not None else prefix or ""),
        namespace=str(namespace or ""),
        labels=labels,
        annotations=annotations,
    )


def _matches(pattern: str, text: str) -> bool:
    return re.fullmatch(pattern.rstrip("$"), text) is not None


def _whole_name(prefix: object) -> object:
    """Return a name that generateName may lead to, as the API server does: a dash at its end is good."""
    return f"{prefix[:-1]}a" if isinstance(prefix, str) and len(prefix) > 1 and prefix.endswith("-") else prefix


def _texts(value: object, where: str, found: list[Problem]) -> Mapping[str, str]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        found.append(Problem(where, f"Invalid value: must be of type object, not {json_type(value)}"))
        return {}
    for key, text in value.items():
        if not isinstance(text, str):
            problem = f"Invalid value: {shown(text)}: must be of type string, not {json_type(text)}; put it in quotes"
            found.append(Problem(path_text((str(key),), start=where), problem))
        domain, slash, name = str(key).rpartition("/")
        bad_domain = slash and (len(domain) > MAX_NAME or not _matches(DNS_NAME, domain))
        if bad_domain or len(name) > MAX_LABEL or not _matches(_LABEL_NAME, name):
            problem = f"Invalid value: expected at most {MAX_LABEL} {_LABEL_WORDS}, after a domain and a slash or not"
            found.append(Problem(path_text((str(key),), start=where), problem))
    return {str(key): str(text) for key, text in value.items()}


def _article(word: str) -> str:
    return word if word == "null" else f"{'an' if word[0] in 'aio' else 'a'} {word}"
