"""`runabout check`: everything that is wrong in all files at once, each with file, line, column, document and field."""

import json
import re
from pathlib import Path
from time import process_time
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from fixtures.specs import API_VERSION, BAD, GOOD, Case
from fixtures.states import task_spec
from fixtures.tools import REPOSITORY
from runabout.__main__ import app
from runabout.client.check import check_files
from runabout.client.documents import MAX_PLACED


def run(name: str = "web", **spec: Any) -> dict[str, Any]:  # noqa: ANN401 - fields of a Run's spec
    return {"apiVersion": API_VERSION, "kind": "Run", "metadata": {"name": name}, "spec": spec}


EXECUTOR = {"apiVersion": API_VERSION, "kind": "Executor", "metadata": {"name": "linux"}, "spec": {"archs": ["amd64"]}}
TWICE = run(tasks=[task_spec("a", depends=[{"task": "b"}]), task_spec("A"), {"name": "c", "image": "x"}], stop="yes")


def check(*files: Path | str, stdin: str | bytes = "") -> Result:
    return CliRunner().invoke(app, ["check", *map(str, files)], input=stdin)


def write(file: Path, *documents: object) -> Path:
    file.write_text("---\n".join(yaml.safe_dump(document, sort_keys=False) for document in documents))
    return file


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "run.yaml"


def test_a_sound_file_is_counted_and_the_next_command_named(file: Path) -> None:
    write(file, run("a", tasks=[task_spec("a")]), EXECUTOR, run("b"))
    result = check(file)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"2 Runs and 1 Executor: no errors found. Next: kubectl apply -f {file}\n"


def test_all_errors_of_a_document_come_at_once_with_their_paths(file: Path) -> None:
    result = check(write(file, TWICE))
    assert (result.exit_code, result.stdout) == (1, "")
    *lines, last = result.stderr.splitlines()
    assert {line.split(": ")[1] for line in lines} == {
        "spec.stop",
        "spec.tasks[0].depends[0].task",
        "spec.tasks[1].name",
        "spec.tasks[2].image",
        "spec.tasks[2].containers",
    }
    assert all(re.match(rf"{re.escape(str(file))}:\d+:\d+ \(Run web\): ", line) for line in lines)
    assert last == "5 errors in 1 document: correct them and check again."


def test_errors_of_the_graph_come_also_from_dependencies_that_have_errors_themselves(file: Path) -> None:
    depends = [{"task": "tset", "condition": []}, {"task": "b"}, {"task": "No Name"}, {"task": "nowhere"}]
    tasks = [task_spec("a", depends=depends), task_spec("b", depends=[{"task": "a", "conditions": ["bad"]}])]
    result = check(write(file, run(tasks=tasks)))
    for words in (
        "spec.tasks[0].depends[0].condition: unknown field",
        "spec.tasks[0].depends[2].task: Invalid value",
        "spec.tasks[1].depends[0].conditions[0]: Unsupported value",
        'spec.tasks[0].depends[0].task: unknown task "tset"',
        "cycle: a -> b -> a",
    ):
        assert words in result.stderr


def test_what_only_the_operator_finds_comes_too(file: Path) -> None:
    tasks = [task_spec("a", depends=[{"task": "b"}]), task_spec("b", depends=[{"task": "a"}, {"task": "c"}])]
    result = check(write(file, run(tasks=tasks, environment=[{"name": "RUNABOUT_X", "value": "1"}])))
    assert result.exit_code == 1
    paths = {line.split(": ")[1] for line in result.stderr.splitlines()[:-1]}
    assert {"spec.tasks[0].depends", "spec.tasks[1].depends[1].task", "spec.environment[0].name"} <= paths


def test_every_document_of_every_file_is_checked_and_its_errors_named_by_their_lines(tmp_path: Path) -> None:
    first = write(tmp_path / "first.yaml", run("good"), run("bad", tsks=[]))
    second = write(tmp_path / "second.yaml", {**EXECUTOR, "spec": {}})
    result = check(first, second)
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert lines[0].startswith(f"{first}:12:3 (Run bad): spec.tsks: ")
    assert lines[1].startswith(f"{second}:5:1 (Executor linux): spec.archs: ")
    assert lines[2] == "2 errors in 2 documents: correct them and check again."


def test_items_of_a_list_are_checked_one_by_one(file: Path) -> None:
    result = check(write(file, {"apiVersion": "v1", "kind": "List", "items": [run("a"), run("b", stop=3)]}))
    assert result.exit_code == 1
    assert "items[1].spec.stop: " in result.stderr
    assert check(write(file, {"kind": "List", "items": [run("a"), EXECUTOR]})).exit_code == 0


def test_an_item_that_is_no_resource_or_has_errors_of_its_client_is_named_by_its_place(file: Path) -> None:
    items = [3, run("a", setupErrors=["pipeline.yaml: bad"]), {"kind": "List", "items": [run("b", stop=3)]}]
    result = check(write(file, {"kind": "List", "items": items}))
    places = [line.split(" (List): ")[1].split(": ")[0] for line in result.stderr.splitlines()[:-1]]
    assert places == ["items[0]", "items[1]", "items[2].items[0].spec.stop"]


def test_every_error_is_one_line_whatever_is_in_it(file: Path) -> None:
    odd = {**run("a\nb", setupErrors=["one\ntwo", "\x1b[31mred"]), "kind": "Run"}
    odd["spec"]["x\r\ny" + "k" * 5000] = 1
    result = check(write(file, odd))
    lines = result.stderr.splitlines()
    assert len(lines) == 5
    assert all(line.isprintable() and len(line) < 1000 for line in lines)
    good_name = check(write(file, run(setupErrors=["one\ntwo", "\x1b[31mred"])))
    assert [line.split("): ")[1] for line in good_name.stderr.splitlines()[:-1]] == ["one\\ntwo", "\\x1b[31mred"]


@pytest.mark.parametrize(
    ("metadata", "paths"),
    [
        ({"generateName": "web-"}, []),
        ({"generateName": "web"}, []),
        ({"generateName": "Web_"}, ["metadata.generateName"]),
        ({"generateName": "-"}, ["metadata.generateName"]),
        ({"generateName": 3}, ["metadata.generateName"]),
        ({"name": "a", "namespace": "a.b"}, ["metadata.namespace"]),
        ({"name": "a" * 254}, ["metadata.name"]),
        ({"name": "a", "labels": {"team": "web", "example.org/Team": "Web_1.2", "empty": ""}}, []),
        ({"name": "a", "labels": {"team": "a b"}}, ["metadata.labels.team"]),
        ({"name": "a", "labels": {"team": "a" * 64}}, ["metadata.labels.team"]),
        ({"name": "a", "labels": {"a b": "x", "/a": "x"}}, ["metadata.labels[a b]", "metadata.labels[/a]"]),
        ({"name": "a", "labels": {"a": True}}, ["metadata.labels.a"]),
        ({"name": "a", "annotations": {"example.org/note": "any text\nat all"}}, []),
        ({"name": "a", "annotations": {"Example.org/note": ""}}, ["metadata.annotations[Example.org/note]"]),
        ({"name": "a", "annotations": {"note": "x" * 262_144}}, ["metadata.annotations"]),
    ],
    ids=str,
)
def test_metadata_is_checked_as_the_api_server_does(file: Path, metadata: dict[str, Any], paths: list[str]) -> None:
    report = check_files([str(write(file, {**run(), "metadata": metadata}))])
    assert sorted(line.split("): ")[1].split(": ")[0] for line in report.errors) == sorted(paths)


PLACED = """\
# a comment
apiVersion: runabout.dev/v1alpha1
kind: Run
metadata: {name: web, labels: {example.org/team: a b}}
spec:
  environment: &shared
    - nam: X
      name: Y
  tasks:
    - containers: [{image: x}]
      steps: [{run: "true"}]
    - name: b
      containers: [{image: x}]
      steps:
        - run: |
            several
            lines
          shel: bash
      environment: *shared
      depends:
        - task: a
    - &again
      name: c
      containers: [{image: x, more: 1}]
      steps: [{run: "true"}]
    - <<: *again
      name: d
  setupErrors: [pipeline.yaml says no]
"""


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("metadata.labels[example.org/team]", "4:32"),
        ("spec.environment[0].nam", "7:7"),
        ("spec.tasks[0].name", "10:7"),  # missing: its task
        ("spec.tasks[1].steps[0].shel", "18:11"),
        ("spec.tasks[1].environment[0].nam", "7:7"),  # behind an alias
        ("spec.tasks[1].depends[0].task", "21:11"),  # found by the operator alone
        ("spec.tasks[2].containers[0].more", "24:31"),
        ("spec.tasks[3].containers[0].more", "24:31"),  # merged
        ("pipeline.yaml says no", "28:17"),
    ],
)
def test_an_error_stands_at_the_line_and_column_of_its_field(file: Path, path: str, place: str) -> None:
    file.write_text(PLACED)
    found = [line.split(" (Run web): ") for line in check_files([str(file)]).errors]
    assert f"{file}:{place}" in [where for where, text in found if text.split(": ")[0] == path]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (json.dumps(run(stop=3), indent=2), "8:5"),
        (json.dumps(run(stop=3), indent="\t"), "8:3"),
        (json.dumps(run(stop=3)) + " " * MAX_PLACED, "1"),
        (json.dumps({"kind": "List", "items": [run("a"), run("b", stop=3)]}, indent=1), "19:5"),
        ("[3]", "1:1"),
    ],
    ids=range(5),
)
def test_json_has_places_too_as_long_as_it_is_not_very_long(file: Path, text: str, place: str) -> None:
    file.write_text(text)
    (line,) = check_files([str(file)]).errors
    assert line.startswith(f"{file}:{place}{' (' if '{' in text else ': '}")


def test_a_file_that_is_no_yaml_hides_nothing_of_the_others(tmp_path: Path) -> None:
    broken, other = tmp_path / "broken.yaml", write(tmp_path / "other.yaml", run(stop=3))
    broken.write_text(f"{yaml.safe_dump(run(stop=3))}---\na: [\n")
    result = check(broken, tmp_path / "none.yaml", other)
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert lines[0].startswith(f"{broken}:6:3 (Run web): spec.stop: ")
    assert lines[1].startswith(f"{broken}: no YAML or JSON: line ")
    assert lines[2] == f"{tmp_path / 'none.yaml'}: cannot be read: No such file or directory"
    assert lines[3].startswith(f"{other}:6:3 (Run web): spec.stop: ")
    assert lines[4].startswith("4 errors in 4 documents")


def test_standard_input_is_checked_too() -> None:
    assert check("-", stdin=json.dumps(run())).exit_code == 0
    text = json.dumps(run(stop=3))
    result = check("-", stdin=text)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"stdin:1:{text.index('stop')} (Run web): spec.stop: ")


@pytest.mark.parametrize("text", ["", "---\n---\n", "# nothing\n"])
def test_files_without_anything_to_check_are_an_error(file: Path, text: str) -> None:
    file.write_text(text)
    result = check(file)
    assert result.exit_code == 1
    assert result.stderr == f"{file}: there is no Run and no Executor\n"


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (3, "expected a Run or an Executor, found an integer"),
        ("text", "expected a Run or an Executor, found a string"),
        ([], "expected a Run or an Executor, found an array"),
        ({}, "apiVersion: Required value"),
        ({"apiVersion": "v1", "kind": "Pod"}, "kind: Unsupported value"),
        ({**run(), "apiVersion": "runabout.dev/v1"}, "apiVersion: Unsupported value"),
        ({**run(), "spec": None}, "spec: Required value"),
        ({**run(), "metadata": {}}, "metadata.name: Required value"),
        ({**run(), "metadata": {"name": "A"}}, "metadata.name: Invalid value"),
        ({**run(), "more": 1}, "more: unknown field"),
        (
            {**EXECUTOR, "metadata": {"name": "a", "namespace": "b"}},
            "metadata.namespace: Executors belong to the whole",
        ),
    ],
)
def test_what_is_neither_a_run_nor_an_executor_is_named(file: Path, document: object, words: str) -> None:
    result = check(write(file, document))
    assert result.exit_code == 1
    assert words in result.stderr


def test_of_a_directory_the_files_are_checked_that_kubectl_would_apply(tmp_path: Path) -> None:
    write(tmp_path / "b.yaml", run("b"), EXECUTOR)
    write(tmp_path / "a.yml", run("a"))
    (tmp_path / "c.json").write_text(json.dumps(run("c")))
    (tmp_path / "d.yaml").write_text("# nothing\n")
    (tmp_path / "notes.txt").write_text("]")
    (tmp_path / "below.yaml").mkdir()
    write(tmp_path / "below.yaml" / "bad.yaml", TWICE)
    result = check(tmp_path)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        f"{tmp_path}/a.yml: 1 Run",
        f"{tmp_path}/b.yaml: 1 Run and 1 Executor",
        f"{tmp_path}/c.json: 1 Run",
        f"{tmp_path}/d.yaml: no Run and no Executor",
        f"3 Runs and 1 Executor: no errors found. Next: kubectl apply -f {tmp_path}",
    ]


def test_errors_in_a_directory_name_their_files_in_the_order_of_the_names(tmp_path: Path) -> None:
    write(tmp_path / "z.yaml", run(stop="yes"))
    write(tmp_path / "a.yaml", run(stop="yes"))
    (tmp_path / "m.yaml").write_text("a: ]")
    result = check(tmp_path)
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert [line.split(":")[0] for line in lines[:-1]] == [f"{tmp_path}/{name}.yaml" for name in "amz"]
    assert lines[-1] == "3 errors in 3 documents: correct them and check again."


def test_a_directory_without_anything_to_check_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "run.txt").write_text("")
    result = check(tmp_path)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"{tmp_path}: no *.yaml, *.yml or *.json in it")


def test_without_files_it_says_how_it_is_called() -> None:
    result = check()
    assert result.exit_code == 2
    assert "FILE" in result.stderr


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.name)
def test_each_bad_spec_of_the_tables_is_refused_with_all_its_paths(file: Path, case: Case) -> None:
    report = check_files([str(write(file, case.document))])
    found = sorted(line.split(f" ({case.kind} case): ")[1].split(": ")[0] for line in report.errors)
    assert found == sorted(case.at)
    assert report.broken == 1


@pytest.mark.parametrize("case", [case for case in GOOD if "setupErrors" not in case.spec], ids=lambda case: case.name)
def test_each_good_spec_of_the_tables_is_sound(file: Path, case: Case) -> None:
    assert check_files([str(write(file, case.document))]).errors == []


def test_the_examples_are_sound_but_for_those_that_are_meant_not_to_be() -> None:
    for path in sorted((REPOSITORY / "docs" / "examples").rglob("*.yaml")):
        text = path.read_text()
        if "runabout.dev/" in text:
            assert bool(check_files([str(path)]).errors) is ("setup" in path.stem or "broken" in path.stem), path


# whatever a file holds


@pytest.mark.parametrize(
    "spec",
    [
        {"tasks": [task_spec(f"t{number}", depends=[{"task": f"t{number + 1}"}]) for number in range(1000)]},
        {"tasks": [task_spec(f"t{number}", depends=[{"task": f"t{(number + 1) % 999}"}]) for number in range(999)]},
        {
            "tasks": [
                task_spec("m", matrix={name: [str(value) for value in range(100)] for name in ("A", "B", "C", "D")})
            ]
        },
        {"tasks": [{"name": "a", "containers": [{"image": "x"}] * 20_000}]},
        {"setupErrors": ["x" * 4000] * 100, "tasks": [{}] * 10_000},
        {"group": "/" + "a/" * 5_000_00 + "b"},
        {"group": "/a/" + "%" * 500_000},
    ],
    ids=range(7),
)
def test_a_large_file_is_answered_soon(file: Path, spec: dict[str, Any]) -> None:
    file.write_text(json.dumps(run(**spec)))
    begin = process_time()
    report = check_files([str(file)])
    assert process_time() - begin < 5
    assert report.errors
    assert max(len(line) for line in report.errors) < 10_000


@settings(max_examples=150, deadline=None)
@given(text=st.text(max_size=200) | st.binary(max_size=200), tail=st.booleans())
def test_no_file_crashes_it(tmp_path_factory: pytest.TempPathFactory, text: str | bytes, tail: bool) -> None:
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    data = text.encode() if isinstance(text, str) else text
    file.write_bytes(yaml.safe_dump(run()).encode() + data if tail else data)
    result = check(file)
    assert result.exit_code in {0, 1}
    assert result.exit_code == (1 if result.stderr else 0)


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"pod": {"nodeSelector": {"kubernetes.io/arch": "arm64"}}}, "spec.pod.nodeSelector[kubernetes.io/arch]"),
        ({"environment": [{"name": "A", "value": "x\0"}]}, "spec.environment[0].value"),
        ({"staticEnvironment": [{"name": "A", "value": "x\0"}]}, "spec.staticEnvironment[0].value"),
        ({"pod": {"annotations": {"note": "x\0"}}}, "spec.pod.annotations.note"),
    ],
    ids=str,
)
def test_what_no_pod_could_be_made_of_is_found_in_the_whole_run(file: Path, spec: dict[str, Any], path: str) -> None:
    report = check_files([str(write(file, run(tasks=[task_spec("a", arch="amd64")], **spec)))])
    assert [line.split("): ")[1].split(": ")[0] for line in report.errors] == [path]


def test_a_tasks_own_node_selector_wins_over_the_runs(file: Path) -> None:
    pods = [{"nodeSelector": {"kubernetes.io/arch": arch}} for arch in ("arm64", "amd64")]
    found = check_files([str(write(file, run(pod=pods[0], tasks=[task_spec("a", arch="amd64", pod=pods[1])])))])
    assert found.errors == []


@pytest.mark.parametrize(
    ("pod", "path"),
    [
        ({"labels": {"runabout.dev/run-id": "x"}}, "spec.pod.labels[runabout.dev/run-id]"),
        ({"volumes": [{"name": "runabout-x", "emptyDir": {}}]}, "spec.pod.volumes[0].name"),
        ({"annotations": {"note": "x\0"}}, "spec.pod.annotations.note"),
    ],
    ids=str,
)
def test_an_executor_of_which_no_pod_could_be_made_is_refused(file: Path, pod: dict[str, Any], path: str) -> None:
    report = check_files([str(write(file, {**EXECUTOR, "spec": {"archs": ["amd64"], "pod": pod}}))])
    assert [line.split("): ")[1].split(": ")[0] for line in report.errors] == [path]


def test_more_errors_than_a_record_holds_are_all_told(file: Path) -> None:
    tasks = [task_spec(f"t{number}", depends=[{"task": "none"}, {"task": "nil"}]) for number in range(750)]
    assert len(check_files([str(write(file, run(tasks=tasks)))]).errors) == 1500
