"""A task's environment: which level wins, and how a variable is written into a pod.

From weakest to strongest: container, task (with a variant's values), staticEnvironment, environment, step. What always
holds: of one name only the strongest level counts, wholly (a reference hides a weaker value even if what it refers to
is optional and missing); a literal value arrives in the container byte for byte; a Secret's value is never read here.
"""

from collections.abc import Iterable, Mapping

from runabout.executors.errors import InvalidPodError
from runabout.records import EnvVar, EnvVarSource

RESERVED_PREFIX = "RUNABOUT_"
"""Variables with such names are ours; nobody else may set them."""


def environment(raw: object, where: str) -> tuple[EnvVar, ...]:
    """Return the variables of one level as a Run's spec writes them; `where` is its path, for messages.

    Raises:
        InvalidPodError: the level is no list of variables, or one has a name of ours.
    """
    if raw is None:
        return ()
    if not isinstance(raw, list | tuple):
        raise InvalidPodError(f"{where}: expected a list of variables, found {type(raw).__name__}")
    return checked((_variable(item, f"{where}[{index}]") for index, item in enumerate(raw)), where)


def checked(variables: Iterable[EnvVar], where: str) -> tuple[EnvVar, ...]:
    """Return `variables` if none has a name that is ours.

    Raises:
        InvalidPodError: one has.
    """
    result = tuple(variables)
    for variable in result:
        if variable.name.startswith(RESERVED_PREFIX):
            raise InvalidPodError(
                f"{where}: the variable {variable.name} cannot be set, names that begin with {RESERVED_PREFIX} are "
                "Runabout's own; choose another name",
            )
    return result


def merged(*levels: Iterable[EnvVar]) -> tuple[EnvVar, ...]:
    """Return one variable for each name, the one of the last (strongest) level that has it.

    The order is that of first appearance; a name that comes twice in one level counts with its last value.
    """
    strongest: dict[str, EnvVar] = {}
    for level in levels:
        for variable in level:
            strongest[variable.name] = variable
    return tuple(strongest.values())


def container_variable(variable: EnvVar, *, name: str | None = None) -> dict[str, object]:
    """Return the variable as an entry of a container's `env`, under another `name` if one is given."""
    source = variable.value_from
    if source is None:
        return {"name": name or variable.name, "value": literal(variable.value or "")}
    reference: dict[str, object] = {"name": source.name, "key": source.key}
    if source.optional:
        reference["optional"] = True
    return {"name": name or variable.name, "valueFrom": {source.kind: reference}}


def literal(value: str) -> str:
    """Return `value` such that Kubernetes, which expands `$(NAME)` and `$$`, hands out exactly `value`."""
    return value.replace("$", "$$")


def _variable(raw: object, where: str) -> EnvVar:
    if not isinstance(raw, Mapping) or not isinstance(raw.get("name"), str) or not raw["name"]:
        raise InvalidPodError(f"{where}: a variable needs a name")
    name = str(raw["name"])
    source = raw.get("valueFrom")
    if source is None:
        value = raw.get("value")
        return EnvVar(name=name, value="" if value is None else str(value))
    if isinstance(source, Mapping):
        for kind in ("secretKeyRef", "configMapKeyRef"):
            reference = source.get(kind)
            if isinstance(reference, Mapping):
                return EnvVar(name=name, value_from=_source(kind, reference, f"{where}.valueFrom.{kind}"))
    raise InvalidPodError(f"{where}.valueFrom: expected secretKeyRef or configMapKeyRef")


def _source(kind: str, raw: Mapping[str, object], where: str) -> EnvVarSource:
    name, key = raw.get("name"), raw.get("key")
    if not isinstance(name, str) or not isinstance(key, str) or not name or not key:
        raise InvalidPodError(f"{where}: a name and a key are needed")
    return EnvVarSource(kind=kind, name=name, key=key, optional=raw.get("optional") is True)
