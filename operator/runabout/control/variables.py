"""Variables in the environment that look like settings: a mistyped one must not be ignored silently.

The prefix is shared: Runabout gives each task variables about its run, this repository's scripts and tests have
switches of their own, and Kubernetes describes a Service called `runabout…` by variables. None of these is a mistake,
so an operator can be started where they are set.
"""

import difflib
from collections.abc import Collection, Iterable, Mapping
from typing import TypeVar

from pydantic import ValidationError

from runabout.control.settings import Settings

S = TypeVar("S", bound=Settings)
PREFIX = "RUNABOUT_"
TASK_VARIABLES = frozenset({"RUN_ID", "RUN", "NAMESPACE", "GROUP", "COUNTER", "TASK", "ATTEMPT", "RESULTS"})
"""What a task's containers are told about their run: an operator may be tried out inside one."""
_TASK_VALUES = ("ENV_", "RESULT_")
"""Begin the names of a task's variables that carry values of Secrets and ConfigMaps, or results of other tasks."""
SCRIPT_VARIABLES = frozenset({"CLUSTER", "ENGINE", "SEED", "ROUNDS", "EXPLORE"})
"""Switches of hack/ and of the tests."""
_SERVICE_HOST = "_SERVICE_HOST"
_OF_A_SERVICE = ("_SERVICE_", "_PORT")
_LIKENESS = 0.5
"""From 0 to 1; below, no known name is near enough to be suggested."""


def read_settings(environment: Mapping[str, str], kind: type[S]) -> S | list[str]:
    """Return the settings of this process's environment, or a sentence for each variable that is wrong.

    `kind` is whose settings they are: another process has others.
    """
    wrong = unknown_variables(environment, kind)
    try:
        settings = kind()
    except ValidationError as error:
        for item in error.errors():
            name = f"{PREFIX}{'_'.join(str(part) for part in item['loc']).upper()}"
            wrong.append(f"{name}: {item['msg']}, found {item['input']!r}")
        return wrong
    return wrong or settings


def unknown_variables(names: Iterable[str], kind: type[Settings] = Settings) -> list[str]:
    """Return a sentence for each name that begins with `RUNABOUT_` and is known to nobody, in the names' order.

    Case does not count, as it does not where the settings are read.
    """
    given = {name.upper(): name for name in sorted(names) if name.upper().startswith(PREFIX)}
    services = [name.removesuffix(_SERVICE_HOST) for name in given if name.endswith(_SERVICE_HOST)]
    settings = sorted(f"{PREFIX}{field.upper()}" for field in kind.model_fields)
    return [
        _sentence(shown, name, settings)
        for name, shown in given.items()
        if name not in settings and not _is_another_purpose(name, services)
    ]


def _is_another_purpose(name: str, services: Collection[str]) -> bool:
    rest = name.removeprefix(PREFIX)
    return (
        rest in TASK_VARIABLES
        or rest in SCRIPT_VARIABLES
        or rest.startswith(_TASK_VALUES)
        or any(name.startswith(f"{service}{part}") for service in services for part in _OF_A_SERVICE)
    )


def _sentence(shown: str, name: str, settings: list[str]) -> str:
    near = difflib.get_close_matches(
        name.removeprefix(PREFIX), [each.removeprefix(PREFIX) for each in settings], 1, _LIKENESS
    )
    advice = f"the nearest one is {PREFIX}{near[0]}" if near else "none is like it; docs/guides/operating.md lists them"
    return f"{shown}: no setting has this name; {advice}"
