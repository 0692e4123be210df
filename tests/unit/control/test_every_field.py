"""No field of a Run is ignored: each changes a pod, what the engine is told or the errors, or is named with why."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import orjson

from fixtures.specs import GOOD, copied
from fixtures.states import NOW, RUN
from runabout.control.config import checked_config
from runabout.control.objects import run_object
from runabout.executors.gatewayaccess import GatewayAccess
from runabout.executors.manifest import PodSettings, pod_manifest
from runabout.resources import RunSpec
from runabout.resources.check import run_spec

FULL = next(case for case in GOOD if case.name == "every field of a Run")
SETTINGS = PodSettings(
    toolbox_image="runabout/toolbox:1", allow_privileged=True, gateway=GatewayAccess("https://gateway.example")
)
OTHER_WORDS = {"In": "NotIn"}
LOOKED_AT_AT_EVERY_PASS = (
    "it can change while the run lives, so the reconciler takes it from the Run, not from the record"
)
OUTSIDE_OF_THE_RECORD = {
    "spec.approvals.by": LOOKED_AT_AT_EVERY_PASS,
    "spec.approvals.groups": LOOKED_AT_AT_EVERY_PASS,
    "spec.approvals.verdict": LOOKED_AT_AT_EVERY_PASS,
    "spec.priority": LOOKED_AT_AT_EVERY_PASS,
    "spec.stop": LOOKED_AT_AT_EVERY_PASS,
    "spec.suspend": LOOKED_AT_AT_EVERY_PASS,
    "spec.ttlSecondsAfterFinished": LOOKED_AT_AT_EVERY_PASS,
}
ONLY_IN_ERRORS = {"spec.setupErrors", "spec.approvals.task", "spec.tasks.depends.task"}
"""Where another value can only be a mistake. Elsewhere an error does not count: it could hide a field that is lost."""

Place = tuple[str | int, ...]


def leaves(value: object, where: Place = ()) -> Iterator[tuple[Place, object]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if not inner:
        yield where, value
    for key, item in inner:
        yield from leaves(item, (*where, key))


def other(value: object) -> object:
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case str():
            return OTHER_WORDS.get(value, f"{value}x")
        case list():
            return ["x"]
        case _:
            return {"x": "x"}


def changed(where: Place, value: object) -> Iterator[dict[str, Any]]:
    """The specs without this field and with another value there, as far as the schema lets them through."""
    for new in (None, other(value)):
        parent: Any = (root := {"spec": copied(FULL)})
        for part in where[:-1]:
            parent = parent[part]
        if new is None:
            del parent[where[-1]]
        else:
            parent[where[-1]] = new
        if isinstance(run_spec(root["spec"]), RunSpec):
            yield root["spec"]


def outcome(spec: dict[str, Any]) -> tuple[tuple[str, ...], object, list[bytes]]:
    """The errors; what the engine is told, without the parts of the record that only pods are made of; and the pods."""
    run = run_object({"metadata": {"name": "web-118", "namespace": "ci", "uid": "c0ffee"}, "spec": spec})
    config = checked_config(run, id=RUN, created=NOW)
    tasks = tuple(replace(task, body={}) for task in config.tasks)
    told = replace(config, tasks=tasks, pod={}, environment=(), static_environment=())
    if config.setup_errors:
        return config.setup_errors, told, []
    pods = (
        pod_manifest(config, task, attempt=1, counter=118, executor_pod={}, settings=SETTINGS) for task in config.tasks
    )
    return (), told, [orjson.dumps(manifest.pod) for manifest in pods]


def test_every_field_has_an_effect_or_is_named_with_the_reason_why_not() -> None:
    before = outcome(copied(FULL))
    assert before[0] == ()
    has_effect: dict[str, bool] = {}
    for where, value in leaves({"spec": copied(FULL)}):
        name = ".".join(part for part in where if isinstance(part, str))
        outcomes = [outcome(spec) for spec in changed(where, value)]
        effects = [found for found in outcomes if found != before and (not found[0] or name in ONLY_IN_ERRORS)]
        has_effect[name] = has_effect.get(name, False) or bool(effects)
    assert {name for name, has in has_effect.items() if not has} == set(OUTSIDE_OF_THE_RECORD)
