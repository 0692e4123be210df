"""pydantic's errors in the API server's words: field path, kind of problem, what was found and what is expected."""

import difflib
from collections.abc import Iterator, Mapping
from typing import cast, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from runabout.resources.fields import MEANINGS
from runabout.resources.model import BROKEN_RULES, broken_rules
from runabout.resources.problems import Location, Problem, path_text

MAX_SHOWN = 64
"""Characters of a refused value that a message repeats."""

_EXPECTED = {
    "string": "string",
    "int": "integer",
    "bool": "boolean",
    "dict": "object",
    "model": "object",
    "tuple": "array",
    "list": "array",
    "json": "JSON",
    "float": "number",
}


_WORDS = {
    "missing": "Required value",
    "literal_error": "Unsupported value: {shown}: supported values: {expected}",
    "string_too_long": "Too long: may not be more than {max_length} characters",
    "string_too_short": "Invalid value: {shown}: should be at least {min_length} characters long",
    "too_long": "Too many: {actual_length}: must have at most {max_length} items",
    "too_short": "Invalid value: {actual_length}: must have at least {min_length} items",
    "greater_than_equal": "Invalid value: {shown}: should be greater than or equal to {ge}",
    "less_than_equal": "Invalid value: {shown}: should be less than or equal to {le}",
    "string_unicode": "Invalid value: is no Unicode text",
    "recursion_loop": "Invalid value: is nested too deeply",
    "invalid_key": "Invalid value: keys must be of type string",
}


def problems(error: ValidationError, model: type[BaseModel], *, start: str) -> tuple[Problem, ...]:
    """Return every problem in `error`, of validating something as `model`; `start` is the path of that something."""
    details = error.errors(include_url=False)
    # Items that cannot be read are not counted: "too few" is then only an echo of what is wrong with them.
    above = {detail["loc"][:-1] for detail in details if detail["type"] != "too_short"}
    broken = {place[:length] for place in above for length in range(len(place) + 1)}
    found = [
        problem
        for detail in details
        if not (detail["type"] == "too_short" and detail["loc"] in broken)
        for problem in _problems(detail, model, start=start)
    ]
    return tuple(dict.fromkeys(found))


def _problems(detail: ErrorDetails, model: type[BaseModel], *, start: str) -> Iterator[Problem]:
    location = tuple(part for part in detail["loc"] if part != "[key]")
    context = cast("Mapping[str, object]", detail.get("ctx", {}))
    if detail["type"] == BROKEN_RULES:
        for below, message in broken_rules(context):
            yield Problem(path_text((*location, *below), start=start), message)
    else:
        yield Problem(path_text(location, start=start), _message(detail, location, context, model))


def _message(detail: ErrorDetails, location: Location, context: Mapping[str, object], model: type[BaseModel]) -> str:
    kind, value = detail["type"], detail["input"]
    if kind == "extra_forbidden":
        return f"unknown field{_suggestion(str(location[-1]), location[:-1], model)}"
    if kind == "string_pattern_mismatch":
        pattern = str(context["pattern"])
        return f"Invalid value: {shown(value)}: expected {MEANINGS.get(pattern, f'a text that matches {pattern}')}"
    words = _WORDS.get(kind)
    if words is not None:
        return words.format(shown=shown(value), **context)
    expected = _EXPECTED.get(kind.split("_", maxsplit=1)[0])
    if expected is not None:
        return f"Invalid value: {shown(value)}: must be of type {expected}, not {json_type(value)}"
    return f"Invalid value: {shown(value)}: {detail['msg']}"


def _suggestion(name: str, location: Location, model: type[BaseModel]) -> str:
    """Return a hint at the field that may have been meant."""
    owner = _model_at(location, model)
    if owner is None:
        return ""
    names = [str(field.alias) for field in owner.model_fields.values()]
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; there are {', '.join(sorted(names))}"


def _model_at(location: Location, model: type[BaseModel]) -> type[BaseModel] | None:
    """Return the model of the object at a place, None where there is none."""
    current: type[BaseModel] | None = model
    for part in location:
        if isinstance(part, int):
            continue
        if current is None:
            return None
        annotation = next((field.annotation for field in current.model_fields.values() if field.alias == part), None)
        current = _model_in(annotation)
    return current


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in get_args(annotation):
        found = _model_in(argument)
        if found is not None:
            return found
    return None


def shown(value: object) -> str:
    """Return a refused value for a message: short, and never as a Python object."""
    if isinstance(value, str):
        text = value if len(value) <= MAX_SHOWN else f"{value[: MAX_SHOWN - 1]}…"
        return '"' + text.encode("utf-8", "backslashreplace").decode() + '"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value) if isinstance(value, float) or abs(value) < 10**MAX_SHOWN else "a huge number"
    return f'"{json_type(value)}"'


def json_type(value: object) -> str:
    """Return the JSON type of a value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    if isinstance(value, str):
        return "string"
    if isinstance(value, Mapping):
        return "object"
    return "array"
