"""The pod settings of executor, run and task (`pod` in each), laid over one another.

Maps are merged by key, lists of named things by name, tolerations are added up, everything else is replaced as a
whole: the task's word counts over the run's, the run's over the executor's. What always holds: merging is associative,
and a level that says nothing changes nothing.
"""

from collections.abc import Mapping

from runabout.executors.errors import InvalidPodError
from runabout.records.json import JsonObject

MAPS = frozenset({"nodeSelector", "securityContext", "labels", "annotations"})
NAMED = frozenset({"imagePullSecrets", "volumes"})
SUMS = frozenset({"tolerations"})
SCALARS = frozenset({"serviceAccountName", "priorityClassName", "runtimeClassName"})
OBJECTS = frozenset({"affinity"})
SWITCHES = frozenset({"automountServiceAccountToken"})


def merged_settings(*levels: tuple[str, JsonObject]) -> dict[str, object]:
    """Return the settings of all levels, weakest first; each comes with its path, for messages.

    Raises:
        InvalidPodError: a level has a setting that does not exist or is of another type.
    """
    result: dict[str, object] = {}
    for where, level in levels:
        for key, value in level.items():
            if value is None:
                continue
            result[key] = _laid_over(result.get(key), key, value, f"{where}.{key}")
    return result


def _laid_over(weaker: object, key: str, value: object, where: str) -> object:
    if key in MAPS:
        return {**_as_map(weaker), **_map(value, where)}
    if key in NAMED:
        return list({**_by_name(weaker or [], where), **_by_name(value, where)}.values())
    if key in SUMS:
        known = list(weaker) if isinstance(weaker, list) else []
        for item in _list(value, where):
            if item not in known:
                known.append(item)
        return known
    if key in SCALARS | SWITCHES:
        kind, word = (str, "a text") if key in SCALARS else (bool, "true or false")
        if not isinstance(value, kind):
            raise InvalidPodError(f"{where}: expected {word}, found {type(value).__name__}")
        return value
    if key in OBJECTS:
        return dict(_map(value, where))
    known_keys = ", ".join(sorted(MAPS | NAMED | SUMS | SCALARS | OBJECTS | SWITCHES))
    raise InvalidPodError(f"{where}: there is no such pod setting; there are {known_keys}")


def _as_map(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _map(value: object, where: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise InvalidPodError(f"{where}: expected an object, found {type(value).__name__}")
    return value


def _list(value: object, where: str) -> list[object]:
    if not isinstance(value, list | tuple):
        raise InvalidPodError(f"{where}: expected a list, found {type(value).__name__}")
    return list(value)


def _by_name(value: object, where: str) -> dict[str, object]:
    named: dict[str, object] = {}
    for index, item in enumerate(_list(value, where)):
        name = item.get("name") if isinstance(item, Mapping) else None
        if not isinstance(name, str) or not name:
            raise InvalidPodError(f"{where}[{index}]: a name is needed")
        named[name] = item
    return named
