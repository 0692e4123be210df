"""The Runs known to exist: the newest version counts, and of one that is over little is kept."""

from dataclasses import replace
from typing import Any

import pytest

from runabout.control.objects import RunObject, RunObjects, Uid, run_object
from runabout.records import Approval, Verdict

UID = Uid("u1")
SPEC = {
    "tasks": [{"name": "a"}],
    "environment": [{"name": "A", "value": "x" * 1000}],
    "stop": True,
    "suspend": False,
    "approvals": [],
    "priority": 3,
    "ttlSecondsAfterFinished": 60,
}
KEPT = {name: SPEC[name] for name in ("stop", "suspend", "approvals", "priority", "ttlSecondsAfterFinished")}


def run(version: int = 1, **spec: Any) -> RunObject:  # noqa: ANN401 - fields of a Run's spec
    return run_object({"metadata": {"uid": UID, "resourceVersion": str(version)}, "spec": {**SPEC, **spec}})


def spec_of(objects: RunObjects) -> object:
    found = objects.get(UID)
    assert found is not None
    return found.spec


def test_an_older_version_than_the_known_one_is_ignored() -> None:
    objects = RunObjects()
    objects.put(run(9, priority=9))
    objects.put(run(8, priority=8))
    assert spec_of(objects) == {**SPEC, "priority": 9}


def test_of_a_run_that_is_over_only_what_passes_look_at_is_kept_also_of_what_comes_later() -> None:
    objects = RunObjects()
    objects.put(run())
    objects.over(UID)
    assert spec_of(objects) == KEPT
    objects.put(run(2, ttlSecondsAfterFinished=90))
    objects.over(UID)
    assert spec_of(objects) == {**KEPT, "ttlSecondsAfterFinished": 90}


@pytest.mark.parametrize(
    ("approvals", "expected"),
    [
        (
            [{"task": "a", "by": "anna"}, {"task": "b", "by": "ben", "verdict": "refused", "groups": ["qa"]}],
            (Approval("a", "anna"), Approval("b", "ben", Verdict.REFUSED, ("qa",))),
        ),
        ([], ()),
        (None, ()),
        ("a", ()),
        ([3, {}, {"task": "a", "by": "anna", "verdict": "perhaps"}], ()),
    ],
)
def test_what_people_said_is_known_whatever_the_spec_holds(approvals: object, expected: tuple[Approval, ...]) -> None:
    assert run(approvals=approvals).approvals == expected


def test_a_run_that_is_gone_leaves_nothing_behind() -> None:
    objects = RunObjects()
    objects.put(run())
    objects.over(UID)
    objects.remove(UID)
    objects.over(UID)
    assert len(objects) == 0
    objects.put(run())
    assert spec_of(objects) == SPEC


def test_the_runs_that_are_being_deleted_are_known_in_their_newest_version_until_they_are_gone() -> None:
    objects = RunObjects()
    objects.put(run())
    assert objects.leaving() == ()
    going = run_object(
        {"metadata": {"uid": UID, "resourceVersion": "2", "deletionTimestamp": "2026-01-01T00:00:00Z"}, "spec": SPEC}
    )
    objects.put(going)
    assert objects.leaving() == (going,)
    newer = replace(going, resource_version="3", finalizers=("other",))
    objects.put(newer)
    assert objects.leaving() == (newer,)
    objects.remove(UID)
    assert objects.leaving() == ()
