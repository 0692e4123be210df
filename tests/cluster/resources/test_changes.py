"""What can be changed in a Run that exists: by whom, how, and what never."""

import json
from typing import Any

import pytest

from fixtures.runs import Runs, document
from fixtures.specs import GOOD, TASK
from runabout.resources.run import IMMUTABLE

FULL: dict[str, Any] = {**next(case.spec for case in GOOD if case.name == "every field of a Run")}
FULL |= {"approvals": [], "suspend": False, "setupErrors": ["bad"]}
RESTART = {"restartFrom": {"run": "1il7g1c000001", "from": "failed"}}
OTHER: dict[str, Any] = {
    "group": "/project/other",
    "tasks": [],
    "environment": [],
    "staticEnvironment": [],
    "setupErrors": ["worse"],
    "cacheGroup": "/project/other",
    "restartFrom": {"from": "start"},
    "concurrency": "queue",
    "maxActiveTasks": 4,
    "timeoutSeconds": 1,
    "retries": {"limit": 9},
    "pod": {"serviceAccountName": "other"},
}


def test_the_tables_here_know_every_immutable_field() -> None:
    assert set(OTHER) == set(IMMUTABLE) == {*FULL, "restartFrom"} & set(IMMUTABLE)


@pytest.mark.parametrize("field", IMMUTABLE)
def test_an_immutable_field_cannot_be_changed_removed_or_added(runs: Runs, field: str) -> None:
    base = RESTART if field == "restartFrom" else FULL
    name = runs.create(base)
    for change in ({field: OTHER[field]}, {field: None}):
        answer = runs.merge(name, change)
        assert answer.returncode != 0, change
        assert f"spec.{field}: Forbidden: cannot be changed" in answer.stderr
    empty = runs.create({})
    answer = runs.merge(empty, {field: base[field]})
    assert f"spec.{field}: Forbidden: cannot be changed" in answer.stderr


@pytest.mark.parametrize(
    "pod",
    [
        {"affinity": {"podAntiAffinity": {"new": []}}},
        {"securityContext": {"fsGroup": 1001}},
        {"volumes": [{"name": "modules", "emptyDir": {"medium": "Memory"}}]},
        {"tolerations": [{"key": "ci", "operator": "Exists", "effect": "NoSchedule"}]},
    ],
    ids=lambda pod: next(iter(pod)),
)
def test_pieces_of_the_pod_api_that_pass_through_are_immutable_too(runs: Runs, pod: dict[str, Any]) -> None:
    name = runs.create(FULL)
    answer = runs.merge(name, {"pod": pod})
    assert "spec.pod: Forbidden: cannot be changed" in answer.stderr
    inside = [{**FULL["tasks"][0], "pod": {**FULL["tasks"][0]["pod"], **pod}}, FULL["tasks"][1]]
    assert "spec.tasks: Forbidden: cannot be changed" in runs.merge(name, {"tasks": inside}).stderr


def test_writing_a_default_down_is_no_change(runs: Runs, run: str) -> None:
    answer = runs.merge(run, {"tasks": [{**TASK, "skip": False, "workingDir": "~/project"}], "concurrency": "queue"})
    assert answer.returncode == 0, answer.stderr


def test_mutable_fields_can_be_changed_and_changed_back(runs: Runs, run: str) -> None:
    for change in (
        {"suspend": True, "priority": 5, "ttlSecondsAfterFinished": 60},
        {"suspend": False, "priority": -1, "ttlSecondsAfterFinished": None},
        {"suspend": None, "priority": None},
    ):
        answer = runs.merge(run, change)
        assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize("value", [False, None], ids=["false", "removed"])
def test_a_stop_cannot_be_taken_back(runs: Runs, run: str, value: bool | None) -> None:
    assert runs.merge(run, {"stop": True}).returncode == 0
    answer = runs.merge(run, {"stop": value})
    assert "spec.stop: Forbidden: a stop cannot be taken back" in answer.stderr
    assert runs.get(run)["spec"]["stop"] is True


def test_owners_of_different_fields_do_not_conflict_and_keep_what_others_wrote(runs: Runs) -> None:
    name = "shared"
    spec = {"tasks": [TASK], "suspend": True}
    for owner, part in (
        ("creator", spec),
        ("scheduler", {"priority": 7}),
        ("person", {"stop": True}),
        ("creator", spec),
        ("scheduler", {"priority": 8}),
    ):
        answer = runs.apply(name, part, owner=owner)
        assert answer.returncode == 0, answer.stderr
    kept = runs.get(name)["spec"]
    assert (kept["stop"], kept["priority"], kept["suspend"]) == (True, 8, True)


def test_an_owner_cannot_take_a_stop_back_by_leaving_it_out(runs: Runs) -> None:
    assert runs.apply("shared", {"tasks": [TASK]}, owner="creator").returncode == 0
    assert runs.apply("shared", {"stop": True}, owner="person").returncode == 0
    answer = runs.apply("shared", {"priority": 1}, owner="person")
    assert "spec.stop: Forbidden: a stop cannot be taken back" in answer.stderr


def test_writing_a_status_leaves_the_spec_alone_and_the_other_way_round(runs: Runs, run: str) -> None:
    assert runs.status(run, {"phase": "running", "result": "unknown"}).returncode == 0
    body = document(run, {"tasks": [TASK], "priority": 3}) | {"status": {"phase": "finished"}}
    assert runs.write("apply", body, "--server-side", "--force-conflicts", "--field-manager=a").returncode == 0
    found = runs.get(run)
    assert (found["status"]["phase"], found["spec"]["priority"]) == ("running", 3)


def test_an_unknown_phase_is_refused(runs: Runs, run: str) -> None:
    assert "status.phase: Unsupported value" in runs.status(run, {"phase": "done"}).stderr


def test_runs_can_be_selected_by_phase_result_and_group(runs: Runs) -> None:
    ours, other = runs.create({"group": "/project/a"}), runs.create({})
    runs.status(ours, {"phase": "finished", "result": "failed"})
    runs.status(other, {"phase": "running", "result": "failed"})
    for selector, found in (
        ("status.phase=finished", {ours}),
        ("status.phase!=finished", {other}),
        ("status.result=failed", {ours, other}),
        ("status.phase=running,status.result=success", set()),
        ("spec.group=/project/a", {ours}),
    ):
        names = runs.list("--field-selector", selector, "-o", "name").split()
        assert {name.rsplit("/", maxsplit=1)[-1] for name in names} == found, selector


def test_kubectl_shows_runs_in_a_table_people_can_read(runs: Runs, run: str) -> None:
    runs.status(
        run,
        {
            "phase": "running",
            "result": "unknown",
            "tasks": {"total": 5, "running": 1, "success": 1, "failed": 0, "skipped": 1, "stopped": 2},
            "conditions": [
                {
                    "type": "Succeeded",
                    "status": "Unknown",
                    "reason": "AwaitingApproval",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }
            ],
        },
    )
    head, row = runs.list().splitlines()
    assert head.split() == ["NAME", "PHASE", "RESULT", "TASKS", "RUNNING", "SUCCESS", "FAILED", "REASON", "AGE"]
    assert row.split()[:8] == [run, "running", "unknown", "5", "1", "1", "0", "AwaitingApproval"]
    assert max(map(len, (head, row))) < 120
    head, row = runs.list("-o", "wide").splitlines()
    wide = {column: row[head.index(column) :].split()[0] for column in ("SKIPPED", "STOPPED")}
    assert wide == {"SKIPPED": "1", "STOPPED": "2"}


def test_short_name_and_category_find_runs(runs: Runs, run: str) -> None:
    for word in ("rn", "runabout"):
        names = json.loads(runs._kubectl("-n", runs.namespace, "get", word, "-o", "json").stdout)["items"]
        assert run in {item["metadata"]["name"] for item in names}
