"""What the chart lets the operator do at the API server is what its code does there: no less, and no more."""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fixtures.chart import Chart, at
from fixtures.tools import REPOSITORY
from runabout.kube import objects
from runabout.kube.objects import Resource

PACKAGE = REPOSITORY / "operator" / "runabout"
NOT_THE_OPERATOR = {"client", "gateway"}
OF_THE_GATEWAY = {"reviews.py", "logs.py"}
"""Modules of the client that the gateway uses; the reviews are only there for it."""
RESOURCES = {name: value for name, value in vars(objects).items() if isinstance(value, Resource)}
VERBS = {
    "get": {"get"},
    "list": {"list"},
    "create": {"create"},
    "patch": {"patch"},
    "apply": {"patch"},
    "delete": {"delete"},
    "review": {"create"},
    "Action": set(),  # what somebody else wants to do: it is asked, not done
    "Informer": {"list", "watch"},
    # Functions of the operator's own that take a resource and call the session.
    "_pages": {"list"},
    "_create": {"create", "get"},
    "_is_there": {"get"},
}
"""What each function asks of the API server about the resource it is given."""
Right = tuple[str, str, str]


def of_the_operator(file: Path) -> bool:
    return file.relative_to(PACKAGE).parts[0] not in NOT_THE_OPERATOR and file.name != "reviews.py"


def of_the_gateway(file: Path) -> bool:
    folder = file.relative_to(PACKAGE).parts[0]
    return folder == "gateway" or (folder == "kube" and file.name in OF_THE_GATEWAY)


def calls(chosen: Callable[[Path], bool]) -> Iterator[tuple[Path, ast.Call]]:
    for file in sorted(PACKAGE.rglob("*.py")):
        if chosen(file):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Call):
                    yield file, node


def name_of(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else ast.unparse(function)


def used(file: Path, call: ast.Call) -> Iterator[Right]:
    """Return what a call in the operator's source needs."""
    name = name_of(call.func)
    if name == "event":  # of kopf: its group, its version and its plural
        plural = ast.literal_eval(call.args[-1])
        yield from (("runabout.dev", plural, verb) for verb in ("list", "watch"))
        return
    if isinstance(call.func, ast.Attribute) and name == "path" and name_of(call.func.value) in RESOURCES:
        resource = RESOURCES[name_of(call.func.value)]
        yield resource.group, f"{resource.plural}/{ast.literal_eval(call.args[2])}", "get"
        return
    for argument in call.args:
        if isinstance(argument, ast.Name) and argument.id in RESOURCES:
            resource = RESOURCES[argument.id]
            assert name in VERBS, f"{file.name}:{call.lineno}: what does {name}() do with {resource.plural}?"
            words = {word.arg: word.value for word in call.keywords}
            part = f"/{ast.literal_eval(words['subresource'])}" if "subresource" in words else ""
            yield from ((resource.group, resource.plural + part, verb) for verb in VERBS[name])


def granted(chart: Chart, kind: str, name: str = "runabout-operator") -> set[Right]:
    rules = at(chart.render().one(kind, name), "rules")
    assert isinstance(rules, list)
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


@pytest.fixture(scope="module")
def needed() -> set[Right]:
    return {right for file, call in calls(of_the_operator) for right in used(file, call)}


def test_the_operator_may_do_what_its_code_does(chart: Chart, needed: set[Right]) -> None:
    in_its_namespace = {right for right in needed if right[1] == "leases"}
    assert in_its_namespace == granted(chart, "Role")
    assert needed - in_its_namespace <= granted(chart, "ClusterRole")


def test_the_operator_may_do_nothing_else(chart: Chart, needed: set[Right]) -> None:
    # Whoever may list objects learns nothing from reading one.
    one_by_one = {(group, resource, "get") for group, resource, verb in needed if verb == "list"}
    assert granted(chart, "ClusterRole") - needed <= one_by_one


def test_the_gateway_may_do_what_its_code_does_in_its_own_name_and_nothing_else(chart: Chart) -> None:
    own = {
        right
        for file, call in calls(of_the_gateway)
        if "on_behalf" not in {word.arg for word in call.keywords}
        for right in used(file, call)
    }
    in_others_names = {("", who, "impersonate") for who in ("users", "groups", "serviceaccounts")}
    assert granted(chart, "ClusterRole", "runabout-gateway") == own | in_others_names


def test_no_owner_is_blocked_so_that_no_right_to_its_finalizers_is_needed(needed: set[Right]) -> None:
    source = "".join(file.read_text() for file in (PACKAGE / "executors").glob("*.py"))
    assert '"blockOwnerDeletion": False' in source
    assert '"blockOwnerDeletion": True' not in source
    assert not [right for right in needed if right[1].endswith("/finalizers")]
