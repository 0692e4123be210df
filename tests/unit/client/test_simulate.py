"""`runabout simulate`: what goes in, what comes out, and what is refused."""

import contextlib
import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from fixtures.specs import API_VERSION
from fixtures.states import NOW, RUN, task_spec
from runabout.__main__ import app
from runabout.client.simulate import hint, played
from runabout.control.config import checked_config, setup_errors
from runabout.control.objects import run_object
from runabout.resources import CheckedRun, check

CHAIN = {"tasks": [task_spec("a"), task_spec("b", depends=[{"task": "a"}])]}
WAITING = {"tasks": [task_spec("a", needsApproval=True, approvers={"min": 2, "users": ["anna", "ben"]})]}
MATRIX = {"tasks": [task_spec("a", matrix={"OS": ["x", "y"], "ARCH": [1, 2]}), task_spec("b", depends=[{"task": "a"}])]}


def document(spec: object) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": "Run", "metadata": {"name": "web"}, "spec": spec}


@pytest.fixture
def simulate(tmp_path: Path) -> "Simulate":
    return Simulate(tmp_path)


class Simulate:
    """The command with its files written."""

    def __init__(self, folder: Path) -> None:
        self.run = folder / "run.yaml"
        self.outcomes = folder / "outcomes.yaml"

    def call(self, run: object, outcomes: object = None) -> Result:
        self.run.write_text(run if isinstance(run, str) else json.dumps(run))
        arguments = ["simulate", str(self.run), "-o", "json"]
        if outcomes is not None:
            self.outcomes.write_text(outcomes if isinstance(outcomes, str) else json.dumps(outcomes))
            arguments += ["--outcomes", str(self.outcomes)]
        return CliRunner().invoke(app, arguments)

    def play(self, spec: object, outcomes: object = None) -> dict[str, Any]:
        result = self.call(document(spec), outcomes)
        assert (result.exit_code, result.stderr) == (0, "")
        found = json.loads(result.stdout)
        assert isinstance(found, dict)
        return found


def ticks(found: dict[str, Any]) -> dict[str, tuple[str, int | None, int | None]]:
    return {name: (task["status"], task["start"], task["end"]) for name, task in found["tasks"].items()}


def test_the_output_is_one_json_object_with_exactly_these_keys(simulate: Simulate) -> None:
    found = simulate.play(CHAIN, {"tasks": {"a": {"result": "failed", "ticks": 3}}})
    assert found == {
        "phase": "finished",
        "result": "failed",
        "setupErrors": [],
        "tasks": {
            "a": {"status": "failed", "start": 0, "end": 3},
            "b": {"status": "skipped", "start": None, "end": None},
        },
        "events": [
            {"sequence": 1, "phase": "queued", "result": "unknown", "tick": 0},
            {"sequence": 2, "phase": "running", "result": "unknown", "tick": 0},
            {"sequence": 3, "phase": "running", "result": "failed", "tick": 3},
            {"sequence": 4, "phase": "finished", "result": "failed", "tick": 3},
        ],
    }


def test_yaml_and_json_are_the_same_input(simulate: Simulate) -> None:
    as_json = simulate.call(document(CHAIN), {"slots": 1})
    as_yaml = simulate.call(yaml.safe_dump(document(CHAIN)), "slots: 1\n")
    assert as_json.stdout == as_yaml.stdout
    with_tabs = json.dumps(document(CHAIN), indent="\t")
    assert simulate.call(with_tabs, '{\t"slots": 1}').stdout == as_json.stdout


@pytest.mark.parametrize("outcomes", [None, "", "# nothing\n", "{}", {"slots": None}, {"tasks": {"a": {}}}], ids=repr)
def test_without_outcomes_every_task_succeeds_after_one_tick(simulate: Simulate, outcomes: object) -> None:
    assert ticks(simulate.play(CHAIN, outcomes)) == {"a": ("success", 0, 1), "b": ("success", 1, 2)}


def test_the_run_is_read_from_standard_input(simulate: Simulate) -> None:
    result = CliRunner().invoke(app, ["simulate", "-"], input=json.dumps(document(CHAIN)))
    assert (result.exit_code, result.stdout) == (0, simulate.call(document(CHAIN)).stdout)


@pytest.mark.parametrize(
    ("approve", "expected"),
    [
        ({}, ("notstarted", None, None)),
        ({"a": 0}, ("success", 0, 1)),
        ({"a": 4}, ("success", 4, 5)),
    ],
)
def test_an_approval_counts_from_its_tick_on_whoever_the_approvers_are(
    simulate: Simulate, approve: dict[str, int], expected: tuple[str, int | None, int | None]
) -> None:
    found = simulate.play(WAITING, {"approve": approve})
    assert ticks(found) == {"a": expected}
    assert found["phase"] == ("finished" if approve else "running")


def test_an_approval_for_a_task_that_needs_none_has_no_effect(simulate: Simulate) -> None:
    assert simulate.play(CHAIN, {"approve": {"a": 5, "b": 0}}) == simulate.play(CHAIN)


@pytest.mark.parametrize(
    ("stop_at", "expected"),
    [
        (0, {"a": ("skipped", None, None), "b": ("skipped", None, None)}),
        (1, {"a": ("stopped", 0, 2), "b": ("skipped", None, None)}),
        (2, {"a": ("success", 0, 3), "b": ("skipped", None, None)}),
        (3, {"a": ("success", 0, 3), "b": ("skipped", None, None)}),
        (4, {"a": ("success", 0, 3), "b": ("success", 3, 4)}),
        (9, {"a": ("success", 0, 3), "b": ("success", 3, 4)}),
    ],
)
def test_a_stop_at_each_tick(simulate: Simulate, stop_at: int, expected: object) -> None:
    assert ticks(simulate.play(CHAIN, {"stopAt": stop_at, "tasks": {"a": {"ticks": 3}}})) == expected


def test_variants_of_a_matrix_are_tasks_of_their_own(simulate: Simulate) -> None:
    found = simulate.play(MATRIX, {"tasks": {"a-1-x": {"ticks": 4}}})
    assert ticks(found) == {
        "a-1-x": ("success", 0, 4),
        "a-1-y": ("success", 0, 1),
        "a-2-x": ("success", 0, 1),
        "a-2-y": ("success", 0, 1),
        "b": ("success", 4, 5),
    }


@pytest.mark.parametrize(
    "tasks",
    [
        MATRIX["tasks"],
        [task_spec("a", matrix={"arch": ["amd64", "arm64"]})],
        [task_spec("a", matrix={"arch": ["amd64", "X86"]})],
        [task_spec("a", matrix={"arch": ["amd64", "arm64"]}, arch="amd64")],
        [task_spec("a", matrix={"V": ["x.y", "x/y"]})],
        [task_spec("a", matrix={"V": ["x-", "y"]}), task_spec("b", depends=[{"task": "a-z"}])],
        [task_spec("a", matrix={"V": ["x"]}, depends=[{"task": "b"}]), task_spec("b", depends=[{"task": "a-x"}])],
        [task_spec("a", matrix={"V": [str(value) for value in range(200)], "W": [str(value) for value in range(51)]})],
        [
            task_spec(
                "a", matrix={"V": [str(value) for value in range(200)], "W": [str(value) for value in range(40)]}
            ),
            task_spec("b", depends=[{"task": "a"}], matrix={"V": [str(value) for value in range(20)]}),
        ],
    ],
    ids=[
        "sound",
        "architectures",
        "no architecture",
        "an arch and archs",
        "two of one name",
        "no name and unknown",
        "a cycle",
        "too many",
        "too many dependencies",
    ],
)
def test_check_simulation_and_operator_agree_on_a_matrix(simulate: Simulate, tasks: list[dict[str, Any]]) -> None:
    checked = check(document({"tasks": tasks}))
    assert isinstance(checked, CheckedRun)
    found = simulate.play({"tasks": tasks})
    config = checked_config(run_object(document({"tasks": tasks})), id=RUN, created=NOW)
    assert tuple(found["setupErrors"]) == setup_errors(checked) == config.setup_errors
    if not config.setup_errors:
        assert sorted(found["tasks"]) == sorted(task.name for task in config.tasks)


def test_with_setup_errors_nothing_is_played_and_all_of_them_come_the_specs_own_first(simulate: Simulate) -> None:
    spec = {
        "setupErrors": ["second", "first", "second"],
        "tasks": [
            task_spec("a", depends=[{"task": "none"}]),
            task_spec("b", skip=True),
            task_spec("c", depends=[{"task": "d"}]),
            task_spec("d", depends=[{"task": "c"}]),
        ],
    }
    found = simulate.play(spec, {"stopAt": 0, "approve": {"a": 1}})
    assert found["setupErrors"][:3] == ["second", "first", "second"]
    assert [error.split(": ")[0] for error in found["setupErrors"][3:]] == [
        "spec.tasks[0].depends[0].task",
        "spec.tasks[2].depends",
    ]
    assert (found["phase"], found["result"]) == ("setuperror", "unknown")
    assert ticks(found) == dict.fromkeys("abcd", ("notstarted", None, None))
    assert found["events"] == [{"sequence": 1, "phase": "setuperror", "result": "unknown", "tick": 0}]


def test_what_is_executed_later_or_decided_elsewhere_is_ignored(simulate: Simulate) -> None:
    more = {
        "retries": {"limit": 3},
        "timeoutSeconds": 1,
        "steps": [{"clone": {"url": "https://example.org/a.git"}}, {"saveCache": {"key": "k", "contents": [{}]}}],
        "containers": [{"image": "x"}, {"image": "y"}],
        "environment": [{"name": "RUNABOUT_X", "value": "ours"}],
        "arch": "arm64",
    }
    spec = {
        "tasks": [{**task, **more} for task in CHAIN["tasks"]],
        "concurrency": "cancelInProgress",
        "maxActiveTasks": 1,
        "timeoutSeconds": 1,
        "stop": True,
        "suspend": True,
        "approvals": [{"task": "a", "by": "anna", "verdict": "refused"}],
    }
    assert simulate.play(spec) == simulate.play(CHAIN)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (None, "spec: Required value"),
        ({"task": []}, "spec.task: unknown field; did you mean tasks?"),
        ({"tasks": [task_spec("a"), task_spec("a")]}, "spec.tasks[1]: Duplicate value"),
        ({"tasks": [task_spec("a", depends=[{"task": "a"}])]}, "spec.tasks[0].depends: a task cannot depend on itself"),
        ({"tasks": [task_spec("a", matrix={"A": []})]}, "spec.tasks[0].matrix.A: Invalid value"),
        ({"tasks": [task_spec("a", depends=[{"task": "b", "conditions": ["x"]}])]}, "Unsupported value"),
        ({"restartFrom": {"run": "1il7g1c000001", "from": "start"}}, "spec.restartFrom: a restart has no tasks"),
    ],
)
def test_a_run_that_the_schema_refuses_or_a_restart_is_unusable(simulate: Simulate, spec: object, words: str) -> None:
    result = simulate.call(document(spec))
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"{simulate.run}: " in result.stderr
    assert words in result.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected one Run, found 0 documents"),
        ("a: [", "no YAML or JSON"),
        ("\0", "no YAML or JSON"),
        ("kind: A\n---\nkind: B\n", "expected one Run, found 2 documents"),
        ("- 1\n", "expected a Run or an Executor, found an array"),
        (
            f"apiVersion: {API_VERSION}\nkind: Executor\nmetadata: {{name: a}}\nspec: {{archs: [amd64]}}\n",
            "expected a Run, found an Executor",
        ),
    ],
)
def test_a_file_that_is_no_run_is_unusable(simulate: Simulate, text: str, words: str) -> None:
    result = simulate.call(text)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr


@pytest.mark.parametrize(
    ("outcomes", "words"),
    [
        ({"slot": 1}, "slot: unknown field; did you mean slots?"),
        ({"stop_at": 1}, "stop_at: unknown field; did you mean stopAt?"),
        ({"slots": 0}, "slots: Invalid value: 0: should be greater than or equal to 1"),
        ({"slots": 1.5}, "slots: Invalid value: 1.5: must be of type integer, not number"),
        ({"slots": True}, "slots: Invalid value: true: must be of type integer, not boolean"),
        ({"slots": "1"}, 'slots: Invalid value: "1": must be of type integer, not string'),
        ({"stopAt": -1}, "stopAt: Invalid value: -1: should be greater than or equal to 0"),
        ({"stopAt": None}, "stopAt: "),
        ({"approve": {"a": -1}}, "approve.a: Invalid value: -1"),
        ({"approve": ["a"]}, "approve: "),
        ({"approve": {"c": 1}}, 'approve.c: unknown task "c"'),
        ({"tasks": {"c": {}}}, 'tasks.c: unknown task "c"'),
        ({"tasks": {"a": None}}, "tasks.a: "),
        ({"tasks": {"a": "failed"}}, "tasks.a: "),
        ({"tasks": {"a": {"ticks": 0}}}, "tasks.a.ticks: Invalid value: 0"),
        ({"tasks": {"a": {"result": "stopped"}}}, 'tasks.a.result: Unsupported value: "stopped"'),
        ({"tasks": {"a": {"status": "failed"}}}, "tasks.a.status: unknown field"),
        ([], "must be of type object, not array"),
        ("slots: 1\nslots: 2\n", '"slots" is there twice'),
        ("{}\n---\n{}\n", "expected one document, found 2"),
        ("stopAt: .inf\n", "inf is no number in JSON"),
    ],
    ids=str,
)
def test_outcomes_that_cannot_be_are_unusable(simulate: Simulate, outcomes: object, words: str) -> None:
    result = simulate.call(document(CHAIN), outcomes)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"{simulate.outcomes}: " in result.stderr
    assert words in result.stderr


def test_all_that_is_wrong_with_outcomes_comes_at_once(simulate: Simulate) -> None:
    result = simulate.call(document(CHAIN), {"slots": 0, "stopAt": -1, "tasks": {"a": {"ticks": 0}}})
    assert [line.split(": ")[1] for line in result.stderr.splitlines()] == ["slots", "tasks.a.ticks", "stopAt"]


def test_an_unknown_task_is_unusable_input_even_if_the_run_has_setup_errors(simulate: Simulate) -> None:
    spec = {"setupErrors": ["bad"], **CHAIN}
    assert simulate.call(document(spec), {"tasks": {"c": {}}}).exit_code == 2


def test_a_task_with_a_matrix_is_named_by_its_variants(simulate: Simulate) -> None:
    result = simulate.call(document(MATRIX), {"tasks": {"a": {"result": "failed"}}})
    assert result.exit_code == 2
    assert 'tasks.a: unknown task "a"; name a variant of it, such as a-1-x' in result.stderr


@pytest.mark.parametrize("missing", ["run", "outcomes"])
def test_a_file_that_is_not_there_is_unusable(simulate: Simulate, missing: str) -> None:
    simulate.call(document(CHAIN), {})
    getattr(simulate, missing).unlink()
    result = CliRunner().invoke(app, ["simulate", str(simulate.run), "--outcomes", str(simulate.outcomes)])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "No such file or directory" in result.stderr


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4)
KEYS = st.sampled_from(["slots", "tasks", "stopAt", "approve", "a", "b", "result", "ticks"]) | st.text(max_size=3)
ANY = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=3))


@settings(max_examples=300, deadline=None)
@given(ANY)
def test_any_outcomes_give_a_simulation_or_a_message(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    simulate = Simulate(tmp_path_factory.getbasetemp())
    result = simulate.call(document(CHAIN), json.dumps(value))
    assert result.exit_code in {0, 2}
    if result.exit_code:
        assert (result.stdout, bool(result.stderr)) == ("", True)
    else:
        assert json.loads(result.stdout)["phase"] in {"finished", "running"}


def test_run_and_outcomes_cannot_both_come_from_stdin() -> None:
    result = CliRunner().invoke(app, ["simulate", "-", "--outcomes", "-"], input="{}")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "cannot both be read from stdin" in result.stderr


# what a person at a terminal is told besides

READ = "start, end and tick count from the run's start; null is what never came."
FAIL = '{"tasks": {"a": {"result": "failed", "ticks": 3}}}'
APPROVE = '{"approve": {"a": 1}}'
DEFAULT = "Each task succeeds after 1 tick unless OUTCOMES says something else"
MORE = "(also slots, stopAt, approve)"


def at_a_terminal(*arguments: str) -> tuple[str, str]:
    """Return what the command writes to a terminal as stdout, and to stderr."""
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as screen:
        with subprocess.Popen(
            [sys.executable, "-m", "runabout", "simulate", *arguments], stdout=theirs, stderr=subprocess.PIPE
        ) as process:
            os.close(theirs)
            shown = b""
            with contextlib.suppress(OSError):  # how a terminal ends
                while piece := screen.read(65536):
                    shown += piece
            assert process.stderr is not None
            said = process.stderr.read().decode()
        assert process.returncode == 0, said
    return shown.decode().replace("\r\n", "\n"), said


def test_only_a_terminal_gets_a_hint_and_its_output_is_the_same(simulate: Simulate) -> None:
    plain = simulate.call(document(CHAIN))
    assert plain.stderr == ""
    shown, said = at_a_terminal(str(simulate.run))
    assert shown == plain.stdout
    assert said.splitlines() == [
        READ,
        f"{DEFAULT}: write {FAIL} into OUTCOMES.yaml {MORE}",
        f"Next: runabout simulate {simulate.run} --outcomes OUTCOMES.yaml",
    ]


@pytest.mark.parametrize(
    ("spec", "outcomes", "expected"),
    [
        (
            WAITING,
            None,
            [
                READ,
                "The run goes on waiting for an approval of a.",
                f"{DEFAULT}: write {APPROVE} into OUTCOMES.yaml {MORE}",
                "Next: runabout simulate RUN --outcomes OUTCOMES.yaml",
            ],
        ),
        (
            WAITING,
            "mine.yaml",
            [
                READ,
                "The run goes on waiting for an approval of a.",
                f"To go on: write {APPROVE} into mine.yaml {MORE}",
                "Next: runabout simulate RUN --outcomes mine.yaml",
            ],
        ),
        ({"tasks": []}, None, [READ]),
        (
            {**CHAIN, "setupErrors": ["bad"]},
            None,
            ["Such a run never starts: correct its setup errors (runabout check RUN says where) and try again."],
        ),
    ],
)
def test_the_hint_names_what_the_run_waits_for_and_where_to_write_it(
    simulate: Simulate, spec: object, outcomes: str | None, expected: list[str]
) -> None:
    simulate.call(document(spec))
    simulation, tasks = played(simulate.run, None)
    given = None if outcomes is None else Path(outcomes)
    assert hint(simulation, tasks, run=Path("RUN"), outcomes=given).splitlines() == expected


def test_an_outcome_that_the_hint_suggests_can_be_used(simulate: Simulate) -> None:
    assert simulate.play(CHAIN, FAIL)["result"] == "failed"
    assert simulate.play(WAITING, APPROVE)["result"] == "success"
